"""What goes on, what starts again and what is forgotten when targets, kdamonds and intervals change."""

import time

import pytest
from made_regions import MIB, regions
from made_series import IDLE, MIXED, SETTINGS, Watching, band_byte_seconds, idle_bytes

from damon_exporter.analysis.snapshot import Intervals
from damon_exporter.config import Export

# Targets


def test_processes_of_one_group_are_one_target() -> None:
    watching = Watching()
    processes = regions((0, MIB, 20, 0, 0), (0, 2 * MIB, 0, 9, 1), (0, 4 * MIB, 20, 0, 2))
    for at_ms in (0, 100):
        watching.see(processes, at_ms, names=("postgres", "redis"), group=(0, 1, 0))
    targets = watching.targets()
    assert {name: (t.monitored_bytes, t.regions, t.working_set_bytes) for name, t in targets.items()} == {
        "postgres": (5 * MIB, 2, 5 * MIB),
        "redis": (2 * MIB, 1, 0),
    }
    assert band_byte_seconds(targets["postgres"])["hot"] == pytest.approx(5 * MIB * 0.1)
    assert band_byte_seconds(targets["redis"])["idle"] == pytest.approx(2 * MIB * 0.1)
    assert idle_bytes(targets["redis"]) == (0, 2 * MIB, 0, 0)


def test_a_target_without_regions_is_neither_published_nor_counted_and_keeps_its_counters() -> None:
    """Its processes are new, and DAMON has not laid out their memory yet: 0 bytes would be a lie."""
    watching = Watching()
    both = {"names": ("postgres", "redis"), "group": (0, 0, 1)}
    watching.see(MIXED, 0, **both)
    watching.see(MIXED, 100, names=("postgres", "redis"), group=(0, 0, 0))
    assert list(watching.targets()) == ["postgres"]
    watching.see(MIXED, 200, **both)
    redis = watching.targets()["redis"]
    assert (redis.snapshots, redis.observed_seconds) == (2, pytest.approx(0.1))


def test_a_snapshot_without_any_region_shows_nothing() -> None:
    watching = Watching()
    watching.see(MIXED, 0)
    watching.see(regions(), 100)
    assert watching.targets() == {}
    watching.see(MIXED, 200)
    assert watching.physical.snapshots == 2


# Targets that end between two snapshots


TWO = regions((0, MIB, 20, 0, 0), (0, 2 * MIB, 0, 9, 1), (4 * MIB, 8 * MIB, 0, 9, 1))


def test_a_target_that_is_dropped_leaves_at_once_and_the_others_stay_as_they_were() -> None:
    watching = Watching()
    watching.see(TWO, 0, names=("postgres", "redis"), group=(0, 1, 1))
    before = watching.targets()["redis"]
    watching.series.drop({0}, ("redis",))
    assert watching.targets() == {"redis": before}


def test_of_a_group_only_the_process_that_has_ended_is_dropped() -> None:
    watching = Watching()
    watching.see(TWO, 0, names=("all",), group=(0, 0, 0))
    watching.series.drop({1}, ("all",))
    target = watching.targets()["all"]
    assert (target.monitored_bytes, target.working_set_bytes, target.snapshots) == (MIB, MIB, 1)
    assert idle_bytes(target) == (MIB, 0, 0, 0)


def test_idle_ages_of_parts_of_regions_stay_with_their_regions_when_others_are_dropped() -> None:
    watching = Watching()
    made = regions((0, MIB, 1, 0, 0), (0, MIB, 1, 0, 1), (MIB, 2 * MIB, 0, 9, 1))
    watching.see(made, 0, names=("a", "b"), group=(0, 1, 1))
    watching.see(regions((0, MIB, 0, 9, 0), (0, 2 * MIB, 0, 9, 1)), 100, names=("a", "b"), group=(0, 1))
    before = watching.targets()["b"]
    watching.series.drop({0}, ("b",))
    assert watching.targets()["b"] == before
    assert idle_bytes(before) == (MIB, MIB, 0, 0)


def test_who_comes_to_an_index_inherits_nothing_of_what_its_former_process_accessed() -> None:
    watching = Watching()
    watching.see(regions((0, 8 * MIB, 1, 0, 1)), 0, names=("old",))
    watching.series.drop({1}, ())
    watching.see(regions((0, 8 * MIB, 0, 6000, 1)), 100, names=("new",))
    assert idle_bytes(watching.targets()["new"]) == (0, 0, 0, 8 * MIB)


def test_a_target_that_lost_all_its_processes_and_got_others_goes_on_counting() -> None:
    watching = Watching()
    watching.see(TWO, 0, names=("all",), group=(0, 0, 0))
    watching.series.drop({0, 1}, ("all",))
    assert watching.targets() == {}
    watching.see(TWO, 100, names=("all",), group=(0, 0, 0))
    assert watching.targets()["all"].snapshots == 2


def test_a_target_that_has_gone_is_forgotten() -> None:
    watching = Watching()
    watching.see(MIXED, 0, names=("postgres", "redis"))
    watching.see(MIXED, 100, names=("redis",))
    assert list(watching.targets()) == ["redis"]


def test_a_target_that_comes_back_starts_at_zero_and_the_others_go_on() -> None:
    watching = Watching()
    both, only_a = (("a", "b"), (0, 0, 1)), (("a",), (0, 0, 0))
    for at_ms, (names, group) in ((0, both), (100, both), (200, only_a), (300, both)):
        watching.see(MIXED, at_ms, names=names, group=group)
    targets = watching.targets()
    assert {name: target.snapshots for name, target in targets.items()} == {"a": 4, "b": 1}
    assert targets["a"].observed_seconds == pytest.approx(0.3)
    assert targets["b"].observed_seconds == pytest.approx(0.1)


def test_targets_keep_their_counters_when_their_order_changes() -> None:
    watching = Watching()
    watching.see(MIXED, 0, names=("a", "b"), group=(0, 0, 1))
    watching.see(MIXED, 100, names=("b", "a"), group=(1, 1, 0))
    accessed = {name: target.estimated_access_bytes for name, target in watching.targets().items()}
    assert accessed == {"a": 2 * 10 * MIB, "b": 2 * 100 * MIB}


def test_since_when_a_target_counts_stands_still_until_it_comes_back() -> None:
    watching = Watching()
    both, only_a = (("a", "b"), (0, 0, 1)), (("a",), (0, 0, 0))
    since = []
    for at_ms, (names, group) in ((0, both), (100, both), (200, only_a), (300, both)):
        watching.see(MIXED, at_ms, names=names, group=group)
        since.append({name: target.counting_since for name, target in watching.targets(offset=at_ms).items()})
    assert since[0] == since[1]
    assert since[3]["a"] == since[0]["a"]
    assert since[0]["b"] < since[3]["b"] <= time.time()


@pytest.mark.parametrize(
    ("settings", "is_another"),
    [
        ({"working_set": {"window": "9s"}}, False),
        ({"bands": {"idle": "0%", "rest": "100%"}}, True),
        ({"heatmap": {"bins": 8}}, True),
        ({"idle_age": ["1h"]}, True),
    ],
)
def test_what_starts_again_under_other_settings_counts_since_then(
    settings: dict[str, object], is_another: bool
) -> None:
    watching = Watching()
    watching.see(MIXED, 0)
    before = watching.physical.counting_since
    watching.series.reconfigure(Export.model_validate({**SETTINGS, **settings}), with_heatmap=True)
    assert (watching.physical.counting_since > before) is is_another


# Restarts


def test_counters_go_on_when_the_kdamond_is_restarted_but_the_time_between_is_not_observed() -> None:
    watching = Watching()
    for at_ms, kdamond in ((0, 7), (100, 7), (150, 8), (250, 8)):
        watching.see(MIXED, at_ms, kdamond=kdamond)
    assert watching.physical.snapshots == 4
    assert watching.physical.observed_seconds == pytest.approx(0.2)


def test_a_new_kdamond_does_not_inherit_what_the_former_saw_accessed() -> None:
    watching = Watching()
    watching.see(regions((0, 8 * MIB, 1, 6000)), 0, kdamond=7)
    watching.see(IDLE, 100, kdamond=8)
    assert idle_bytes(watching.physical) == (0, 0, 0, 8 * MIB)


# Idle ages over time


def test_what_was_just_accessed_has_been_idle_for_one_aggregation_whatever_its_age() -> None:
    watching = Watching()
    watching.see(regions((0, 8 * MIB, 1, 6000)), 0)
    watching.see(IDLE, 104)
    assert idle_bytes(watching.physical) == (8 * MIB, 0, 0, 0)


def test_after_a_gap_the_clock_tells_for_how_long() -> None:
    watching = Watching()
    watching.see(regions((0, 8 * MIB, 1, 6000)), 0)
    watching.see(IDLE, 30_000)
    target = watching.physical
    assert target.idle_age is not None
    assert target.idle_age.sum == pytest.approx(30 * 8 * MIB)


def test_intervals_that_tuning_has_just_shortened_make_no_gap() -> None:
    """Counted for 200 ms, with ages in the new unit of 100 ms, though 210 ms are more than two of those."""
    watching = Watching()
    slow = Intervals(10_000, 200_000)
    watching.see(regions((0, 8 * MIB, 1, 6000)), 0, intervals=slow, age_unit_us=200_000)
    watching.see(IDLE, 210, intervals=slow, age_unit_us=100_000)
    target = watching.physical
    assert target.idle_age is not None
    assert target.idle_age.sum == pytest.approx(0.1 * 8 * MIB)
    assert target.observed_seconds == pytest.approx(0.21)


def test_ages_without_a_unit_interrupt_what_is_known_of_idle_memory() -> None:
    watching = Watching()
    watching.see(regions((0, 8 * MIB, 1, 6000)), 0)
    watching.see(IDLE, 100, age_unit_us=None)
    watching.see(IDLE, 200)
    assert idle_bytes(watching.physical) == (0, 0, 0, 8 * MIB)


# What wakes up

BUSY = regions((0, 8 * MIB, 20, 0))


def woken_bytes(watching: Watching) -> tuple[float, ...] | None:
    """By idle ages of up to 100 ms, 1 s, a minute, and above."""
    histogram = watching.physical.reaccess_idle_age
    return None if histogram is None else histogram.counts


def test_what_wakes_between_two_snapshots_is_added_up_by_how_long_it_had_slept() -> None:
    watching = Watching()
    for at_ms, seen in enumerate((IDLE, BUSY, IDLE, BUSY)):
        watching.see(seen, at_ms * 100)
    assert woken_bytes(watching) == (8 * MIB, 0, 0, 8 * MIB)


def test_nothing_is_told_of_waking_before_two_snapshots_have_followed_each_other() -> None:
    watching = Watching()
    for at_ms, seen in enumerate((IDLE, BUSY, IDLE, BUSY)):
        watching.see(seen, at_ms * 1000)
    assert woken_bytes(watching) is None
    watching.see(BUSY, 3100)
    assert woken_bytes(watching) == (0, 0, 0, 0)


def test_what_wakes_in_a_gap_or_with_another_kdamond_is_not_counted() -> None:
    watching = Watching()
    watching.see(IDLE, 0)
    watching.see(IDLE, 100)
    watching.see(BUSY, 1000)
    watching.see(IDLE, 1100)
    watching.see(BUSY, 1200, kdamond=2)
    assert woken_bytes(watching) == (0, 0, 0, 0)


@pytest.mark.parametrize(("bounds", "kept"), [(["100ms", "1s", "1m"], 8 * MIB), (["100ms", "1s", "5m"], 0)])
def test_what_woke_goes_on_under_the_same_bounds_and_starts_again_under_others(bounds: list[str], kept: int) -> None:
    watching = Watching()
    watching.see(IDLE, 0)
    watching.see(BUSY, 100)
    watching.series.reconfigure(Export.model_validate({**SETTINGS, "idle_age": bounds}), with_heatmap=True)
    assert woken_bytes(watching) == (0, 0, 0, kept)
