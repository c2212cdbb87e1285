"""What the snapshots of one kdamond add up to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_regions import INTERVALS, MIB, any_regions, regions
from made_series import A_MS, IDLE, MIXED, Watching, band_byte_seconds, band_bytes, idle_bytes

from damon_exporter.analysis.snapshot import Regions
from damon_exporter.row import WORKING_SET_BOUNDS

# Gauges


def test_before_the_first_snapshot_there_are_no_targets() -> None:
    assert Watching().targets() == {}


def test_gauges_show_the_last_snapshot() -> None:
    watching = Watching()
    watching.see(IDLE, 0)
    watching.see(MIXED, 100)
    target = watching.physical
    assert (target.monitored_bytes, target.regions, target.working_set_bytes) == (8 * MIB, 3, 7 * MIB)
    assert band_bytes(target) == {"idle": MIB, "cold": 2 * MIB, "hot": 5 * MIB}
    assert idle_bytes(target) == (7 * MIB, MIB, 0, 0)
    assert target.last_snapshot_timestamp == pytest.approx(0.1)


def test_the_timestamp_is_unix_time() -> None:
    watching = Watching()
    watching.see(MIXED, 1500)
    assert watching.targets(offset=1_790_000_000.0)["physical"].last_snapshot_timestamp == 1_790_000_001.5


def test_a_bin_covers_its_share_of_the_last_snapshot_from_the_first_on() -> None:
    watching = Watching()
    watching.see(MIXED, 0)
    heatmap = watching.physical.heatmap
    assert heatmap is not None
    assert (heatmap.access_seconds, heatmap.bin_bytes) == ((0.0, 0.0, 0.0, 0.0), 2.0 * MIB)


def test_without_bins_there_is_no_heatmap() -> None:
    watching = Watching(heatmap={"bins": 0})
    watching.see(MIXED, 0)
    watching.see(MIXED, 100)
    assert watching.physical.heatmap is None


def test_unknown_intervals_leave_out_what_cannot_be_told_without_them() -> None:
    watching = Watching()
    for at_ms in (0, 100):
        watching.see(MIXED, at_ms, intervals=None, age_unit_us=None)
    target = watching.physical
    assert (target.bands, target.idle_age, target.heatmap) == (None, None, None)
    assert (target.observed_seconds, target.working_set_bytes, target.snapshots) == (0.0, 7 * MIB, 2)


def test_a_known_unit_of_age_is_enough_for_idle_ages() -> None:
    watching = Watching()
    watching.see(MIXED, 0, intervals=None)
    assert watching.physical.bands is None
    assert idle_bytes(watching.physical) == (7 * MIB, MIB, 0, 0)


def test_intervals_that_become_known_again_let_counters_go_on() -> None:
    watching = Watching()
    for at_ms, intervals in enumerate((INTERVALS, INTERVALS, None, INTERVALS, INTERVALS)):
        watching.see(MIXED, at_ms * A_MS, intervals=intervals)
    assert watching.physical.observed_seconds == pytest.approx(0.3)


# Integrals over time


def test_the_first_snapshot_covers_no_known_time() -> None:
    watching = Watching()
    watching.see(MIXED, 12_345)
    assert watching.physical.observed_seconds == 0.0
    assert band_byte_seconds(watching.physical) == {"idle": 0.0, "cold": 0.0, "hot": 0.0}


def test_integrals_are_bytes_times_the_time_since_the_previous_snapshot() -> None:
    watching = Watching()
    watching.see(IDLE, 1_000)
    watching.see(MIXED, 1_100)
    watching.see(IDLE, 1_250)
    target = watching.physical
    assert target.observed_seconds == pytest.approx(0.25)
    assert band_byte_seconds(target) == pytest.approx(
        {"idle": MIB * 0.1 + 8 * MIB * 0.15, "cold": 2 * MIB * 0.1, "hot": 5 * MIB * 0.1}
    )


def test_heat_is_the_mean_ratio_of_a_bin_times_the_time() -> None:
    watching = Watching()
    watching.see(IDLE, 1_000)
    watching.see(MIXED, 1_100)
    watching.see(MIXED, 1_250)
    heatmap = watching.physical.heatmap
    assert heatmap is not None
    of_bins = (0.125, (0.25 + 1) / 2, 1.0, 1.0)  # bins of 2 MiB: idle and cold, cold and hot, hot, hot
    assert heatmap.access_seconds == pytest.approx([ratio * 0.25 for ratio in of_bins])


def test_the_hot_step_of_stairs_moves_through_the_heatmap() -> None:
    watching = Watching(heatmap={"bins": 10})
    before = np.zeros(10)
    for step in range(10):
        stairs = regions(*((area * MIB, (area + 1) * MIB, 20 * (area == step)) for area in range(10)))
        watching.see(stairs, 200 * step)
        watching.see(stairs, 200 * step + 100)
        heatmap = watching.physical.heatmap
        assert heatmap is not None
        growth = np.array(heatmap.access_seconds) - before
        assert np.argmax(growth) == step
        before += growth


@pytest.mark.parametrize(("pause_ms", "seconds"), [(1, 0.001), (200, 0.2), (200.002, 0.0), (60_000, 0.0)])
def test_a_snapshot_later_than_two_aggregations_adds_to_no_integral(pause_ms: float, seconds: float) -> None:
    watching = Watching()
    watching.see(MIXED, 0)
    watching.see(MIXED, pause_ms)
    target, heatmap = watching.physical, watching.physical.heatmap
    assert heatmap is not None
    assert target.observed_seconds == seconds
    assert band_byte_seconds(target)["hot"] == pytest.approx(5 * MIB * seconds)
    assert heatmap.access_seconds[3] == pytest.approx(seconds)


def test_after_a_gap_integrals_go_on() -> None:
    watching = Watching()
    for at_ms in (0, 100, 5_000, 5_100):
        watching.see(MIXED, at_ms)
    assert watching.physical.observed_seconds == pytest.approx(0.2)


def test_a_snapshot_from_the_past_takes_nothing_back() -> None:
    watching = Watching()
    for at_ms in (1_000, 1_100, 1_050):
        watching.see(MIXED, at_ms)
    assert watching.physical.observed_seconds == pytest.approx(0.1)


@given(st.lists(st.tuples(any_regions(targets=1, largest=2**44), st.integers(1, 400)), min_size=1, max_size=8))
def test_integrals_are_exact_whatever_comes_in(steps: list[tuple[Regions, int]]) -> None:
    watching = Watching()
    at_ms, first, observed, integral = 0, True, 0, 0
    for made, pause_ms in steps:
        at_ms += pause_ms
        watching.see(made, at_ms)
        if not first and pause_ms <= 2 * A_MS and len(made):
            observed += pause_ms
            integral += pause_ms * int(made.sizes.sum())
        first = False
    if not len(steps[-1][0]):
        assert watching.targets() == {}
        return
    target = watching.physical
    assert target.observed_seconds == pytest.approx(observed / 1000)
    assert sum(band_byte_seconds(target).values()) == pytest.approx(integral / 1000)
    assert sum(band_bytes(target).values()) == target.monitored_bytes
    assert sum(idle_bytes(target)) == target.monitored_bytes


# Counters that need no time


def test_accesses_and_snapshots_are_counted_from_the_first_on() -> None:
    watching = Watching()
    for at_ms in (0, 100, 60_000):
        watching.see(MIXED, at_ms)
    target = watching.physical
    assert target.snapshots == 3
    assert target.estimated_access_bytes == 3 * (2 * MIB * 5 + 5 * MIB * 20)


def test_the_distribution_has_one_observation_for_each_snapshot() -> None:
    watching = Watching()
    for at_ms, working_set in enumerate((0, MIB, MIB + 1, 4 * MIB, 2**44, 2**44 + 1)):
        watching.see(regions((0, working_set, 1)), at_ms)
    distribution = watching.physical.working_set_distribution
    assert distribution.bounds == WORKING_SET_BOUNDS
    assert distribution.counts == (2, 2, *[0] * 10, 1, 1)
    assert distribution.sum == 6 * MIB + 1 + 2**45 + 1


def test_the_bounds_of_the_distribution_reach_from_1_mib_to_16_tib() -> None:
    assert (WORKING_SET_BOUNDS[0], WORKING_SET_BOUNDS[-1]) == (2**20, 2**44)


# Percentiles of the window


def test_percentiles_are_ranks_over_the_snapshots_of_the_window() -> None:
    watching = Watching()
    for second, working_set in enumerate((9, 1, 3, 2, 4)):
        watching.see(regions((0, working_set, 1), (16, 32, 0)), 100 * second)
    assert watching.physical.working_set_percentiles == {"0": 1, "50": 3, "100": 9}


def test_what_is_older_than_the_window_has_left_the_percentiles() -> None:
    watching = Watching()
    watching.see(regions((0, 9, 1)), 0)
    watching.see(regions((0, 5, 1)), 900)
    assert watching.targets(now_ms=999)["physical"].working_set_percentiles == {"0": 5, "50": 9, "100": 9}
    assert watching.targets(now_ms=1_000)["physical"].working_set_percentiles == {"0": 5, "50": 5, "100": 5}


def test_there_are_no_percentiles_of_a_window_in_which_nothing_was_seen() -> None:
    watching = Watching()
    watching.see(MIXED, 0)
    assert watching.targets(now_ms=5_000)["physical"].working_set_percentiles == {}
