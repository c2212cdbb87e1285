"""When DAMON's tree is taken, gone on with, lost and given back, on fake kernels."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import Queue

import pytest
from driving import PHYSICAL, Driven, everything, on_both, restage, run_somebodys, stage_somebodys, wait_for
from written import WriteLog

from damon_exporter.config.loading import check
from damon_exporter.config.reading import parse
from damon_exporter.kernel.commands import CommandWriter
from damon_exporter.kernel.damon_sysfs import DamonTree
from damon_exporter.kernel.ownership import Token
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.plan import NR_SCHEMES, SPARE_TOKEN_FILE, TOKEN_FILE, skeleton
from damon_exporter.roster import Roster
from damon_exporter.supervisor import Supervisor
from damon_exporter.testing.fake_kernel import FakeKernel

Start = Callable[..., FakeKernel]

SETTLING = PHYSICAL.replace("settle: 0s", "settle: 30s")
IDLE = PHYSICAL.replace("settle: 0s", "settle: 30s, takeover: [idle_sysfs]")
KEEP = PHYSICAL.replace("settle: 0s", "settle: 0s, on_exit: keep")
TWO = PHYSICAL.replace("[{name: node", "[{name: fast, operations: paddr}, {name: node")
TAKEOVER = "kernel: {settle: 0s, takeover: [damon_stat, damon_reclaim]}\n"
MODULE = {"6.12": "damon_reclaim", "7.3": "damon_stat"}

both = pytest.mark.parametrize("name", ["6.12", "7.3"])


def left_running(kernel: FakeKernel, configuration: str = KEEP) -> str:
    """An exporter was there and has left its kdamonds running, as SIGKILL would; returns the pid of slot 0's."""
    with Driven(kernel.paths, configuration) as earlier:
        earlier.look()
        assert earlier.own
    return kernel.read("0/pid")


def enabled(kernel: FakeKernel, module: str) -> str:
    return kernel.parameter(module, "enabled").read_text().strip()


# Taking it


@on_both
def test_a_free_tree_is_taken_when_it_has_been_free_for_long_enough(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, SETTLING) as driven:
        driven.look()
        driven.look(29.9)
        assert driven.waiting == {"node": "DAMON is taken when it has been free for 30 s (kernel.settle)"}
        assert kernel.read("nr_kdamonds") == "0"
        driven.look(0.1)
        assert list(driven.own) == ["node"]


def test_settling_begins_anew_when_somebody_was_there(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, SETTLING) as driven:
        driven.look()
        run_somebodys(kernel)
        driven.look(20)
        kernel.write("0/state", "off")
        kernel.write("nr_kdamonds", 0)
        driven.look(2)
        driven.look(29)
        assert not driven.own
        driven.look(1)
        assert driven.own


def test_what_is_made_on_the_way_is_in_this_order(
    fake_kernel: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_stat"])
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    with Driven(kernel.paths, TAKEOVER) as driven:
        driven.look()
        leaves = [write.leaf for write in log.to_damon]
    assert leaves[:4] == ["nr_kdamonds", "contexts/nr_contexts", "contexts/0/schemes/nr_schemes", TOKEN_FILE]
    assert leaves[4:6] == [TOKEN_FILE, "damon_stat/parameters/enabled"]
    assert leaves[6:9] == [SPARE_TOKEN_FILE, NR_SCHEMES, TOKEN_FILE]
    assert leaves[-1] == "state"
    assert {"refresh_ms", "contexts/0/operations", "contexts/0/targets/0/regions/0/start"} < set(leaves[9:-1])


@on_both
def test_nothing_is_written_to_a_slot_without_our_token_but_the_marks_of_fresh_ones(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    with Driven(kernel.paths, TWO) as driven:
        driven.look_for(10)
    unmarked = [write.leaf for write in log.to_damon if write.slot is not None and write.token is None]
    assert set(unmarked) == {"contexts/nr_contexts", "contexts/0/schemes/nr_schemes", TOKEN_FILE}


@on_both
def test_on_exit_everything_is_as_it_was(kernel: FakeKernel) -> None:
    before = everything(kernel)
    with Driven(kernel.paths, TWO) as driven:
        driven.look()
        assert len(driven.own) == 2
    assert everything(kernel) == before


def test_kernel_control_never_writes_nothing(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    with Driven(kernel.paths, "kernel: {control: never, settle: 0s}") as driven:
        roster = driven.look_for(120, every=30)
    assert (log.writes, roster.waiting, dict(roster.blocked)) == ([], (), {})


def test_a_second_exporter_is_kept_out_and_says_why(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as first, Driven(kernel.paths) as second:
        first.look()
        roster = second.look()
        assert "another damon-exporter holds the lock" in roster.blocked["foreign_kdamond"]
        assert not second.own
        assert [kdamond.name for kdamond in roster.watched] == ["sysfs0"]


def test_a_second_exporter_takes_over_when_the_first_has_gone(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as second:
        with Driven(kernel.paths) as first:
            first.look()
            second.look()
        second.look()
        assert second.own


# Somebody was there first


def test_the_unit_of_somebodys_addresses_is_told(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel="7.3")
    stage_somebodys(kernel)
    kernel.write("0/contexts/0/addr_unit", 4096)
    kernel.write("0/state", "on")
    with Driven(kernel.paths) as driven:
        (theirs,) = driven.look().watched
        assert theirs.addr_unit == 4096


@on_both
def test_kdamonds_of_others_are_observed_and_not_touched(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = run_somebodys(kernel)
    before = everything(kernel)
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    with Driven(kernel.paths) as driven:
        roster = driven.look_for(60, every=20)
        (theirs,) = roster.watched
        assert (theirs.name, theirs.owner, theirs.pid, list(theirs.names)) == ("sysfs0", "foreign", pid, ["target0"])
        assert "kdamonds of another tool run" in roster.blocked["foreign_kdamond"]
        assert driven.waiting == {"node": "DAMON cannot be taken now: foreign_kdamond"}
    assert log.writes == []
    assert everything(kernel) == before


def test_a_tree_that_is_merely_off_is_not_taken(kernel: FakeKernel) -> None:
    stage_somebodys(kernel)
    before = everything(kernel)
    with Driven(kernel.paths) as driven:
        roster = driven.look_for(60, every=20)
        assert "Write 0 to nr_kdamonds, or set kernel.takeover: [idle_sysfs]" in roster.blocked["foreign_kdamond"]
        assert everything(kernel) == before
        kernel.write("nr_kdamonds", 0)
        driven.look()
        assert driven.own


@on_both
def test_an_idle_tree_that_may_be_taken_is_taken_when_it_has_not_changed_for_settle(kernel: FakeKernel) -> None:
    stage_somebodys(kernel, slots=2)
    with Driven(kernel.paths, IDLE) as driven:
        driven.look()
        driven.look(29)
        assert not driven.own
        driven.look(1)
        assert driven.own
    assert kernel.read("nr_kdamonds") == "0"


def test_an_idle_tree_that_somebody_keeps_changing_is_not_taken(kernel: FakeKernel) -> None:
    stage_somebodys(kernel)
    with Driven(kernel.paths, IDLE) as driven:
        for number in range(6):
            kernel.write("0/contexts/0/targets/0/regions/0/end", (2 << 30) + 4096 * number)
            driven.look(20)
        assert not driven.own


@contextmanager
def while_processes_are_looked_for(folder: Path, act: Callable[[], None]) -> Iterator[Path]:
    """A procfs with a process 42 that can be read only once ``act`` has been done."""

    def answer() -> None:
        with stat.open("w") as first:  # waits for a reader
            act()
            stat.unlink()
            stat.write_text(line)
            first.write(line)

    line, stat = f"42 (postgres) S 1{' 0' * 48}\n", folder / "42/stat"
    for pid in ("2", "42"):
        (folder / pid).mkdir(parents=True)
    (folder / "2/stat").write_text(line.replace("42 (postgres)", "2 (kthreadd)"))
    os.mkfifo(stat)
    answering = threading.Thread(target=answer, daemon=True)
    answering.start()
    yield folder
    answering.join(20)


@pytest.mark.parametrize("idle", [False, True], ids=["free", "idle"])
def test_what_somebody_makes_of_the_tree_while_processes_are_looked_for_is_his(
    kernel: FakeKernel, tmp_path: Path, idle: bool
) -> None:
    wanted = (
        "kernel: {settle: 0s, takeover: [idle_sysfs]}\n"
        "monitors: [{name: db, operations: vaddr, processes: {match: [{pid: 42}]}}]"
    )
    if idle:
        stage_somebodys(kernel)
    with while_processes_are_looked_for(tmp_path, lambda: stage_somebodys(kernel, slots=2)) as procfs:
        driven = Driven(KernelPaths(kernel.sysfs, procfs, kernel.tracefs), wanted)
        roster = driven.look()
    before = everything(kernel)
    assert "another tool has just begun to use" in roster.blocked["foreign_kdamond"]
    assert "another tool has just begun to use" in driven.waiting["db"]
    driven.supervisor.end()
    assert everything(kernel) == before
    assert kernel.read("nr_kdamonds") == "2"


# Modules


@both
def test_a_module_that_runs_is_observed_and_left_running(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name, enabled=[MODULE[name]])
    before = everything(kernel)
    with Driven(kernel.paths) as driven:
        roster = driven.look_for(60, every=20)
        assert [(kdamond.name, kdamond.owner) for kdamond in roster.watched] == [(MODULE[name], "module")]
        assert f"set kernel.takeover: [{MODULE[name]}]" in roster.blocked[MODULE[name]]
        assert everything(kernel) == before


@both
def test_a_module_that_may_be_stopped_runs_again_after_exit(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name, enabled=[MODULE[name]])
    with Driven(kernel.paths, TAKEOVER) as driven:
        driven.look()
        assert list(driven.own) == ["node"]
        assert enabled(kernel, MODULE[name]) == "N"
    assert (enabled(kernel, MODULE[name]), kernel.read("nr_kdamonds")) == ("Y", "0")


@both
@pytest.mark.parametrize("later", ["kernel: {settle: 0s}", "monitors: []", TAKEOVER, PHYSICAL + "# fixed"])
def test_a_module_that_a_killed_exporter_had_stopped_runs_again_whatever_the_configuration_says_by_then(
    fake_kernel: Start, name: str, later: str
) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.write("nr_kdamonds", 1)
    token = Token(frozenset({MODULE[name]}), 77)
    DamonTree(kernel.paths.damon_admin).slot(0).write(skeleton(token.encode()))
    with Driven(kernel.paths, later) as driven:
        driven.look_for(4)
    assert (enabled(kernel, MODULE[name]), kernel.read("nr_kdamonds")) == ("Y", "0")


@both
def test_a_module_that_was_not_stopped_in_time_is_stopped_by_the_next_start(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name, enabled=[MODULE[name]])
    kernel.write("nr_kdamonds", 1)
    DamonTree(kernel.paths.damon_admin).slot(0).write(skeleton(Token(frozenset({MODULE[name]})).encode()))
    with Driven(kernel.paths, TAKEOVER) as driven:
        driven.look()
        assert driven.own
        assert enabled(kernel, MODULE[name]) == "N"
    assert enabled(kernel, MODULE[name]) == "Y"


@both
def test_a_module_is_started_again_even_if_the_tree_was_lost_meanwhile(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name, enabled=[MODULE[name]])
    with Driven(kernel.paths, TAKEOVER) as driven:
        driven.look()
        kernel.write("0/state", "off")
        kernel.write("nr_kdamonds", 0)
        driven.look_for(8)
        assert not driven.own
    assert enabled(kernel, MODULE[name]) == "Y"


def test_a_module_that_somebody_starts_while_nothing_of_ours_runs_is_told(kernel: FakeKernel) -> None:
    nobody = "kernel: {settle: 0s}\nmonitors: [{name: db, operations: vaddr, processes: {match: [{comm: postgres}]}}]"
    kernel.add_process(42, "postgres")
    with Driven(kernel.paths, nobody) as driven:
        driven.look()
        kernel.remove_process(42)
        driven.look()
        kernel.parameter("damon_stat", "enabled").write_text("Y")
        kernel.add_process(43, "postgres")
        roster = driven.look()
        assert "damon_stat holds DAMON" in roster.blocked["damon_stat"]
        assert "busy" in driven.waiting["db"]


@pytest.mark.parametrize("sysfs_source", [False, True])
def test_silence_of_damon_stat_is_a_fault_only_where_it_can_be_heard(fake_kernel: Start, sysfs_source: bool) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_stat"])
    with Driven(kernel.paths, sysfs_source=sysfs_source) as driven:
        (module,) = driven.look().watched
        assert module.reporting is not sysfs_source


# An earlier run


@on_both
def test_a_kdamond_that_is_as_planned_is_adopted(kernel: FakeKernel) -> None:
    pid = left_running(kernel)
    with Driven(kernel.paths) as driven:
        driven.look()
        assert driven.own["node"].pid == int(pid)
        assert kernel.read("0/pid") == pid
    assert kernel.read("nr_kdamonds") == "0"


@on_both
def test_adopting_writes_nothing(kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_running(kernel)
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    with Driven(kernel.paths, KEEP) as driven:
        driven.look_for(20)
    assert log.writes == []


def test_a_tuned_kdamond_is_adopted_although_its_intervals_have_moved(kernel: FakeKernel) -> None:
    tuned = "kernel: {settle: 0s, on_exit: keep}\n"
    pid = left_running(kernel, tuned)
    kernel.write("0/contexts/0/monitoring_attrs/intervals/sample_us", 10_000)
    kernel.write("0/contexts/0/monitoring_attrs/intervals/aggr_us", 200_000)
    with Driven(kernel.paths, "kernel: {settle: 0s}\n") as driven:
        driven.look()
        assert kernel.read("0/pid") == pid


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sample: 5ms", "sample: 10ms"),
        ("paddr, ", "paddr, regions: {min: 20}, "),
        ("operations: paddr", "ranges: [[1GiB, 2GiB]], operations: paddr"),
    ],
)
@on_both
def test_a_kdamond_of_another_plan_is_stopped(kernel: FakeKernel, old: str, new: str) -> None:
    pid = left_running(kernel)
    with Driven(kernel.paths, PHYSICAL.replace(old, new)) as driven:
        driven.look()
        assert driven.own
        assert kernel.read("0/pid") not in (pid, "-1")
    assert kernel.read("nr_kdamonds") == "0"


def test_a_kdamond_with_a_file_that_somebody_has_changed_is_not_adopted(kernel: FakeKernel) -> None:
    pid = left_running(kernel)
    kernel.write("0/contexts/0/monitoring_attrs/nr_regions/max", 500)
    with Driven(kernel.paths) as driven:
        driven.look()
        assert kernel.read("0/pid") != pid
        assert driven.own


def test_a_kdamond_that_no_monitor_wants_any_more_is_stopped(kernel: FakeKernel) -> None:
    left_running(kernel)
    with Driven(kernel.paths, "monitors: []") as driven:
        driven.look()
        assert kernel.read("nr_kdamonds") == "0"


def test_slots_for_another_number_of_monitors_are_made_anew(kernel: FakeKernel) -> None:
    left_running(kernel, TWO.replace("settle: 0s", "settle: 0s, on_exit: keep"))
    with Driven(kernel.paths) as driven:
        driven.look_for(4)
        assert list(driven.own) == ["node"]
        assert kernel.read("nr_kdamonds") == "1"


def test_a_kdamond_is_stopped_when_its_monitor_has_nothing_to_watch_by_now(kernel: FakeKernel) -> None:
    left_running(kernel)
    nobody = "kernel: {settle: 0s}\nmonitors: [{name: db, operations: vaddr, processes: {match: [{comm: postgres}]}}]"
    with Driven(kernel.paths, nobody) as driven:
        driven.look()
        assert kernel.read("0/state") == "off"
        assert "no process matches comm 'postgres'" in driven.waiting["db"]


def test_slots_that_could_be_made_but_not_marked_are_removed_and_made_again(kernel: FakeKernel) -> None:
    kernel.fail("*/contexts/nr_contexts", "write", errno.ENOMEM, count=1)
    with Driven(kernel.paths) as driven:
        assert not driven.own
        driven.look_for(20, every=2)
        assert driven.own["node"].pid == int(kernel.read("0/pid"))


@on_both
def test_what_is_kept_runs_on_after_exit(kernel: FakeKernel) -> None:
    left_running(kernel)
    assert kernel.read("0/state") == "on"


def test_as_many_empty_slots_as_we_make_are_taken_back_when_nobody_has_used_them_for_settle(kernel: FakeKernel) -> None:
    kernel.write("nr_kdamonds", 1)
    with Driven(kernel.paths, SETTLING) as driven:
        driven.look()
        driven.look(29)
        assert kernel.read("nr_kdamonds") == "1"
        driven.look(1)
        assert kernel.read("nr_kdamonds") == "0"


@pytest.mark.parametrize("slots", [2, 16])
def test_another_number_of_empty_slots_is_somebody_elses(kernel: FakeKernel, slots: int) -> None:
    kernel.write("nr_kdamonds", slots)
    with Driven(kernel.paths, SETTLING) as driven:
        for _ in range(4):
            driven.look(29)
        assert kernel.read("nr_kdamonds") == str(slots)


def test_a_slot_that_somebody_makes_after_our_start_is_his(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, SETTLING) as driven:
        driven.look()
        kernel.write("nr_kdamonds", 1)
        roster = driven.look_for(120, every=20)
        assert "another tool has left its kdamonds in the control tree" in roster.blocked["foreign_kdamond"]
    assert kernel.read("nr_kdamonds") == "1"


def test_empty_slots_that_somebody_uses_after_our_start_are_his(kernel: FakeKernel) -> None:
    kernel.write("nr_kdamonds", 1)
    with Driven(kernel.paths, SETTLING) as driven:
        driven.look()
        kernel.write("0/contexts/nr_contexts", 1)
        roster = driven.look_for(120, every=20)
        assert "foreign_kdamond" in roster.blocked
    assert kernel.read("0/contexts/nr_contexts") == "1"


def test_a_tree_that_somebody_has_staged_and_not_yet_started_is_left_alone(kernel: FakeKernel) -> None:
    kernel.write("nr_kdamonds", 1)
    kernel.write("0/contexts/nr_contexts", 1)
    kernel.write("0/contexts/0/schemes/nr_schemes", 1)
    kernel.write("0/contexts/0/schemes/0/action", "pageout")
    before = everything(kernel)
    with Driven(kernel.paths, SETTLING) as driven:
        driven.look_for(120, every=20)
    assert everything(kernel) == before


def test_without_monitors_no_slots_can_be_what_we_left_unfinished(kernel: FakeKernel) -> None:
    kernel.write("nr_kdamonds", 1)
    with Driven(kernel.paths, "{monitors: [], kernel: {settle: 0s}}") as driven:
        driven.look_for(10)
    assert kernel.read("nr_kdamonds") == "1"


def test_slots_without_any_mark_are_taken_back_even_if_a_module_is_in_the_way(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_stat"])
    kernel.write("nr_kdamonds", 1)
    with Driven(kernel.paths) as driven:
        driven.look()
    assert kernel.read("nr_kdamonds") == "0"


# Losing it


@pytest.mark.parametrize("slots", [1, 3])
@on_both
def test_a_tree_that_somebody_makes_anew_is_lost_and_not_written_to(
    kernel: FakeKernel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    slots: int,
) -> None:
    with Driven(kernel.paths) as driven:
        driven.look()
        kernel.write("0/state", "off")
        stage_somebodys(kernel, slots)
        before = everything(kernel)
        log = WriteLog(kernel, tmp_path / "log", monkeypatch)
        driven.look_for(120, every=20)
    assert "another tool has made DAMON's tree its own" in caplog.text
    assert log.writes == []
    assert everything(kernel) == before


@on_both
def test_a_kdamond_in_a_lost_tree_is_observed(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        driven.look()
        kernel.write("0/state", "off")
        pid = run_somebodys(kernel)
        roster = driven.look_for(8)
        assert [(kdamond.name, kdamond.owner, kdamond.pid) for kdamond in roster.watched] == [
            ("sysfs0", "foreign", pid)
        ]


def test_a_lost_tree_is_taken_again_later_and_later(kernel: FakeKernel) -> None:
    absences = []
    with Driven(kernel.paths) as driven:
        driven.look()
        for _ in range(4):
            kernel.write("0/state", "off")
            kernel.write("nr_kdamonds", 0)
            driven.look_for(8)
            assert "another tool has made DAMON's tree its own" in driven.waiting["node"]
            lost = driven.now
            while not driven.own:
                driven.look(15)
            absences.append(driven.now - lost)
    assert absences == pytest.approx([30, 60, 120, 240], abs=20)


@on_both
def test_a_tree_without_tokens_for_a_moment_is_not_lost(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        pid = driven.look().watched[0].pid
        token = kernel.read(f"0/{TOKEN_FILE}")
        kernel.write(f"0/{TOKEN_FILE}", 0)
        driven.look(2)
        kernel.write(f"0/{TOKEN_FILE}", token)
        driven.look_for(10)
        assert driven.own["node"].pid == pid
        assert kernel.read("0/pid") == str(pid)


@on_both
def test_one_slot_that_somebody_uses_leaves_the_others_running(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Driven(kernel.paths, TWO) as driven:
        driven.look()
        kernel.write("0/state", "off")
        restage(kernel)
        kernel.write("0/state", "on")
        log = WriteLog(kernel, tmp_path / "log", monkeypatch)
        driven.look_for(100, every=20)
        assert list(driven.own) == ["node"]
        assert "fast" in driven.waiting
        assert [write for write in log.to_damon if write.slot == 0] == []
    assert [write.leaf for write in log.to_damon if write.slot == 0] == []
    assert (kernel.read("0/state"), kernel.read("1/state"), kernel.read("nr_kdamonds")) == ("on", "off", "2")


# Trouble


@on_both
def test_while_somebodys_command_is_under_way_what_was_last_known_stands(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        before = driven.look()
        kernel.fail("*/kdamonds/*/state", "read", errno.EBUSY)
        assert driven.look(60).watched == before.watched
        kernel.clear_faults()
        assert driven.look().watched == before.watched


def test_kdamonds_of_others_do_not_vanish_while_their_files_are_made_anew(kernel: FakeKernel) -> None:
    run_somebodys(kernel)
    with Driven(kernel.paths) as driven:
        before = driven.look()
        kernel.fail("*/contexts/0/operations", "read", errno.ENODEV)
        assert driven.look().watched == before.watched


def test_a_storm_of_ebusy_while_the_tree_is_taken_ends_well(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        kernel.fail("*/kdamonds/0/state", "write", errno.EBUSY)
        driven.look()
        assert "busy" in driven.waiting["node"]
        kernel.clear_faults()
        driven.look(60)
        assert driven.own
    assert kernel.read("nr_kdamonds") == "0"


@on_both
def test_a_storm_of_ebusy_on_exit_is_sat_out(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        driven.look()
        kernel.fail("*/kdamonds/0/state", "write", errno.EBUSY, count=12)
    assert kernel.read("nr_kdamonds") == "0"


@on_both
def test_a_command_of_our_own_under_way_on_exit_is_waited_for(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sysfs source's may take an aggregation interval, and while it does everything else answers EBUSY."""
    monkeypatch.setattr("damon_exporter.tenure.RELEASE_PATIENCE", 0.0)
    with Driven(kernel.paths, PHYSICAL.replace("100ms", "4s"), sysfs_source=True) as driven:
        driven.look()
        assert driven.supervisor.writer
        asked = driven.supervisor.writer.submit(kernel.kdamonds / "0/state", "update_schemes_tried_regions")
        wait_for(asked.running)
    assert kernel.read("nr_kdamonds") == "0"


@on_both
def test_a_kdamond_whose_start_could_not_be_confirmed_is_ours_all_the_same(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        kernel.fail("*/kdamonds/0/pid", "read", errno.EBUSY, count=8)
        driven.look()
        assert not driven.own
        driven.look()
        assert driven.own["node"].pid == int(kernel.read("0/pid"))


# A command that is not answered


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("damon_exporter.tenure.CommandWriter", partial(CommandWriter, deadline=0.3))


def stick(kernel: FakeKernel) -> None:
    """Let the next command sleep."""
    kernel.delay("*/kdamonds/*/state", "write", 600, count=1)


@pytest.mark.usefixtures("impatient")
def test_a_stuck_command_is_told_although_it_keeps_the_tree_from_being_read(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        before = driven.look()
        writer = driven.supervisor.writer
        assert writer
        stick(kernel)
        writer.submit(kernel.kdamonds / "0/state", "update_schemes_stats")
        wait_for(lambda: writer.stuck)
        kernel.fail("*/kdamonds/*/state", "read", errno.EBUSY)  # as since 6.14 while a command is under way
        roster = driven.look()
        assert "has not been answered" in roster.blocked["stuck"]
        assert roster.watched == before.watched
        kernel.clear_faults()


@pytest.mark.usefixtures("impatient")
@on_both
def test_no_command_follows_a_stuck_one_and_its_late_answer_is_gone_on_with(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    with Driven(kernel.paths) as driven:
        stick(kernel)
        driven.look()
        wait_for(lambda: log.writes[-1].path.endswith("0/state"))  # the helper may get to it after the deadline
        before = log.writes
        roster = driven.look_for(60, every=30)
        assert log.writes == before
        assert "stuck" in roster.blocked
        assert not driven.own
        kernel.clear_faults()
        writer = driven.supervisor.writer
        assert writer is not None
        wait_for(lambda: not writer.stuck)
        driven.look(60)
        assert driven.own["node"].pid == int(kernel.read("0/pid"))
        assert not driven.supervisor.roster.blocked
    assert kernel.read("nr_kdamonds") == "0"


# The thread


class Noting(Supervisor):
    """Notes every roster that others can see."""

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, Roster):
            self.__dict__.setdefault("seen", []).append(value)
        super().__setattr__(name, value)


def test_no_roster_is_ever_seen_without_what_is_in_the_way(kernel: FakeKernel) -> None:
    run_somebodys(kernel)
    supervisor = Noting(check(parse(PHYSICAL)), kernel.paths, False, lambda: None)
    supervisor.tick(1000.0)
    supervisor.tick(1002.0)
    supervisor.end()
    at_first, *seen = supervisor.__dict__["seen"]
    assert at_first == Roster()
    assert ["foreign_kdamond" in roster.blocked for roster in seen] == [True, True]


def test_a_failure_that_nobody_has_foreseen_is_told(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = Queue[str]()
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    supervisor = Supervisor(check({}), kernel.paths, False, lambda: failures.put("failed"))
    monkeypatch.setattr(supervisor, "tick", lambda now: 1 // 0)
    supervisor.start()
    assert failures.get(timeout=10) == "failed"
    supervisor.stop()


def test_the_thread_looks_as_often_as_the_fastest_list_of_processes_wants(kernel: FakeKernel) -> None:
    quick = "monitors: [{name: a, operations: vaddr, processes: {match: [{comm: a}], refresh: 100ms}}]"
    looks = Queue[float]()
    supervisor = Supervisor(check(parse(quick)), kernel.paths, False, lambda: None)
    supervisor.tick = looks.put
    supervisor.start()
    first, second = looks.get(timeout=5), looks.get(timeout=5)
    supervisor.stop()
    assert 0.09 < second - first < 1
