"""What goes on, what starts again and what is forgotten when targets, kdamonds and intervals change."""

import pytest
from made_regions import MIB, regions
from made_series import IDLE, MIXED, Watching, band_byte_seconds, band_bytes, idle_bytes

from damon_exporter.analysis.snapshot import Intervals

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


def test_a_target_without_regions_is_there_with_nothing() -> None:
    watching = Watching()
    watching.see(MIXED, 0, names=("postgres", "starting"))
    starting = watching.targets()["starting"]
    assert (starting.monitored_bytes, starting.regions, starting.snapshots) == (0, 0, 1)
    assert set(band_bytes(starting).values()) == {0}


def test_a_snapshot_without_any_region_is_a_snapshot() -> None:
    watching = Watching()
    for at_ms in (0, 100):
        watching.see(regions(), at_ms)
    assert (watching.physical.monitored_bytes, watching.physical.snapshots) == (0, 2)
    assert watching.physical.observed_seconds == pytest.approx(0.1)


def test_a_target_that_has_gone_is_forgotten() -> None:
    watching = Watching()
    watching.see(MIXED, 0, names=("postgres", "redis"))
    watching.see(MIXED, 100, names=("redis",))
    assert list(watching.targets()) == ["redis"]


def test_a_target_that_comes_back_starts_at_zero_and_the_others_go_on() -> None:
    watching = Watching()
    for at_ms, names in ((0, ("a", "b")), (100, ("a", "b")), (200, ("a",)), (300, ("a", "b"))):
        watching.see(MIXED, at_ms, names=names)
    targets = watching.targets()
    assert {name: target.snapshots for name, target in targets.items()} == {"a": 4, "b": 1}
    assert targets["a"].observed_seconds == pytest.approx(0.3)
    assert targets["b"].observed_seconds == pytest.approx(0.1)


def test_targets_keep_their_counters_when_their_order_changes() -> None:
    watching = Watching()
    watching.see(MIXED, 0, names=("a", "b"), group=(0, 0, 0))
    watching.see(MIXED, 100, names=("b", "a"), group=(1, 1, 1))
    assert {name: t.estimated_access_bytes for name, t in watching.targets().items()} == {"a": 220 * MIB, "b": 0}


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
