"""Which intervals a snapshot was counted under, and what one unit of its ages is."""

from dataclasses import replace

import pytest
from made_regions import INTERVALS, MIB, regions
from made_roster import NODE

from damon_exporter.analysis.snapshot import Intervals, Snapshot
from damon_exporter.live_intervals import LiveIntervals
from damon_exporter.roster import Watched

MS = 10**6
FIXED = replace(NODE, owner="foreign")
TUNED = replace(FIXED, tuned=True)
"""The files show what was written, whatever the kernel has made of it."""

REFRESHED = replace(TUNED, refreshed=True)
"""The kernel brings the files up to date."""

LIVE = Intervals(40_000, 800_000)
"""What the kernel has tuned `INTERVALS` to."""

ONE = regions((0, MIB, 3, 5))


def seen(snapshot: Snapshot) -> tuple[Intervals | None, int | None]:
    return snapshot.intervals, snapshot.age_unit_us


def test_a_snapshot_carries_the_kdamond_the_time_and_the_regions() -> None:
    snapshot = LiveIntervals().stamp(FIXED, 5 * MS, ONE)
    assert (snapshot.kdamond, snapshot.end_ns, snapshot.regions) == (7, 5 * MS, ONE)


def test_fixed_intervals_are_what_the_files_say_from_the_first_snapshot_on() -> None:
    assert seen(LiveIntervals().stamp(FIXED, 0, ONE)) == (INTERVALS, 100_000)


def test_fixed_intervals_follow_a_commit() -> None:
    live = LiveIntervals()
    live.stamp(FIXED, 0, ONE)
    committed = replace(FIXED, intervals=LIVE)
    in_doubt = [live.stamp(committed, end * MS, ONE).intervals for end in (810, 1620)]
    assert in_doubt == [None, None]
    assert seen(live.stamp(committed, 2430 * MS, ONE)) == (LIVE, 800_000)
    assert seen(live.stamp(committed, 3240 * MS, ONE)) == (LIVE, 800_000)


def test_fixed_intervals_that_are_written_but_not_committed_change_nothing() -> None:
    """Regions go on coming as they did; one that is missing makes no difference."""
    live = LiveIntervals()
    live.stamp(FIXED, 0, ONE)
    staged = replace(FIXED, intervals=Intervals(10_000, 200_000))
    found = [live.stamp(staged, end * MS, ONE).intervals for end in (105, 210, 420, 525, 630)]
    assert found == [INTERVALS, INTERVALS, None, INTERVALS, INTERVALS]
    assert live.stamp(FIXED, 735 * MS, ONE).intervals == INTERVALS


def test_a_fixed_sampling_interval_is_what_the_file_says() -> None:
    live = LiveIntervals()
    live.stamp(FIXED, 0, ONE)
    finer = Intervals(1_000, INTERVALS.aggregation_us)
    assert live.stamp(replace(FIXED, intervals=finer), 105 * MS, ONE).intervals == finer


@pytest.mark.parametrize("kdamond", [FIXED, TUNED, REFRESHED], ids=["fixed", "tuned", "refreshed"])
def test_intervals_that_nothing_tells_are_unknown(kdamond: Watched) -> None:
    live = LiveIntervals()
    unknown = replace(kdamond, intervals=None, max_nr_accesses=None)
    live.announce(40_000)
    for at_ms in (0, 100):
        assert seen(live.stamp(unknown, at_ms * MS, ONE)) == (None, None)


def test_the_snapshot_right_after_a_tuning_was_counted_before_it_but_has_ages_in_the_new_unit() -> None:
    live = LiveIntervals()
    assert seen(live.stamp(REFRESHED, 0, ONE)) == (INTERVALS, 100_000)
    live.announce(10_000)
    assert seen(live.stamp(REFRESHED, 100 * MS, ONE)) == (INTERVALS, 200_000)
    assert seen(live.stamp(REFRESHED, 300 * MS, ONE)) == (Intervals(10_000, 200_000), 200_000)
    live.announce(20_000)
    assert seen(live.stamp(REFRESHED, 500 * MS, ONE)) == (Intervals(10_000, 200_000), 400_000)
    assert seen(live.stamp(REFRESHED, 900 * MS, ONE)) == (Intervals(20_000, 400_000), 400_000)


def test_tuning_that_is_announced_without_a_change_changes_nothing() -> None:
    """The kernel announces clamped intervals, too."""
    live = LiveIntervals()
    live.announce(5_000)
    for at_ms in (0, 100):
        assert seen(live.stamp(REFRESHED, at_ms * MS, ONE)) == (INTERVALS, 100_000)


def test_of_two_announcements_the_later_counts() -> None:
    """The snapshot between them was lost."""
    live = LiveIntervals()
    live.announce(10_000)
    live.announce(20_000)
    live.stamp(REFRESHED, 0, ONE)
    assert seen(live.stamp(REFRESHED, 400 * MS, ONE)) == (Intervals(20_000, 400_000), 400_000)


def test_the_number_of_samples_is_kept_while_tuning() -> None:
    live = LiveIntervals()
    uneven = replace(REFRESHED, intervals=Intervals(3_000, 100_000), max_nr_accesses=33)
    live.announce(6_000)
    live.stamp(uneven, 0, ONE)
    assert seen(live.stamp(uneven, 200 * MS, ONE)) == (Intervals(6_000, 198_000), 198_000)


def test_events_are_believed_rather_than_files_that_lag_behind() -> None:
    live = LiveIntervals()
    live.announce(40_000)
    live.stamp(REFRESHED, 0, ONE)
    lagging = replace(REFRESHED, intervals=Intervals(20_000, 400_000))
    assert seen(live.stamp(lagging, 800 * MS, ONE)) == (LIVE, 800_000)


def test_files_that_the_kernel_refreshes_are_believed_until_an_event_comes() -> None:
    assert seen(LiveIntervals().stamp(replace(REFRESHED, intervals=LIVE), 0, ONE)) == (LIVE, 800_000)


def test_files_that_show_what_was_written_are_not_believed_before_snapshots_come_that_often() -> None:
    live = LiveIntervals()
    assert seen(live.stamp(TUNED, 0, ONE)) == (None, None)
    assert seen(live.stamp(TUNED, 104 * MS, ONE)) == (INTERVALS, 100_000)


@pytest.mark.parametrize("elapsed_ms", [20, 50, 200, 800], ids="every {} ms".format)
def test_what_was_tuned_before_we_came_is_unknown_until_an_event_tells(elapsed_ms: int) -> None:
    live = LiveIntervals()
    for number in range(3):
        assert seen(live.stamp(TUNED, number * elapsed_ms * MS, ONE)) == (None, None)
    live.announce(40_000)
    assert seen(live.stamp(TUNED, 3 * elapsed_ms * MS, ONE)) == (None, 800_000)
    assert seen(live.stamp(TUNED, 3 * elapsed_ms * MS + 800 * MS, ONE)) == (LIVE, 800_000)


def test_when_tuning_is_switched_off_the_files_are_right_again() -> None:
    live = LiveIntervals()
    live.announce(40_000)
    live.stamp(TUNED, 0, ONE)
    assert seen(live.stamp(FIXED, 800 * MS, ONE)) == (INTERVALS, 100_000)


def test_what_was_tuned_before_is_forgotten_when_tuning_is_switched_on_again() -> None:
    live = LiveIntervals()
    live.announce(40_000)
    for kdamond, at_ms in ((TUNED, 0), (FIXED, 800), (TUNED, 900)):
        last = live.stamp(kdamond, at_ms * MS, ONE)
    assert seen(last) == (INTERVALS, 100_000)
