"""Reloads on fake kernels: from the monitors that run to those of another configuration, all of them or none."""

import errno
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from driving import Driven, everything, on_both, restage, stage_somebodys, wait_for
from written import WriteLog

from damon_exporter.config.loading import check
from damon_exporter.config.reading import parse
from damon_exporter.kernel.errors import Busy, Ending, KernelError, NotOurs, Rejected, Unsupported
from damon_exporter.testing.fake_kernel import FakeKernel

Start = Callable[..., FakeKernel]
GIB = 1 << 30

SETTLED = "kernel: {settle: 0s, allow_actions: true}\n"
SLOTS = SETTLED.replace("}", ", slots: 3}")


def node(name: str = "node", aggregation: str = "100ms", more: str = "") -> str:
    return (
        f"- {{name: {name}, operations: paddr, ranges: [[1GiB, 2GiB]], "
        f"intervals: {{sample: 5ms, aggregation: {aggregation}}}{more}}}\n"
    )


def processes(name: str = "db", comm: str = "postgres", more: str = "") -> str:
    return f"- {{name: {name}, operations: vaddr, processes: {{match: [{{comm: {comm}}}]}}{more}}}\n"


def monitors(*each: str, kernel: str = SETTLED) -> str:
    return f"{kernel}monitors:\n{''.join(each)}"


SCHEME = ", schemes: [{name: cold, action: pageout, access_pattern: {access_ratio: [0%, 0%], age: [5s, max]}}]"
MISSING_CGROUP = ", schemes: [{name: one, action: pageout, ops_filters: [{type: memcg, path: /gone}]}]"


def reload(driven: Driven, configuration: str) -> None:
    """As the exporter does it, and then look."""
    try:
        driven.supervisor.reload(check(parse(configuration)))
    finally:
        driven.look()


def pids(driven: Driven) -> dict[str, int]:
    return {name: watched.pid for name, watched in driven.own.items()}


@on_both
def test_what_is_not_changed_is_not_touched(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    with Driven(kernel.paths, monitors(node("a"), node("b"))) as driven:
        driven.look()
        before = pids(driven)
        written = len(log.to_damon)
        reload(driven, monitors(node("a"), node("b", aggregation="200ms")))
        assert pids(driven) == before
        assert {write.slot for write in log.to_damon[written:]} == {1}


@on_both
def test_other_intervals_are_committed_to_the_kdamond_that_runs(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node())) as driven:
        driven.look()
        before = pids(driven)
        reload(driven, monitors(node(aggregation="200ms")))
        assert pids(driven) == before
        assert driven.own["node"].intervals.aggregation_us == 200_000
        assert driven.own["node"].restarts == 0
        driven.look_for(10)
        assert pids(driven) == before


@on_both
def test_a_scheme_comes_and_goes_without_a_restart(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node())) as driven:
        driven.look()
        before = pids(driven)
        reload(driven, monitors(node(more=SCHEME)))
        assert kernel.read("0/contexts/0/schemes/1/action") == "pageout"
        wait_for(lambda: [scheme.label for scheme in (driven.look() and driven.own["node"].schemes) or ()] == ["cold"])
        reload(driven, monitors(node()))
        assert kernel.read("0/contexts/0/schemes/nr_schemes") == "1"
        assert pids(driven) == before


@on_both
def test_other_operations_take_a_restart_of_that_slot_only(kernel: FakeKernel) -> None:
    kernel.add_process(100, "postgres")
    with Driven(kernel.paths, monitors(node("a"), node("b"))) as driven:
        driven.look()
        before = pids(driven)
        reload(driven, monitors(node("a"), processes("b")))
        assert driven.own["a"].pid == before["a"]
        assert driven.own["b"].pid not in (0, before["b"])
        assert driven.own["b"].operations == "vaddr"


@on_both
def test_other_processes_are_taken_into_the_kdamond_that_runs(kernel: FakeKernel) -> None:
    kernel.add_process(100, "postgres")
    kernel.add_process(101, "redis")
    with Driven(kernel.paths, monitors(processes())) as driven:
        driven.look()
        before = pids(driven)
        reload(driven, monitors(processes(comm="redis")))
        driven.look_for(10)
        assert pids(driven) == before
        assert driven.own["db"].names == ("redis",)


@on_both
def test_a_reload_that_names_a_pid_that_another_monitor_watches_has_both_watch_it(kernel: FakeKernel) -> None:
    kernel.add_process(100, "postgres")
    by_pid = "- {name: one, operations: vaddr, processes: {match: [{pid: 100}]}}\n"
    with Driven(kernel.paths, monitors(processes(), kernel=SETTLED.replace("}", ", slots: 2}"))) as driven:
        driven.look()
        before = pids(driven)["db"]
        reload(driven, monitors(processes(), by_pid, kernel=SETTLED.replace("}", ", slots: 2}")))
        assert driven.own["db"].pid == before
        assert driven.own["one"].names == ("postgres",)


@on_both
def test_a_monitor_of_what_is_not_there_stops_and_waits(kernel: FakeKernel) -> None:
    kernel.add_process(100, "postgres")
    with Driven(kernel.paths, monitors(processes())) as driven:
        driven.look()
        reload(driven, monitors(processes(comm="nobody")))
        assert driven.waiting["db"].startswith("no process matches")
        assert kernel.read("0/state") == "off"


@on_both
def test_a_process_that_ends_just_when_it_is_to_be_watched_is_waited_for(kernel: FakeKernel) -> None:
    kernel.add_process(100, "postgres")
    with Driven(kernel.paths, monitors(processes(comm="nobody"), node("a"))) as driven:
        driven.look()
        kernel.delay("*/kdamonds/0/state", "write", 1.0, count=1)
        ending = threading.Timer(0.5, lambda: kernel.remove_process(100))
        ending.start()
        reload(driven, monitors(processes(), node("a")))
        ending.join()
        assert "db" in driven.waiting


@on_both
def test_where_slots_are_left_a_monitor_is_added_beside_those_that_run(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node("a"), kernel=SETTLED.replace("}", ", slots: 3}"))) as driven:
        driven.look()
        before = pids(driven)
        reload(driven, monitors(node("a"), node("b"), kernel=SETTLED.replace("}", ", slots: 3}")))
        assert driven.own["a"].pid == before["a"]
        assert driven.own["b"].slot == 1


@on_both
def test_where_none_are_left_every_monitor_is_started_anew_and_that_is_said(
    kernel: FakeKernel, caplog: pytest.LogCaptureFixture
) -> None:
    with Driven(kernel.paths, monitors(node("a"))) as driven:
        driven.look()
        before = pids(driven)
        reload(driven, monitors(node("a"), node("b")))
        assert "every monitor is started anew" in caplog.text
        assert set(driven.own) == {"a", "b"}
        assert driven.own["a"].pid != before["a"]
        driven.look_for(10)
        assert set(driven.own) == {"a", "b"}


@on_both
def test_a_reload_that_must_make_slots_makes_as_many_as_its_file_asks_for(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node("a"))) as driven:
        driven.look()
        reload(driven, monitors(node("a"), node("b"), kernel=SETTLED.replace("}", ", slots: 4}")))
        assert kernel.read("nr_kdamonds") == "4"


@on_both
def test_what_the_kernel_refuses_once_slots_were_made_brings_the_old_monitors_back(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node("a"))) as driven:
        driven.look()
        kernel.fail("*/kdamonds/1/contexts/0/monitoring_attrs/intervals/aggr_us", "write", errno.EINVAL, count=1)
        with pytest.raises(Rejected, match="The monitors of the old configuration are started anew"):
            reload(driven, monitors(node("a", "200ms"), node("b", "300ms")))
        assert {name: kdamond.intervals.aggregation_us for name, kdamond in driven.own.items()} == {"a": 100_000}


@on_both
def test_where_slots_must_be_made_what_somebody_has_just_changed_is_left_to_him(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node("a"))) as driven:
        driven.look()
        kernel.write("0/contexts/0/monitoring_attrs/nr_regions/max", 500)
        driven.look()
        with pytest.raises(NotOurs, match="has just been changed by another tool"):
            reload(driven, monitors(node("a"), node("b")))
        assert kernel.read("0/state") == "on"


def test_a_command_is_not_started_twice_though_slots_are_made(kernel: FakeKernel) -> None:
    bench = "- {name: bench, operations: vaddr, command: [sleep, '1000'], regions: {max: %d}}\n"
    with Driven(kernel.paths, monitors(bench % 900)) as driven:
        driven.look()  # the kernel refuses a pid that it does not know
        pid = int(kernel.read("0/contexts/0/targets/0/pid_target"))
        kernel.add_process(pid, "sleep")
        driven.look()
        reload(driven, monitors(bench % 800, node("b")))
        assert set(driven.own) == {"bench", "b"}
        assert kernel.read("0/contexts/0/targets/0/pid_target") == str(pid)
        assert kernel.read("0/contexts/0/monitoring_attrs/nr_regions/max") == "800"


@on_both
def test_a_monitor_that_could_not_be_stopped_is_stopped_at_a_later_look(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node("a"), node("b", more=SCHEME))) as driven:
        driven.look()
        kernel.fail("*/kdamonds/1/state", "write", errno.EPERM, count=1)
        driven.supervisor.reload(check(parse(monitors(node("a")))))
        assert kernel.read("1/state") == "on"
        driven.look()
        assert kernel.read("1/state") == "off"


@on_both
@pytest.mark.parametrize("at_once", [False, True])
def test_what_could_not_be_taken_back_is_stopped_at_a_later_look_or_on_exit(kernel: FakeKernel, at_once: bool) -> None:
    before = everything(kernel)
    roomy = SETTLED.replace("}", ", slots: 3}")
    with Driven(kernel.paths, monitors(node("a"), kernel=roomy)) as driven:
        driven.look()
        kernel.delay("*/kdamonds/2/contexts/0/operations", "write", 1.0, count=1)
        kernel.fail("*/kdamonds/2/contexts/0/monitoring_attrs/intervals/aggr_us", "write", errno.EINVAL, count=1)

        def refuse_once_it_runs() -> None:
            wait_for(lambda: kernel.read("1/state") == "on")
            kernel.fail("*/kdamonds/1/state", "write", errno.EPERM, count=1)

        refusing = threading.Thread(target=refuse_once_it_runs)
        refusing.start()
        with pytest.raises(Rejected):
            driven.supervisor.reload(
                check(parse(monitors(node("a"), node("b", more=SCHEME), node("c", "300ms"), kernel=roomy)))
            )
        refusing.join()
        assert kernel.read("1/state") == "on"
        if not at_once:
            driven.look()
            assert [kernel.read(f"{slot}/state") for slot in range(3)] == ["on", "off", "off"]
    assert everything(kernel) == before


@on_both
def test_monitors_get_slots_anew_when_another_tool_has_used_the_tree_in_between(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node("a"), node("b"), node("c"))) as driven:
        driven.look()
        reload(driven, monitors(node("c")))
        assert driven.own["c"].slot == 2
        kernel.write("2/state", "off")
        kernel.write("nr_kdamonds", 1)
        driven.look_for(10)
        kernel.write("nr_kdamonds", 0)
        driven.look_for(120, every=10)
        assert driven.own["c"].slot == 0


@on_both
def test_a_spare_slot_that_somebody_uses_keeps_slots_from_being_made_before_anything_is_stopped(
    kernel: FakeKernel,
) -> None:
    with Driven(kernel.paths, monitors(node("a"), kernel=SETTLED.replace("}", ", slots: 2}"))) as driven:
        driven.look()
        before = pids(driven)
        restage(kernel, 1)
        kernel.write("1/state", "on")
        with pytest.raises(NotOurs, match="slots cannot be made while it does"):
            reload(driven, monitors(node("a"), node("b"), node("c")))
        assert pids(driven) == before


def test_what_somebody_starts_in_a_slot_that_was_left_is_his(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node("a"), node("b"))) as driven:
        driven.look()
        reload(driven, monitors(node("a")))
        kernel.write("1/state", "on")
        driven.look_for(10)
        assert kernel.read("1/state") == "on"


@on_both
def test_a_monitor_that_is_not_wanted_any_more_stops(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node("a"), node("b"))) as driven:
        driven.look()
        before = pids(driven)
        reload(driven, monitors(node("b")))
        assert pids(driven) == {"b": before["b"]}
        assert (kernel.read("0/state"), kernel.read("1/state")) == ("off", "on")
        reload(driven, monitors(node("b"), node("c")))
        assert driven.own["c"].slot == 0


@on_both
def test_a_bad_second_of_three_monitors_changes_none(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    with Driven(kernel.paths, monitors(node("a"), node("b"), node("c"))) as driven:
        driven.look()
        before, shown = pids(driven), everything(kernel)
        written = len(log.to_damon)
        changed = (node("a", "200ms"), node("b", more=MISSING_CGROUP), node("c", "200ms"))
        with pytest.raises(Unsupported, match="the cgroup /gone, which is not there"):
            reload(driven, monitors(*changed))
        assert pids(driven) == before
        assert everything(kernel) == shown
        tried = {write.leaf.rpartition("/")[2] for write in log.to_damon[written:]}
        assert tried <= {"nr_filters", "nr_goals", "type", "action", "target_metric", "goal_tuner"}


@on_both
def test_what_the_kernel_refuses_of_the_second_of_three_is_undone_for_the_first(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node("a"), node("b"), node("c"))) as driven:
        driven.look()
        before = pids(driven)
        kernel.fail("*/kdamonds/1/contexts/0/monitoring_attrs/intervals/aggr_us", "write", errno.EINVAL, count=1)
        with pytest.raises(Rejected):
            reload(driven, monitors(node("a", "200ms"), node("b", "200ms"), node("c", "200ms")))
        driven.look_for(10)
        assert pids(driven) == before
        assert {name: watched.intervals.aggregation_us for name, watched in driven.own.items()} == dict.fromkeys(
            ("a", "b", "c"), 100_000
        )
        assert all(watched.restarts == 0 for watched in driven.own.values())


@on_both
def test_a_commit_that_the_kernel_refuses_is_taken_back(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node("a"))) as driven:
        driven.look()
        kernel.fail("*/kdamonds/0/state", "write", errno.EINVAL, count=1)
        with pytest.raises(Rejected):
            reload(driven, monitors(node("a", "200ms")))
        driven.look_for(10)
        assert driven.own["a"].intervals.aggregation_us == 100_000
        assert driven.own["a"].owner == "exporter"


@on_both
def test_a_start_that_the_kernel_refuses_brings_the_old_monitor_back(kernel: FakeKernel) -> None:
    kernel.add_process(100, "postgres")
    with Driven(kernel.paths, monitors(node("a"))) as driven:
        driven.look()
        kernel.fail("*/kdamonds/0/contexts/0/targets/0/pid_target", "write", errno.EINVAL, count=1)
        with pytest.raises(KernelError):
            reload(driven, monitors(processes("a")))
        assert driven.own["a"].operations == "paddr"
        driven.look_for(10)
        assert driven.own["a"].owner == "exporter"


@on_both
def test_what_somebody_has_just_changed_is_left_to_him(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node())) as driven:
        driven.look()
        kernel.write("0/contexts/0/monitoring_attrs/nr_regions/max", 500)
        driven.look()
        with pytest.raises(NotOurs, match="has just been changed by another tool"):
            reload(driven, monitors(node(aggregation="200ms")))
        assert kernel.read("0/contexts/0/monitoring_attrs/nr_regions/max") == "500"


def test_tuned_intervals_survive(kernel: FakeKernel) -> None:
    kernel.set_physical_heat([(0, 64 * GIB, 0.001)])
    tuned = "- {name: node, operations: paddr, ranges: [[1GiB, 2GiB]], intervals: {autotune: {max_sample: 100ms}}%s}\n"
    with Driven(kernel.paths, monitors(tuned % "")) as driven:
        driven.look()
        aggregation = "0/contexts/0/monitoring_attrs/intervals/aggr_us"
        wait_for(lambda: int(kernel.read(aggregation)) > 100_000)
        reload(driven, monitors(tuned % ", regions: {max: 500}"))
        assert int(kernel.read(aggregation)) > 100_000
        assert driven.own["node"].tuned
        assert driven.own["node"].restarts == 0


def test_while_a_command_is_blocked_a_reload_is_refused_and_says_so(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("damon_exporter.supervisor.RELOAD_PATIENCE", 0.2)
    with Driven(kernel.paths, monitors(node("a"))) as driven:
        driven.look()
        driven.supervisor._looking.acquire()  # as a look does that waits for a command
        try:
            with pytest.raises(Busy, match="has not answered a command yet: nothing is changed"):
                driven.supervisor.reload(check(parse(monitors(node("a", "200ms")))))
        finally:
            driven.supervisor._looking.release()
        assert kernel.read("0/contexts/0/monitoring_attrs/intervals/aggr_us") == "100000"


def test_a_look_that_waits_for_a_command_holds_a_reload_up_and_no_longer(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node("a"))) as driven:
        driven.look()
        kernel.delay("*/kdamonds/0/state", "write", 1.0, count=1)
        first = threading.Thread(target=lambda: reload(driven, monitors(node("a", "200ms"))))
        first.start()
        reload(driven, monitors(node("a", "300ms")))
        first.join()
        driven.look()
        assert driven.own["a"].intervals.aggregation_us in (200_000, 300_000)


@on_both
def test_while_the_tree_is_somebodys_other_monitors_wait(kernel: FakeKernel) -> None:
    kernel.write("nr_kdamonds", 1)
    kernel.write("0/contexts/nr_contexts", 1)
    kernel.write("0/contexts/0/operations", "paddr")
    with Driven(kernel.paths, monitors(node("a"))) as driven:
        driven.look()
        reload(driven, monitors(node("b"), node("c")))
        assert set(driven.waiting) == {"b", "c"}


@on_both
def test_even_then_a_file_that_could_never_run_is_refused(kernel: FakeKernel) -> None:
    stage_somebodys(kernel)
    with Driven(kernel.paths, monitors(node("a"))) as driven:
        driven.look()
        with pytest.raises(Unsupported, match="the cgroup /gone, which is not there"):
            reload(driven, monitors(node("a", more=MISSING_CGROUP)))
        assert set(driven.waiting) == {"a"}


def test_a_probe_of_a_cgroup_that_is_not_there_is_refused(kernel: FakeKernel) -> None:
    gone = ", probes: [{filters: [{type: memcg, path: /gone, allow: true}]}]"
    with Driven(kernel.paths, monitors(node("a"))) as driven:
        driven.look()
        with pytest.raises(Unsupported, match="a probe names the cgroup /gone, which is not there"):
            reload(driven, monitors(node("a", more=gone)))
        assert set(driven.own) == {"a"}


# What is told goes on.


@on_both
def test_schemes_that_stay_are_told_of_without_a_gap(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node("a", more=SCHEME))) as driven:
        wait_for(lambda: driven.look() and driven.own["a"].schemes)
        told = driven.own["a"].schemes or ()
        driven.supervisor.reload(check(parse(monitors(node("a", "200ms", more=SCHEME)))))
        driven.look()
        assert [scheme.label for scheme in driven.own["a"].schemes or ()] == [scheme.label for scheme in told]


@on_both
def test_the_history_of_a_kdamond_stays_with_the_monitor_that_had_it(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, monitors(node("a", more=SCHEME))) as driven:
        driven.look()
        assert driven.own["a"].inherited_at is None
        reload(driven, monitors(node("a", "200ms", more=SCHEME)))
        assert driven.own["a"].inherited_at is None
        reload(driven, monitors(node("b", "200ms", more=SCHEME)))
        assert driven.own["b"].inherited_at is not None
        assert driven.own["b"].restarts == 0


@on_both
def test_restarts_by_reloads_are_counted_on(kernel: FakeKernel) -> None:
    kernel.add_process(100, "postgres")
    with Driven(kernel.paths, monitors(node("a"))) as driven:
        driven.look()
        reload(driven, monitors(processes("a")))
        assert driven.own["a"].restarts == 1
        reload(driven, monitors(node("a")))
        assert driven.own["a"].restarts == 2


@on_both
def test_failed_commits_of_monitors_that_have_gone_stay_counted(kernel: FakeKernel) -> None:
    kernel.add_process(100, "postgres")
    with Driven(kernel.paths, monitors(processes())) as driven:
        driven.look_for(6)
        kernel.fail("*/kdamonds/0/state", "write", errno.EINVAL, count=1)
        kernel.add_process(101, "postgres")
        driven.look_for(6)
        failed = driven.supervisor.failed_commits
        assert failed > 0
        reload(driven, monitors(node("other")))
        assert driven.supervisor.failed_commits == failed


def test_what_a_commit_leaves_out_is_said(fake_kernel: Start, caplog: pytest.LogCaptureFixture) -> None:
    kernel = fake_kernel(kernel="6.12")
    optional = ", schemes: [{name: new, action: stat, ops_filters: [{type: unmapped}], optional: true}]"
    with Driven(kernel.paths, monitors(node("a"))) as driven:
        driven.look()
        reload(driven, monitors(node("a", more=optional)))
        assert "scheme new is left out, as this kernel lacks" in caplog.text


# How it ends.


def test_modules_that_were_stopped_are_not_forgotten_by_a_reload(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_stat"])
    with Driven(kernel.paths, monitors(node("a"), kernel="kernel: {settle: 0s, takeover: [damon_stat]}\n")) as driven:
        driven.look()
        with pytest.raises(Unsupported, match="on_exit: keep leaves no room for damon_stat"):
            reload(driven, monitors(node("a"), kernel="kernel: {settle: 0s, on_exit: keep}\n"))
    assert kernel.parameter("damon_stat", "enabled").read_text().strip() == "Y"


@on_both
def test_what_acts_is_stopped_on_exit_though_another_tools_command_is_under_way(kernel: FakeKernel) -> None:
    keep = SETTLED.replace("}", ", on_exit: keep}")
    with Driven(kernel.paths, monitors(node("a", more=SCHEME), kernel=keep)) as driven:
        driven.look()
        for operation in ("read", "write"):
            kernel.fail("*/kdamonds/0/state", operation, errno.EBUSY)
        threading.Timer(3.0, kernel.clear_faults).start()
    assert kernel.read("0/state") == "off"


@on_both
def test_after_reloads_everything_is_given_back_as_it_was(kernel: FakeKernel) -> None:
    before = everything(kernel)
    with Driven(kernel.paths, monitors(node("a"))) as driven:
        driven.look()
        reload(driven, monitors(node("a"), node("b", more=SCHEME)))
        reload(driven, monitors(node("b")))
        driven.look()
    assert everything(kernel) == before


@pytest.mark.parametrize(
    ("kernel_options", "before", "after"),
    [
        (SLOTS, (node("a"), node("b"), node("c")), (node("x", "200ms"), node("y", "200ms"), node("z", "200ms"))),
        (SLOTS, (node("a"), node("b"), node("c")), (processes("a"), processes("b"), processes("c"))),
        (SLOTS, (node("a"),), (node("a"), node("b"), node("c"))),
        (SETTLED, (node("a"),), (node("a", "200ms"), node("b"), node("c"))),
    ],
    ids=["by commits", "by restarts", "into free slots", "into slots that are made"],
)
def test_whatever_a_reload_has_reached_when_the_exporter_ends_is_put_back(
    kernel: FakeKernel, kernel_options: str, before: Sequence[str], after: Sequence[str]
) -> None:
    kernel.add_process(42, "postgres")
    untouched = everything(kernel)
    with Driven(kernel.paths, monitors(*before, kernel=kernel_options)) as driven:
        driven.look()
        assert len(driven.own) == len(before)
        break_off(driven, monitors(*after, kernel=kernel_options), kernel, slot=1)
    assert everything(kernel) == untouched


def test_a_scheme_that_a_reload_would_have_ended_does_not_act_on_when_the_exporter_ends_first(
    kernel: FakeKernel,
) -> None:
    keep = SETTLED.replace("}", ", on_exit: keep}")
    with Driven(kernel.paths, monitors(node("a"), node("b", more=SCHEME), kernel=keep)) as driven:
        driven.look()
        break_off(driven, monitors(node("a", "200ms"), node("b"), kernel=keep), kernel, slot=0)
    assert [kernel.read(f"{slot}/state") for slot in (0, 1)] == ["on", "off"]


def break_off(driven: Driven, configuration: str, kernel: FakeKernel, slot: int) -> None:
    """Begin to reload, and to end during the first command to this slot."""
    kernel.delay(f"*/kdamonds/{slot}/state", "write", 0.5, count=1)
    threading.Timer(0.25, driven.supervisor.cease).start()
    with pytest.raises(Ending):
        driven.supervisor.reload(check(parse(configuration)))
