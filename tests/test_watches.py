"""Every report reaches the monitor that it belongs to, also while nobody knows yet whose it is."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from made_regions import INTERVALS, MIB, regions
from made_roster import NODE

from damon_exporter.analysis.snapshot import Snapshot
from damon_exporter.config import Export
from damon_exporter.feeds import Report
from damon_exporter.roster import Roster, Waiting, Watched
from damon_exporter.sources.tracepoint import Aggregation, IntervalsTuned
from damon_exporter.state import MonitorState
from damon_exporter.watches import LONGEST_ANONYMITY, MOST_HELD_REPORTS, Watches

S = 10**9
OTHER = replace(NODE, name="sysfs0", owner="foreign", pid=8)
DAMON_STAT = replace(NODE, name="damon_stat", owner="module", pid=0)
"""Before 7.2 no file tells its pid."""

REGIONS = regions((0, MIB, 3, 5))


def aggregation(pid: int, at: float = 100.0) -> Aggregation:
    return Aggregation(pid, round(at * S), REGIONS)


class Sampler:
    """Watches, and what every monitor was given, in order."""

    def __init__(self) -> None:
        self.delivered: list[tuple[str, float]] = []
        self.watches = Watches(Export(), "tracepoint", Path("/nonexistent"), self._tap)

    def _tap(self, kdamond: Watched, snapshot: Snapshot) -> None:
        self.delivered.append((kdamond.name, snapshot.end_ns / S))

    def follow(
        self, *watched: Watched, waiting: Watched | None = None, now: float = 100.0, looked_at: float | None = None
    ) -> None:
        waits = (Waiting(waiting.name, waiting.operations, "it cannot run"),) if waiting else ()
        roster = Roster(looked_at=now if looked_at is None else looked_at, watched=watched, waiting=waits)
        self.watches.follow(roster, now)

    def hear(self, *reports: Report, now: float = 100.0) -> bool:
        return self.watches.hear(reports, now)

    def states(self, now: float = 100.0) -> dict[str, MonitorState]:
        return {state.name: state for state in self.watches.states(now, 0.0)}


def snapshots_of(state: MonitorState) -> int:
    return sum(target.snapshots for target in state.targets)


# Known kdamonds


def test_reports_go_to_the_monitor_whose_kdamond_they_come_from() -> None:
    sampler = Sampler()
    sampler.follow(NODE, OTHER)
    assert not sampler.hear(aggregation(8, 100.1), aggregation(7, 100.2), aggregation(8, 100.3))
    assert sampler.delivered == [("sysfs0", 100.1), ("node", 100.2), ("sysfs0", 100.3)]


def test_a_monitor_is_there_before_it_has_reported() -> None:
    sampler = Sampler()
    sampler.follow(NODE)
    assert sampler.states()["node"].targets == ()


def test_tuned_intervals_reach_the_monitor_in_order() -> None:
    sampler = Sampler()
    sampler.follow(replace(NODE, tuned=True, refreshed=True))
    sampler.hear(IntervalsTuned(7, 100 * S, 10_000), aggregation(7, 100.1))
    before = sampler.states()["node"].intervals
    sampler.hear(aggregation(7, 100.3))
    after = sampler.states()["node"].intervals
    assert (before, after) == (INTERVALS, replace(INTERVALS, sample_us=10_000, aggregation_us=200_000))


def test_snapshots_of_another_source_are_taken_as_they_are() -> None:
    sampler = Sampler()
    sampler.follow(NODE)
    sampler.hear(Snapshot(7, 100 * S, REGIONS, INTERVALS, 100_000))
    assert snapshots_of(sampler.states()["node"]) == 1


def test_a_monitor_that_is_not_watched_any_more_is_gone() -> None:
    sampler = Sampler()
    sampler.follow(NODE, OTHER)
    sampler.follow(NODE)
    assert list(sampler.states()) == ["node"]


def test_a_monitor_goes_on_with_its_counters_when_its_kdamond_is_restarted() -> None:
    sampler = Sampler()
    sampler.follow(NODE)
    sampler.hear(aggregation(7))
    sampler.follow(replace(NODE, pid=9))
    sampler.hear(aggregation(9, 101.0))
    assert snapshots_of(sampler.states()["node"]) == 2


def test_a_monitor_that_has_to_wait_is_gone_and_counts_on_when_it_runs_again() -> None:
    sampler = Sampler()
    sampler.follow(NODE)
    sampler.hear(aggregation(7))
    for now in (200.0, 300.0):
        sampler.follow(waiting=NODE, now=now)
        assert sampler.states(now) == {}
    sampler.follow(replace(NODE, pid=9), now=400.0)
    again = sampler.states(400.0)["node"]
    assert (again.targets, again.up) == ((), True)
    sampler.hear(aggregation(9, 401.0))
    assert snapshots_of(sampler.states(401.0)["node"]) == 2


def test_a_slot_that_now_watches_something_else_starts_anew() -> None:
    sampler = Sampler()
    sampler.follow(OTHER)
    sampler.hear(aggregation(8))
    sampler.follow(replace(OTHER, operations="vaddr", pid=9))
    sampler.hear(aggregation(9))
    (target,) = sampler.states()["sysfs0"].targets
    assert (target.name, target.snapshots, target.heatmap) == ("target0", 1, None)


# Kdamonds that nobody knows yet


def test_a_strange_kdamond_is_announced_once() -> None:
    sampler = Sampler()
    sampler.follow(NODE)
    assert sampler.hear(aggregation(7), aggregation(9))
    assert not sampler.hear(aggregation(9))
    assert sampler.hear(aggregation(10))


def test_reports_are_kept_until_it_is_known_whose_they_are_and_delivered_in_order() -> None:
    sampler = Sampler()
    sampler.hear(aggregation(7, 100.1), aggregation(8, 100.2), now=100.2)
    sampler.hear(aggregation(7, 100.3), aggregation(7, 100.4), now=100.4)
    sampler.follow(NODE, now=101.0)
    sampler.hear(aggregation(7, 100.5), now=101.1)
    assert sampler.delivered == [("node", 100.1), ("node", 100.3), ("node", 100.4), ("node", 100.5)]


def test_kept_reports_are_delivered_once() -> None:
    sampler = Sampler()
    sampler.hear(aggregation(7))
    sampler.follow(NODE)
    sampler.follow(NODE)
    assert len(sampler.delivered) == 1


def test_a_restarted_kdamond_may_report_before_the_supervisor_has_noticed() -> None:
    sampler = Sampler()
    sampler.follow(NODE)
    sampler.hear(aggregation(7, 100.1), aggregation(9, 100.2))
    sampler.follow(replace(NODE, pid=9))
    assert sampler.delivered == [("node", 100.1), ("node", 100.2)]


def test_kept_announcements_of_tuned_intervals_stand_in_order_with_the_regions() -> None:
    sampler = Sampler()
    sampler.hear(
        aggregation(7, 100.1), IntervalsTuned(7, 100 * S, 10_000), aggregation(7, 100.2), aggregation(7, 100.4)
    )
    sampler.follow(replace(NODE, tuned=True, refreshed=True))
    assert sampler.states()["node"].intervals == replace(INTERVALS, sample_us=10_000, aggregation_us=200_000)


def test_of_many_kept_reports_the_latest_remain() -> None:
    sampler = Sampler()
    for number in range(MOST_HELD_REPORTS + 3):
        sampler.hear(aggregation(7, number))
    sampler.follow(NODE)
    assert [at for _, at in sampler.delivered] == list(range(3, MOST_HELD_REPORTS + 3))


@pytest.mark.parametrize(("waited", "counted"), [(LONGEST_ANONYMITY, 0), (LONGEST_ANONYMITY + 0.1, 1)])
def test_reports_that_stay_anonymous_are_dropped_and_counted(waited: float, counted: int) -> None:
    sampler = Sampler()
    sampler.hear(aggregation(9), aggregation(9), now=100.0)
    sampler.follow(now=100.0 + waited)
    assert sampler.watches.unidentified == counted
    sampler.follow(replace(NODE, pid=9), now=100.0 + waited)
    assert len(sampler.delivered) == (0 if counted else 2)


def test_a_kdamond_that_stays_anonymous_is_announced_and_counted_again() -> None:
    sampler = Sampler()
    heard = []
    for now in (100.0, 120.0, 140.0):
        heard.append(sampler.hear(aggregation(9), now=now))
        sampler.follow(now=now + LONGEST_ANONYMITY + 1)
    assert heard == [True, True, True]
    assert sampler.watches.unidentified == 3


# A module that tells no pid


def looked(sampler: Sampler, times: Sequence[float], *watched: Watched) -> list[int]:
    """Let the supervisor look at these times; return how many reports had been delivered after each."""
    counts = []
    for at in times:
        sampler.follow(*watched, now=max(at, 100.0), looked_at=at)
        counts.append(len(sampler.delivered))
    return counts


def test_an_unclaimed_kdamond_is_the_nameless_module_only_if_we_have_looked_since_it_was_first_heard_of() -> None:
    sampler = Sampler()
    sampler.hear(aggregation(9), now=100.0)
    assert looked(sampler, (99.0, 100.0, 100.1), NODE, DAMON_STAT) == [0, 0, 1]
    assert sampler.delivered == [("damon_stat", 100.0)]


def test_a_nameless_module_keeps_the_pid_that_it_was_found_to_have() -> None:
    sampler = Sampler()
    sampler.hear(aggregation(9, 100.1), now=100.1)
    sampler.follow(DAMON_STAT, now=101.0)
    sampler.follow(DAMON_STAT, now=102.0)
    assert not sampler.hear(aggregation(9, 102.1), now=102.1)
    assert snapshots_of(sampler.states()["damon_stat"]) == 2


def test_a_nameless_module_that_was_restarted_gets_its_new_pid() -> None:
    sampler = Sampler()
    for pid, now in ((9, 100.0), (12, 103.0)):
        sampler.hear(aggregation(pid, now), now=now)
        sampler.follow(DAMON_STAT, now=now + 1)
    assert not sampler.hear(aggregation(12, 104.1), now=104.1)
    assert [at for _, at in sampler.delivered] == [100.0, 103.0, 104.1]


def test_of_two_unclaimed_kdamonds_the_nameless_module_is_the_later_for_good() -> None:
    """It was restarted while nobody looked."""
    sampler = Sampler()
    sampler.hear(aggregation(9, 100.0), aggregation(12, 100.5), now=100.5)
    assert looked(sampler, (101.0, 103.0), DAMON_STAT) == [1, 1]
    assert not sampler.hear(aggregation(12, 103.1), now=103.1)
    assert [at for _, at in sampler.delivered] == [100.5, 103.1]


def test_a_kdamond_in_a_slot_is_not_taken_for_the_nameless_module() -> None:
    sampler = Sampler()
    sampler.hear(aggregation(8), now=100.0)
    sampler.follow(OTHER, DAMON_STAT, now=101.0)
    assert sampler.delivered == [("sysfs0", 100.0)]
