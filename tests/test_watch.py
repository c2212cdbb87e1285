"""One monitor as the sampler sees it: when it is late, what it costs, and what a restart leaves."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_regions import INTERVALS, MIB, regions
from made_roster import NODE

from damon_exporter.analysis.snapshot import Intervals, Snapshot
from damon_exporter.config import Export
from damon_exporter.kernel.procfs import PF_KTHREAD, TICKS_PER_SECOND
from damon_exporter.roster import Watched, listed
from damon_exporter.watch import LONGEST_AGGREGATION, Watch

SLOW = Intervals(100_000, 2_000_000)
REGIONS = regions((MIB, 2 * MIB, 3, 5))


def watch(kdamond: Watched = NODE, publish: str = "1s", now: float = 100.0, source: str = "tracepoint") -> Watch:
    return Watch(Export.model_validate({"publish": publish}), kdamond, source, now)


# Late?


@pytest.mark.parametrize(
    ("intervals", "publish", "patience"),
    [
        (INTERVALS, "1s", 3.0),
        (INTERVALS, "10s", 30.0),
        (INTERVALS, "100ms", 0.3),
        (SLOW, "1s", 6.0),
        (None, "1s", 3 * LONGEST_AGGREGATION),
    ],
    ids=["publications", "long publications", "as long as aggregations", "aggregations", "unknown intervals"],
)
def test_a_kdamond_is_late_after_three_aggregations_or_publications_whichever_are_longer(
    intervals: Intervals | None, publish: str, patience: float
) -> None:
    waiting = watch(replace(NODE, intervals=intervals), publish)
    assert not waiting.overdue(100.0 + patience - 0.01)
    assert waiting.overdue(100.0 + patience + 0.01)


def test_a_report_gives_a_kdamond_time_again_from_its_end_on() -> None:
    reporting = watch()
    reporting.take(102_500_000_000, REGIONS)
    assert not reporting.overdue(105.4)
    assert reporting.overdue(105.6)


def test_addresses_in_units_of_somebody_elses_choice_are_told_in_bytes() -> None:
    reporting = watch(replace(NODE, addr_unit=4096))
    reporting.take(102_500_000_000, regions((16, 32, 3, 5)))
    (target,) = reporting.state(103.0, 0.0).targets
    assert target.monitored_bytes == target.working_set_bytes == 16 * 4096


def test_a_kdamond_that_may_be_silent_is_never_late() -> None:
    assert not watch(replace(NODE, reporting=False)).overdue(1e6)


def test_numbers_of_a_kdamond_that_may_be_silent_go_when_it_is_and_come_back_with_it() -> None:
    reclaim = watch(replace(NODE, reporting=False))
    reclaim.take(102_500_000_000, REGIONS)
    for now, shown in ((105.4, 1), (105.6, 0)):
        reclaim.rest_if_asleep(now)
        state = reclaim.state(now, 0.0)
        assert (state.up, len(state.targets)) == (True, shown)
    reclaim.take(150_000_000_000, REGIONS)
    reclaim.rest_if_asleep(150.1)
    assert reclaim.state(150.1, 0.0).targets[0].snapshots == 2


def test_numbers_of_a_kdamond_that_may_not_be_silent_stay() -> None:
    late = watch()
    late.take(102_500_000_000, REGIONS)
    late.rest_if_asleep(1e6)
    assert len(late.state(1e6, 0.0).targets) == 1


def test_a_restarted_kdamond_has_time_to_report() -> None:
    restarted = watch()
    restarted.follow(replace(NODE, pid=8), 150.0)
    assert not restarted.overdue(152.9)
    assert restarted.overdue(153.1)


def test_the_same_kdamond_gets_no_time_for_being_looked_at() -> None:
    silent = watch()
    silent.follow(NODE, 150.0)
    assert silent.overdue(150.0)


def test_intervals_that_were_tuned_count_as_the_last_snapshot_had_them() -> None:
    tuned = watch(replace(NODE, tuned=True, refreshed=True))
    tuned.announce_intervals(100_000)
    tuned.take(101_000_000_000, REGIONS)
    tuned.take(103_000_000_000, REGIONS)
    assert not tuned.overdue(108.9)
    assert tuned.overdue(109.1)


def test_intervals_that_nothing_confirms_make_nobody_late() -> None:
    """Tuned to seconds before we came, while the files still say 100 ms."""
    adopted = watch(replace(NODE, tuned=True))
    adopted.take(105_000_000_000, REGIONS)
    adopted.take(110_000_000_000, REGIONS)
    assert not adopted.overdue(114.9)


def test_a_late_monitor_is_down_and_says_for_how_long() -> None:
    state = watch().state(104.4, 0.0)
    assert (state.up, state.reason) == (False, "its kdamond has reported nothing for 4 s")


def test_a_reporting_monitor_is_up_and_says_how_old_its_numbers_are() -> None:
    reporting = watch()
    reporting.take(102_500_000_000, REGIONS)
    state = reporting.state(103.0, 0.0)
    assert (state.up, state.reason, state.last_snapshot_age_seconds) == (True, "", 0.5)


def test_before_the_first_report_there_is_no_age_of_numbers() -> None:
    assert watch().state(103.0, 0.0).last_snapshot_age_seconds is None


def test_where_one_after_the_other_is_asked_each_may_take_its_turn() -> None:
    slow = replace(NODE, intervals=Intervals(1_000_000, 20_000_000))
    asked = watch(slow, source="sysfs")
    assert asked.seconds_to_report == 20.0
    assert not asked.overdue(100.0 + 239.0, seconds_for_all=4 * asked.seconds_to_report)
    assert asked.overdue(100.0 + 241.0, seconds_for_all=4 * asked.seconds_to_report)
    assert watch(replace(slow, reporting=False), source="sysfs").seconds_to_report == 0.0


# What is published


def test_a_monitor_carries_what_the_supervisor_knows_of_it() -> None:
    state = watch(replace(NODE, restarts=3)).state(100.0, 0.0)
    assert (state.name, state.operations, state.owner, state.source) == ("node", "paddr", "exporter", "tracepoint")
    assert (state.restarts, state.intervals, state.targets, state.nr_targets) == (3, INTERVALS, (), 0)


def test_intervals_that_nothing_confirms_are_not_published() -> None:
    adopted = watch(replace(NODE, tuned=True))
    adopted.take(105_000_000_000, REGIONS)
    assert adopted.state(105.0, 0.0).intervals is None


def test_a_snapshot_that_knows_its_intervals_is_taken_as_it_is() -> None:
    sampled = watch()
    sampled.observe(Snapshot(7, 101_000_000_000, REGIONS, SLOW, 2_000_000))
    state = sampled.state(101.0, 0.0)
    assert state.intervals == SLOW
    assert [target.name for target in state.targets] == ["physical"]


@pytest.mark.parametrize(
    ("operations", "processes", "has_heatmap"),
    [("paddr", False, True), ("vaddr", False, False), ("vaddr", True, True), ("fvaddr", False, False)],
)
def test_processes_have_a_heatmap_only_if_asked_for(operations: str, processes: bool, has_heatmap: bool) -> None:
    export = Export.model_validate({"heatmap": {"processes": processes}})
    watched = replace(NODE, operations=operations, targets=listed("postgres"))
    asked = Watch(export, watched, "tracepoint", 100.0)
    asked.take(101_000_000_000, REGIONS)
    (target,) = asked.state(101.0, 0.0).targets
    assert (target.heatmap is not None) == has_heatmap


def test_counters_outlive_the_kdamond() -> None:
    restarted = watch()
    restarted.take(101_000_000_000, REGIONS)
    restarted.follow(replace(NODE, pid=8), 102.0)
    restarted.take(103_000_000_000, REGIONS)
    (target,) = restarted.state(103.0, 0.0).targets
    assert target.snapshots == 2


def test_announced_intervals_of_a_former_kdamond_do_not_outlive_it() -> None:
    tuned = replace(NODE, tuned=True, refreshed=True)
    restarted = watch(tuned)
    restarted.announce_intervals(100_000)
    restarted.take(101_000_000_000, REGIONS)
    restarted.follow(replace(tuned, pid=8), 102.0)
    restarted.take(102_100_000_000, REGIONS)
    assert restarted.state(103.0, 0.0).intervals == INTERVALS


def test_a_tap_sees_every_snapshot_with_its_kdamond() -> None:
    tapped: list[tuple[str, int]] = []
    tape = Watch(Export(), NODE, "tracepoint", 100.0, lambda kdamond, seen: tapped.append((kdamond.name, seen.end_ns)))
    tape.take(5, REGIONS)
    tape.take(9, REGIONS)
    assert tapped == [("node", 5), ("node", 9)]


# What it costs


def use(procfs: Path, pid: int, seconds: float, comm: str = "kdamond.0", flags: int = PF_KTHREAD) -> Path:
    """Make a /proc in which the kdamond, or whoever has its pid there, has used so much CPU time."""
    (procfs / str(pid)).mkdir(exist_ok=True)
    state, system_time, start = "S", round(seconds * TICKS_PER_SECOND), 1234
    stat = f"{pid} ({comm}) {state} 2 0 0 0 -1 {flags} 0 0 0 0 0 {system_time} 0 0 20 0 1 0 {start} 0 0\n"
    (procfs / str(pid) / "stat").write_text(stat)
    return procfs


def cpu_seconds(looked_at: Watch) -> float | None:
    return looked_at.state(100.0, 0.0).cpu_seconds


def test_a_kdamond_of_ours_has_worked_for_us_from_its_first_moment(tmp_path: Path) -> None:
    own = watch()
    own.count_cpu(use(tmp_path, 7, 1.5))
    own.count_cpu(use(tmp_path, 7, 2.0))
    assert cpu_seconds(own) == 2.0


def test_of_somebody_elses_kdamond_only_what_it_uses_while_we_watch_counts(tmp_path: Path) -> None:
    foreign = watch(replace(NODE, owner="foreign"))
    foreign.count_cpu(use(tmp_path, 7, 1.5))
    assert cpu_seconds(foreign) == 0.0
    foreign.count_cpu(use(tmp_path, 7, 2.0))
    assert cpu_seconds(foreign) == 0.5


def test_cpu_time_goes_on_over_a_restart(tmp_path: Path) -> None:
    own = watch()
    own.count_cpu(use(tmp_path, 7, 1.5))
    own.follow(replace(NODE, pid=8), 101.0)
    own.count_cpu(use(tmp_path, 8, 0.25))
    assert cpu_seconds(own) == 1.75


@pytest.mark.parametrize("pid", [0, 7], ids=["without a known pid", "that has gone"])
def test_cpu_time_of_a_kdamond_is_unknown(pid: int, tmp_path: Path) -> None:
    unseen = watch(replace(NODE, pid=pid))
    unseen.count_cpu(tmp_path)
    assert cpu_seconds(unseen) is None


@pytest.mark.parametrize(
    ("comm", "flags"),
    [("postgres", 0), ("kdamond.0", 0), ("kworker/0:1", PF_KTHREAD)],
    ids=["program", "namesake", "thread"],
)
def test_cpu_time_of_whoever_else_has_the_pid_in_another_namespace_is_not_the_kdamonds(
    tmp_path: Path, comm: str, flags: int
) -> None:
    own = watch()
    own.count_cpu(use(tmp_path, 7, 1.5, comm, flags))
    assert cpu_seconds(own) is None
