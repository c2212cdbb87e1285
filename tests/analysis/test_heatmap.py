"""Heat by address."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_regions import INTERVALS, MIB, any_regions, by_target, regions, single

from damon_exporter.analysis.bands import access_ratios
from damon_exporter.analysis.heatmap import bin_ratios
from damon_exporter.analysis.snapshot import Regions


def heat(made: Regions, bins: int) -> list[float]:
    """Return the bins of a single target."""
    found = bin_ratios(access_ratios(made, INTERVALS), made.sizes, *single(made), bins)
    assert found.shape == (1, bins)
    return [round(ratio, 9) for ratio in found[0].tolist()]


def test_a_bin_shows_the_mean_of_its_bytes() -> None:
    assert heat(regions((0, MIB, 20), (MIB, 4 * MIB, 0)), bins=2) == [0.5, 0.0]


def test_a_region_across_an_edge_counts_in_both_bins_by_its_bytes() -> None:
    assert heat(regions((0, 3 * MIB, 0), (3 * MIB, 6 * MIB, 10), (6 * MIB, 8 * MIB, 0)), bins=2) == [0.125, 0.25]


def test_a_region_larger_than_a_bin_fills_all_that_it_covers() -> None:
    assert heat(regions((0, 8 * MIB, 10)), bins=4) == [0.5, 0.5, 0.5, 0.5]


def test_regions_smaller_than_a_bin_share_it() -> None:
    assert heat(regions(*((i, i + 1, 20 * (i % 2)) for i in range(8))), bins=2) == [0.5, 0.5]


def test_gaps_are_left_out() -> None:
    scattered = regions((MIB, 2 * MIB, 20), (2**46, 2**46 + MIB, 0))
    assert heat(scattered, bins=2) == heat(regions((0, MIB, 20), (MIB, 2 * MIB, 0)), bins=2) == [1.0, 0.0]


def test_the_set_of_bins_is_the_same_however_little_is_mapped() -> None:
    assert heat(regions((0, 3, 20)), bins=5) == [1.0] * 5
    assert heat(regions(), bins=5) == [0.0] * 5


def test_a_region_without_size_changes_nothing() -> None:
    assert heat(regions((0, MIB, 0), (MIB, MIB, 20), (MIB, 2 * MIB, 10)), bins=2) == [0.0, 0.5]


def test_counts_above_the_maximum_are_no_hotter_than_hot() -> None:
    assert heat(regions((0, MIB, 25)), bins=3) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("step", range(10))
def test_the_hot_step_of_stairs_moves(step: int) -> None:
    """Ten areas, hot one after the other."""
    stairs = regions(*((area * MIB, (area + 1) * MIB, 20 if area == step else 0) for area in range(10)))
    assert np.flatnonzero(heat(stairs, bins=40)).tolist() == list(range(4 * step, 4 * step + 4))


def test_targets_do_not_warm_each_other() -> None:
    mixed = regions((0, 2 * MIB, 20, 0, 0), (0, MIB, 0, 0, 1), (MIB, 2 * MIB, 20, 0, 1))
    found = bin_ratios(access_ratios(mixed, INTERVALS), mixed.sizes, *by_target(mixed), 2)
    assert found.tolist() == [[1.0, 1.0], [0.0, 1.0]]


def test_target_indexes_of_one_group_lie_end_to_end_whatever_lies_between() -> None:
    mixed = regions((0, MIB, 20, 0, 0), (0, MIB, 10, 0, 1), (0, MIB, 0, 0, 2))
    found = bin_ratios(access_ratios(mixed, INTERVALS), mixed.sizes, np.array([0, 1, 0]), 2, 2)
    assert found.tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_many_targets_of_a_group_keep_their_order() -> None:
    mixed = regions(*((0, MIB, 20 if target < 100 else 0, 0, target) for target in range(200)))
    found = bin_ratios(access_ratios(mixed, INTERVALS), mixed.sizes, np.arange(200) % 2, 2, 2)
    assert found.tolist() == [[1.0, 0.0], [1.0, 0.0]]


@given(any_regions(largest=2**44), st.integers(1, 100))
def test_no_heat_is_lost_between_the_bins(made: Regions, bins: int) -> None:
    ratios, (group, groups) = access_ratios(made, INTERVALS), by_target(made)
    found = bin_ratios(ratios, made.sizes, group, groups, bins)
    bytes_of_bins = np.bincount(group, weights=made.sizes, minlength=groups) / bins
    heat_of_targets = np.bincount(group, weights=ratios * made.sizes, minlength=groups)
    assert found.sum(axis=1) * bytes_of_bins == pytest.approx(heat_of_targets, rel=1e-9, abs=1.0)
    assert ((found >= 0) & (found <= 1)).all()


@given(any_regions(targets=1, most=5, largest=2**20), st.integers(1, 9))
def test_a_bin_is_what_its_bytes_one_by_one_would_make_it(made: Regions, bins: int) -> None:
    byte_by_byte = np.repeat(access_ratios(made, INTERVALS), made.sizes.astype(np.int64))
    cut = bins * (len(byte_by_byte) // bins)
    made = regions(*_cut(made, len(byte_by_byte) - cut))
    expected = byte_by_byte[:cut].reshape(bins, -1).mean(axis=1) if cut else np.zeros(bins)
    assert heat(made, bins) == pytest.approx(expected, abs=1e-6)


def _cut(made: Regions, surplus: int) -> list[tuple[int, int, int]]:
    """Take some bytes off the end, so that bins are whole numbers of bytes."""
    rows = [tuple(map(int, row)) for row in zip(made.start, made.end, made.nr_accesses, strict=True)]
    while surplus:
        start, end, count = rows.pop()
        taken = min(surplus, end - start)
        surplus -= taken
        if taken < end - start:
            rows.append((start, end - taken, count))
    return rows
