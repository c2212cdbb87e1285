"""One monitor of ours: what becomes of it when its processes, other people, or the kernel change something."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from driving import PHYSICAL, SETTLED, Driven, everything, on_both, wait_for
from written import WriteLog

from damon_exporter.analysis.snapshot import Intervals
from damon_exporter.config.loading import check
from damon_exporter.config.reading import parse
from damon_exporter.containers.named import NO_POD, Named, no_pod
from damon_exporter.roster import Waiting, Watched
from damon_exporter.supervisor import Supervisor
from damon_exporter.testing.fake_kernel import FakeKernel

Start = Callable[..., FakeKernel]

POSTGRES = SETTLED + "monitors: [{name: db, operations: vaddr, processes: {match: [{comm: postgres}]}}]\n"
TWO = PHYSICAL.replace("[{name: node", "[{name: fast, operations: paddr}, {name: node")
TARGETS = "0/contexts/0/targets"
INTERVALS = "0/contexts/0/monitoring_attrs/intervals"
MAX_REGIONS = "0/contexts/0/monitoring_attrs/nr_regions/max"


def with_command(*words: str) -> str:
    return SETTLED + f"monitors: [{{name: bench, operations: vaddr, command: {list(words)}}}]\n".replace("'", '"')


def pids_watched(kernel: FakeKernel) -> list[int]:
    count = int(kernel.read(f"{TARGETS}/nr_targets"))
    return [int(kernel.read(f"{TARGETS}/{index}/pid_target")) for index in range(count)]


def grow(kernel: FakeKernel, sizes: dict[int, int]) -> None:
    """Let processes of one name have these resident sets (MiB)."""
    for pid, size in sizes.items():
        kernel.add_process(pid, "postgres", rss=size << 20)


def next_try(driven: Driven, name: str = "node") -> float:
    """How long it takes until a monitor that was left alone runs again."""
    left = driven.now
    while name not in driven.own:
        driven.look(5)
    return driven.now - left


# Somebody turns it off


@on_both
def test_a_monitor_that_somebody_turned_off_is_left_alone_for_a_while(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Driven(kernel.paths, PHYSICAL.replace("0s", "30s")) as driven:
        driven.look()
        driven.look(30)
        assert driven.own
        kernel.write("0/state", "off")
        log = WriteLog(kernel, tmp_path / "log", monkeypatch)
        driven.look()
        reason = "turned off by somebody else, or has failed: left alone for a while (next try in 30 s)"
        assert reason in driven.waiting["node"]
        driven.look_for(29, every=14.5)
        assert log.writes == []
        driven.look(1)
        assert driven.own


def test_every_time_it_is_left_alone_for_twice_as_long(kernel: FakeKernel) -> None:
    absences = []
    with Driven(kernel.paths, PHYSICAL.replace("0s", "30s")) as driven:
        driven.look()
        driven.look(30)
        for _ in range(4):
            kernel.write("0/state", "off")
            driven.look()
            absences.append(next_try(driven))
    assert absences == pytest.approx([30, 60, 120, 240], abs=5)


def test_after_a_good_hour_all_is_forgiven(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, PHYSICAL.replace("0s", "30s")) as driven:
        driven.look()
        driven.look(30)
        for _ in range(3):
            kernel.write("0/state", "off")
            driven.look()
            next_try(driven)
        driven.look(3700)
        kernel.write("0/state", "off")
        driven.look()
        assert next_try(driven) == pytest.approx(30, abs=5)


@on_both
def test_a_kdamond_that_fails_by_itself_is_started_again_later(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        pid = driven.look().watched[0].pid
        kernel.kill_kdamond()
        driven.look()
        assert "has failed" in driven.waiting["node"]
        driven.look_for(4)
        assert driven.own["node"].pid == int(kernel.read("0/pid")) != pid
        assert driven.own["node"].restarts == 1


@on_both
def test_a_kdamond_that_somebody_started_in_our_slot_is_observed_and_not_stopped(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Driven(kernel.paths) as driven:
        driven.look()
        kernel.write("0/state", "off")
        kernel.write(MAX_REGIONS, 700)
        kernel.write("0/state", "on")
        pid = int(kernel.read("0/pid"))
        log = WriteLog(kernel, tmp_path / "log", monkeypatch)
        roster = driven.look_for(100, every=20)
        assert [(kdamond.name, kdamond.pid, kdamond.owner) for kdamond in roster.watched] == [
            ("sysfs0", pid, "foreign")
        ]
        assert log.writes == []


# Somebody changes it


def test_a_change_that_is_put_back_soon_is_none(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        before = driven.look().watched
        kernel.write(MAX_REGIONS, 700)
        assert driven.look(2).watched == before
        kernel.write(MAX_REGIONS, 1000)
        assert driven.look_for(10, every=5).watched == before


def test_two_looks_in_quick_succession_do_not_make_a_change_last(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        before = driven.look().watched
        kernel.write(MAX_REGIONS, 700)
        driven.look(0.5)
        assert driven.look(0.5).watched == before


@pytest.mark.parametrize(
    ("leaf", "value"),
    [
        ("monitoring_attrs/nr_regions/max", 700),
        ("monitoring_attrs/intervals/sample_us", 6000),
        ("targets/0/regions/0/start", 8192),
        ("schemes/0/action", "cold"),
    ],
)
def test_what_somebody_has_changed_is_his_and_only_observed(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaf: str, value: object
) -> None:
    with Driven(kernel.paths) as driven:
        pid = driven.look().watched[0].pid
        kernel.write(f"0/contexts/0/{leaf}", value)
        log = WriteLog(kernel, tmp_path / "log", monkeypatch)
        driven.look_for(15, every=5)
        found = driven.describe("node")
        assert isinstance(found, Watched)
        assert (found.owner, found.pid) == ("foreign", pid)
        assert log.writes == []


@pytest.mark.parametrize("restaged", ["contexts/nr_contexts", "contexts/0/schemes/nr_schemes"])
@on_both
def test_what_has_lost_our_token_is_somebodys_even_after_exit(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restaged: str
) -> None:
    with Driven(kernel.paths) as driven:
        pid = driven.look().watched[0].pid
        kernel.write(f"0/{restaged}", 1)
        before = everything(kernel)
        log = WriteLog(kernel, tmp_path / "log", monkeypatch)
        roster = driven.look_for(30, every=5)
        assert [(kdamond.owner, kdamond.pid) for kdamond in roster.watched] == [("foreign", pid)]
    assert log.writes == []
    assert everything(kernel) == before


def test_what_somebody_has_put_back_is_ours_again(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        driven.look()
        kernel.write(MAX_REGIONS, 700)
        driven.look_for(10, every=5)
        assert not driven.own
        kernel.write(MAX_REGIONS, 1000)
        driven.look()
        assert driven.own


def change_it(kernel: FakeKernel) -> None:
    kernel.write(MAX_REGIONS, 700)


def start_another(kernel: FakeKernel) -> None:
    kernel.write("0/state", "off")
    kernel.write(MAX_REGIONS, 700)
    kernel.write("0/state", "on")


@on_both
def test_what_somebody_has_started_after_we_saw_ours_off_runs_on_after_exit(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, TWO) as driven:
        driven.look()
        kernel.write("0/state", "off")
        driven.look(3)
        kernel.write(MAX_REGIONS, 700)
        kernel.write("0/state", "on")
        pid = kernel.read("0/pid")
    assert (kernel.read("0/state"), kernel.read("0/pid")) == ("on", pid)


@pytest.mark.parametrize("act", [change_it, start_another])
@on_both
def test_what_somebody_has_changed_runs_on_after_exit_and_is_his(
    kernel: FakeKernel, act: Callable[[FakeKernel], None]
) -> None:
    with Driven(kernel.paths, TWO) as driven:
        driven.look()
        act(kernel)
        pid = kernel.read("0/pid")
        driven.look_for(10, every=5)
    assert [kernel.read(f"{index}/state") for index in (0, 1)] == ["on", "off"]
    assert (kernel.read("0/pid"), kernel.read(MAX_REGIONS)) == (pid, "700")
    with Driven(kernel.paths, TWO) as next_one:
        roster = next_one.look()
        assert "kdamonds of another tool run" in roster.blocked["foreign_kdamond"]
        assert [(kdamond.owner, kdamond.pid) for kdamond in roster.watched] == [("foreign", int(pid))]
    assert kernel.read("0/pid") == pid


def test_what_somebody_has_started_in_our_slot_just_before_exit_is_his(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        driven.look()
        start_another(kernel)
    assert kernel.read("0/state") == "on"


def test_what_somebody_has_put_back_is_stopped_on_exit(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        driven.look()
        kernel.write(MAX_REGIONS, 700)
        driven.look_for(10, every=5)
        kernel.write(MAX_REGIONS, 1000)
        driven.look()
    assert kernel.read("nr_kdamonds") == "0"


def test_what_somebody_has_started_and_turned_off_again_is_removed_on_exit(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        driven.look()
        start_another(kernel)
        driven.look()
        kernel.write("0/state", "off")
    assert kernel.read("nr_kdamonds") == "0"


def test_a_start_that_could_not_be_confirmed_is_stopped_on_exit_whoever_had_the_slot_before(
    kernel: FakeKernel,
) -> None:
    with Driven(kernel.paths) as driven:
        driven.look()
        start_another(kernel)
        driven.look()
        kernel.write("0/state", "off")
        kernel.fail("*/kdamonds/0/pid", "read", errno.EBUSY, count=8)
        driven.look(60)
        assert kernel.read("0/state") == "on"
        kernel.clear_faults()
    assert kernel.read("nr_kdamonds") == "0"


# Processes


def test_processes_are_watched_by_name(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    kernel.add_process(43, "redis")
    with Driven(kernel.paths, POSTGRES) as driven:
        driven.look()
        assert pids_watched(kernel) == [42]
        assert list(driven.own["db"].names) == ["postgres"]


def test_a_name_that_nothing_has_waits_and_is_found_later(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, POSTGRES) as driven:
        driven.look_for(20, every=10)
        assert driven.waiting == {"db": "no process matches comm 'postgres': waiting for one"}
        assert kernel.read("nr_kdamonds") == "0"
        kernel.add_process(42, "postgres")
        driven.look()
        assert pids_watched(kernel) == [42]


def test_settling_does_not_begin_only_when_there_is_something_to_watch(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, POSTGRES.replace("0s", "30s")) as driven:
        driven.look_for(40, every=10)
        kernel.add_process(42, "postgres")
        driven.look()
        assert driven.own


@on_both
def test_more_processes_are_watched_as_they_come(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    with Driven(kernel.paths, POSTGRES) as driven:
        driven.look()
        pid = driven.own["db"].pid
        kernel.add_process(43, "postgres")
        driven.look()
        assert pids_watched(kernel) == [42, 43]
        assert (driven.own["db"].pid, driven.own["db"].restarts) == (pid, 0)


@on_both
def test_one_process_that_ends_leaves_the_others_watched(kernel: FakeKernel) -> None:
    for pid in (42, 43):
        kernel.add_process(pid, "postgres")
    with Driven(kernel.paths, POSTGRES) as driven:
        pid = driven.look().watched[0].pid
        kernel.remove_process(42)
        driven.look()
        assert [target.name for target in driven.own["db"].targets or ()] == [None, "postgres"]
        assert (driven.own["db"].pid, driven.own["db"].restarts) == (pid, 0)


def test_another_process_with_the_same_pid_is_another_process(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    with Driven(kernel.paths, POSTGRES) as driven:
        driven.look()
        kernel.remove_process(42)
        driven.look()
        assert "db" in driven.waiting
        kernel.add_process(42, "postgres")
        driven.look()
        assert driven.own["db"].restarts == 1


@on_both
def test_when_the_last_process_has_ended_it_waits_for_the_next(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    with Driven(kernel.paths, POSTGRES) as driven:
        driven.look()
        kernel.remove_process(42)
        wait_for(lambda: kernel.read("0/state") == "off")
        driven.look()
        assert driven.waiting == {"db": "no process matches comm 'postgres': waiting for one"}
        kernel.add_process(43, "postgres")
        driven.look()
        assert pids_watched(kernel) == [43]


@on_both
def test_a_zombie_is_not_watched_any_more(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    with Driven(kernel.paths, POSTGRES) as driven:
        driven.look()
        kernel.end_process(42)
        driven.look()
        assert kernel.read("0/state") == "off"
        assert "db" in driven.waiting


def test_a_pid_that_is_dead_waits_and_leaves_the_others_running(kernel: FakeKernel) -> None:
    dead = PHYSICAL.replace(
        "[{name: node", "[{name: gone, operations: vaddr, processes: {match: [{pid: 4711}]}}, {name: node"
    )
    with Driven(kernel.paths, dead) as driven:
        driven.look_for(10, every=5)
        assert list(driven.own) == ["node"]
        assert "pid 4711 does not exist" in driven.waiting["gone"]


@on_both
def test_what_an_earlier_run_has_left_is_not_judged_before_pods_have_names(kernel: FakeKernel) -> None:
    """A kubelet may take its time: until it has answered, nothing would seem to match."""
    match = SETTLED.replace("settle: 0s", "settle: 0s, on_exit: keep") + (
        "monitors: [{name: db, operations: vaddr, processes: {match: [{pod: {name: cart-0}}]}}]\n"
    )
    known: set[str] = set()

    def pod_of(path: str) -> Named:
        return Named("shop", "cart-0", "app") if path in known else NO_POD

    kernel.add_process(42, "cart", cgroup="/kubepods/cart")
    kdamonds = []
    for reason in ("no process matches", "the names of pods are asked for first"):
        known.clear()
        supervisor = Supervisor(check(parse(match)), kernel.paths, False, lambda: None, pod_of, lambda: bool(known))
        supervisor.tick(1000.0)
        (waiting,) = supervisor.roster.waiting
        assert waiting.reason.startswith(reason)
        assert supervisor.roster.watched == ()
        known.add("/kubepods/cart")
        supervisor.tick(1002.0)
        kdamonds += [kdamond.pid for kdamond in supervisor.roster.watched]
        supervisor.end()
    assert len(kdamonds) == 2
    assert len(set(kdamonds)) == 1


def test_what_an_earlier_run_has_left_goes_on_at_once_where_pods_do_not_matter(kernel: FakeKernel) -> None:
    keeping = POSTGRES.replace("settle: 0s", "settle: 0s, on_exit: keep")
    kernel.add_process(42, "postgres")
    with Driven(kernel.paths, keeping) as driven:
        pid = driven.look().watched[0].pid
    supervisor = Supervisor(check(parse(keeping)), kernel.paths, False, lambda: None, no_pod, lambda: False)
    supervisor.tick(1000.0)
    assert [kdamond.pid for kdamond in supervisor.roster.watched] == [pid]
    supervisor.end()


def test_while_all_that_match_are_too_small_that_is_said_and_they_are_counted(kernel: FakeKernel) -> None:
    limited = POSTGRES.replace("{match", "{min_rss: 16MiB, match")
    for pid in (42, 43):
        kernel.add_process(pid, "postgres", rss=8 << 20)
    with Driven(kernel.paths, limited) as driven:
        driven.look()
        waiting = driven.describe("db")
        assert isinstance(waiting, Waiting)
        assert "match comm 'postgres' (2) has as much resident memory as processes.min_rss asks for" in waiting.reason
        assert waiting.dropped == 2
        kernel.add_process(44, "postgres", rss=16 << 20)
        driven.look()
        assert pids_watched(kernel) == [44]
        kernel.remove_process(44)
        wait_for(lambda: kernel.read("0/state") == "off")
        driven.look()
        assert driven.describe("db").dropped == 2


def test_while_nobody_looks_for_processes_none_are_counted(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_stat"])
    kernel.add_process(42, "postgres")
    with Driven(kernel.paths, POSTGRES) as driven:
        driven.look()
        assert driven.describe("db").dropped is None


def test_a_pid_that_has_another_name_by_now_is_not_watched(kernel: FakeKernel) -> None:
    kernel.add_process(42, "sh")
    both = SETTLED + "monitors: [{name: db, operations: vaddr, processes: {match: [{pid: 42, comm: postgres}]}}]"
    with Driven(kernel.paths, both) as driven:
        driven.look()
        assert driven.waiting == {"db": "no process matches pid 42 with comm 'postgres': waiting for one"}


def test_a_process_that_ends_while_it_is_configured_leaves_the_others_running(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    two = PHYSICAL.replace(
        "[{name: node", "[{name: db, operations: vaddr, processes: {match: [{pid: 42}]}}, {name: node"
    )
    with Driven(kernel.paths, two) as driven:
        kernel.fail("*/kdamonds/0/state", "write", errno.EINVAL, count=1)  # what `on` says of a dead pid
        driven.look()
        assert list(driven.own) == ["node"]
        assert "the kernel refused the value" in driven.waiting["db"]
        driven.look()
        assert sorted(driven.own) == ["db", "node"]


@on_both
def test_one_of_three_that_the_kernel_refuses_leaves_two_running(
    kernel: FakeKernel, caplog: pytest.LogCaptureFixture
) -> None:
    three = PHYSICAL.replace("[{name: node", "[{name: a, operations: paddr}, {name: b, operations: paddr}, {name: node")
    kernel.fail("*/kdamonds/1/contexts/0/targets/nr_targets", "write", errno.ENOMEM)
    with Driven(kernel.paths, three) as driven:
        driven.look_for(30, every=10)
        assert sorted(driven.own) == ["a", "node"]
        assert "the kernel could not build it" in driven.waiting["b"]
        assert "monitor b does not run: cannot write '1' to" in caplog.text
        kernel.clear_faults()
        driven.look(60)
        assert sorted(driven.own) == ["a", "b", "node"]


def test_processes_of_another_pid_namespace_are_not_watched(kernel: FakeKernel) -> None:
    kernel.add_process(2, "sh")
    kernel.add_process(42, "postgres")
    with Driven(kernel.paths, POSTGRES) as driven:
        driven.look_for(10, every=5)
        assert "run in the host's (hostPID: true)" in driven.waiting["db"]
        assert kernel.read("nr_kdamonds") == "0"


def test_physical_memory_needs_no_pid_namespace(kernel: FakeKernel) -> None:
    kernel.add_process(2, "sh")
    with Driven(kernel.paths) as driven:
        driven.look()
        assert driven.own


def test_without_procfs_processes_cannot_be_found_and_the_others_run(kernel: FakeKernel) -> None:
    two = PHYSICAL.replace(
        "[{name: node", "[{name: db, operations: vaddr, processes: {match: [{comm: a}]}}, {name: node"
    )
    kernel.fail("proc/2/stat", "open", errno.ENOENT)
    with Driven(kernel.paths, two) as driven:
        driven.look()
        assert list(driven.own) == ["node"]
        assert "db" in driven.waiting


def test_the_list_of_processes_is_looked_at_as_often_as_configured(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    with Driven(kernel.paths, POSTGRES.replace("{match", "{refresh: 1m, match")) as driven:
        driven.look()
        kernel.add_process(43, "postgres")
        driven.look_for(58, every=29)
        assert pids_watched(kernel) == [42]
        driven.look(2)
        assert sorted(pids_watched(kernel)) == [42, 43]


def test_processes_that_ended_since_the_list_was_looked_at_are_not_configured(kernel: FakeKernel) -> None:
    for pid in (42, 43):
        kernel.add_process(pid, "postgres")
    with Driven(kernel.paths, POSTGRES.replace("{match", "{refresh: 1h, match")) as driven:
        driven.look()
        kernel.remove_process(42)
        kernel.kill_kdamond()
        driven.look_for(10, every=5)
        assert pids_watched(kernel) == [43]
        assert driven.own["db"].restarts == 1


def test_processes_whose_sizes_swap_ranks_are_watched_without_a_break(kernel: FakeKernel) -> None:
    grow(kernel, {41: 30, 42: 20, 43: 10})
    limited = POSTGRES.replace("{match", "{limit: 2, min_rss: 15MiB, match")
    with Driven(kernel.paths, limited) as driven:
        pid = driven.look().watched[0].pid
        assert pids_watched(kernel) == [41, 42]
        grow(kernel, {41: 5, 42: 25, 43: 99})
        driven.look_for(10, every=5)
        assert (driven.own["db"].pid, driven.own["db"].restarts) == (pid, 0)
        kernel.remove_process(41)
        driven.look()
        assert pids_watched(kernel) == [43, 42]


def test_processes_whose_sizes_swapped_ranks_while_nobody_looked_are_adopted(kernel: FakeKernel) -> None:
    grow(kernel, {41: 30, 42: 20})
    with Driven(kernel.paths, POSTGRES.replace("settle: 0s", "settle: 0s, on_exit: keep")) as killed:
        killed.look()
        pid = killed.own["db"].pid
    grow(kernel, {41: 20, 42: 30})
    with Driven(kernel.paths, POSTGRES) as driven:
        driven.look()
        assert driven.own["db"].pid == pid == int(kernel.read("0/pid"))


def test_fixed_ranges_of_a_process_are_watched(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    fixed = SETTLED + (
        "monitors: [{name: stack, operations: fvaddr, ranges: [[0x10000, 0x20000]], processes: {match: [{pid: 42}]}}]"
    )
    with Driven(kernel.paths, fixed) as driven:
        driven.look()
        assert driven.own
        assert kernel.read("0/contexts/0/operations") == "fvaddr"
        assert kernel.read(f"{TARGETS}/0/regions/0/end") == str(0x20000)


# Tuned intervals


def test_tuning_does_not_change_how_many_accesses_can_be_seen_whatever_half_of_it_the_files_show(
    kernel: FakeKernel,
) -> None:
    """The kernel refreshes one file after the other."""
    with Driven(kernel.paths, SETTLED + "monitors: [{name: node, operations: paddr}]") as driven:
        driven.look()
        kernel.write("0/refresh_ms", 0)
        kernel.write(f"{INTERVALS}/sample_us", 10_000)
        kernel.write(f"{INTERVALS}/aggr_us", 100_000)
        driven.look()
        assert driven.own["node"].intervals == Intervals(10_000, 100_000)
        assert driven.own["node"].max_nr_accesses == 20


def test_what_somebody_has_changed_counts_as_many_accesses_as_he_says(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        driven.look()
        kernel.write(f"{INTERVALS}/sample_us", 10_000)
        driven.look_for(5)
        node = driven.describe("node")
        assert isinstance(node, Watched)
        assert (node.owner, node.max_nr_accesses) == ("foreign", 10)


@pytest.mark.parametrize(
    ("kernel", "intervals", "said"),
    [
        ("6.12", "{autotune: {min_sample: 10ms}}", 1),
        ("6.12", "{autotune: }", 0),
        ("6.12", "{update: 5s}", 0),
        ("6.12", "{sample: 5ms}", 0),
        ("7.3", "{autotune: {min_sample: 10ms}}", 0),
    ],
    indirect=["kernel"],
)
def test_tuning_that_is_asked_for_and_not_to_be_had_is_told_once(
    kernel: FakeKernel, caplog: pytest.LogCaptureFixture, intervals: str, said: int
) -> None:
    node = f"monitors: [{{name: node, operations: paddr, intervals: {intervals}}}]"
    with Driven(kernel.paths, SETTLED + node) as driven:
        driven.look()
        kernel.kill_kdamond()
        driven.look_for(60, every=20)
        assert driven.own["node"].restarts
    told = [
        line for line in caplog.messages if "sample 10ms and aggregation 200ms are used instead of autotune" in line
    ]
    assert len(told) == said


# A command. The fake kernel does not know real processes, so that it is told of them.


@on_both
def test_a_command_is_started_once_watched_and_reaped_when_it_ends(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, with_command("sleep", "1000")) as driven:
        driven.look()  # the kernel refuses a pid that it does not know
        (pid,) = pids_watched(kernel)
        kernel.add_process(pid, "sleep")
        driven.look()
        assert list(driven.own["bench"].names) == ["sleep"]
        os.kill(pid, signal.SIGTERM)
        kernel.remove_process(pid)
        wait_for(lambda: driven.look() and driven.supervisor.commands_ended)
        driven.look_for(60, every=20)
        assert driven.waiting == {"bench": "its command has ended with exit code -15"}
        assert not Path(f"/proc/{pid}").exists()


def test_a_command_is_ended_and_reaped_on_exit(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, with_command("sleep", "1000")) as driven:
        driven.look()
        (pid,) = pids_watched(kernel)
        assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    assert not Path(f"/proc/{pid}").exists()


def test_a_command_that_does_not_end_when_asked_is_killed(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("damon_exporter.targets.COMMAND_GRACE_SECONDS", 0.2)
    ready = tmp_path / "ready"
    script = f"trap '' TERM; touch {ready}; while :; do sleep 1; done"
    with Driven(
        kernel.paths, SETTLED + f'monitors: [{{name: bench, operations: vaddr, command: [sh, -c, "{script}"]}}]'
    ) as driven:
        driven.look()
        (pid,) = pids_watched(kernel)
        wait_for(ready.exists)
    assert not Path(f"/proc/{pid}").exists()


def test_a_command_that_cannot_be_started_is_told_and_counts_as_ended(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, with_command("/nowhere/masim")) as driven:
        driven.look_for(10, every=5)
        assert driven.waiting == {"bench": "cannot start /nowhere/masim: No such file or directory"}
        assert driven.supervisor.commands_ended


def test_a_command_is_not_started_while_damon_is_not_ours(kernel: FakeKernel, tmp_path: Path) -> None:
    started = tmp_path / "started"
    with Driven(kernel.paths, with_command("touch", str(started)).replace("0s", "30s")) as driven:
        driven.look_for(20, every=10)
        assert not started.exists()


def test_what_else_is_monitored_is_no_command_that_ends(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as driven:
        driven.look()
        assert not driven.supervisor.commands_ended
