"""Bytes by access ratio, and the estimated bandwidth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_regions import INTERVALS, MIB, any_regions, by_target, regions, single

from damon_exporter.analysis.bands import (
    access_ratios,
    band_bytes,
    estimated_access_bytes,
    sum_bytes,
)
from damon_exporter.analysis.snapshot import Intervals, Regions
from damon_exporter.units import parse_ratio

BOUNDS = (0.0, 0.25, 0.75, 1.0)
"""idle, cold, warm, hot as they are configured by default."""


def of_20(nr_accesses: int) -> Regions:
    """One MiB with so many accesses in 20 samples."""
    return regions((0, MIB, nr_accesses))


@pytest.mark.parametrize(("nr_accesses", "band"), [(0, 0), (1, 1), (5, 1), (6, 2), (15, 2), (16, 3), (20, 3)])
def test_the_upper_bound_belongs_to_a_band(nr_accesses: int, band: int) -> None:
    made = of_20(nr_accesses)
    found = band_bytes(access_ratios(made, INTERVALS), made.sizes, *single(made), BOUNDS)
    assert np.flatnonzero(found[0]).tolist() == [band]


@pytest.mark.parametrize("most", [3, 7, 20, 49, 1000, 65_535])
def test_a_bound_written_as_a_percentage_is_met_exactly(most: int) -> None:
    """Wherever k of N samples are a ratio that somebody can write, that ratio is not above itself."""
    for count in range(most + 1):
        if 1000 * count % most == 0:
            written = float(parse_ratio(f"{100 * count / most:.1f}%"))
            made = regions((0, MIB, count))
            ratios = access_ratios(made, Intervals(1_000, 1_000 * most))
            if written < 1:
                assert band_bytes(ratios, made.sizes, *single(made), (written, 1.0)).tolist() == [[MIB, 0]]


def test_counts_above_the_maximum_are_hot_after_a_commit_has_shortened_the_intervals() -> None:
    made = of_20(21)
    ratios = access_ratios(made, INTERVALS)
    assert ratios.tolist() == [1.0]
    assert band_bytes(ratios, made.sizes, *single(made), BOUNDS).tolist() == [[0, 0, 0, MIB]]


def test_more_samples_than_can_be_counted_are_no_error() -> None:
    assert access_ratios(regions((0, MIB, 2**31)), Intervals(1, 2**32)).tolist() == [0.5]


def test_an_aggregation_shorter_than_a_sample_counts_one_sample() -> None:
    assert access_ratios(regions((0, MIB, 0), (MIB, 2 * MIB, 1)), Intervals(1000, 500)).tolist() == [0.0, 1.0]


def test_a_single_band_holds_everything() -> None:
    made = regions((0, 3, 0), (3, 10, 20))
    assert band_bytes(access_ratios(made, INTERVALS), made.sizes, *single(made), (1.0,)).tolist() == [[10]]


def test_every_target_has_bands_of_its_own() -> None:
    made = regions((0, 10, 0, 0, 0), (0, 20, 20, 0, 1), (20, 24, 3, 0, 1))
    found = band_bytes(access_ratios(made, INTERVALS), made.sizes, *by_target(made), BOUNDS)
    assert found.tolist() == [[10, 0, 0, 0], [0, 4, 0, 20]]


def test_a_target_without_regions_has_empty_bands() -> None:
    made = regions((0, 10, 20, 0, 0))
    found = band_bytes(access_ratios(made, INTERVALS), made.sizes, np.array([1]), 3, BOUNDS)
    assert found.sum(axis=1).tolist() == [0, 10, 0]


@given(
    any_regions(most_accesses=2**32 - 1),
    st.builds(Intervals, st.integers(1, 10**7), st.integers(1, 10**11)),
    st.sets(st.floats(0, 1, exclude_max=True), max_size=6),
)
def test_bands_sum_to_the_monitored_bytes_exactly(made: Regions, intervals: Intervals, bounds: set[float]) -> None:
    grouping = by_target(made)
    found = band_bytes(access_ratios(made, intervals), made.sizes, *grouping, (*sorted(bounds), 1.0))
    exact = [sum(made.sizes[made.target == target].tolist()) for target in range(grouping[1])]
    assert found.sum(axis=1).tolist() == exact
    assert sum_bytes(made.sizes, *grouping).tolist() == exact


@given(any_regions(largest=2**40))
def test_estimated_access_bytes_are_the_sizes_times_their_accesses(made: Regions) -> None:
    grouping = by_target(made)
    products = [size * count for size, count in zip(made.sizes.tolist(), made.nr_accesses.tolist(), strict=True)]
    exact = [sum(p for p, t in zip(products, made.target.tolist(), strict=True) if t == i) for i in range(grouping[1])]
    assert estimated_access_bytes(made, *grouping).tolist() == exact


def test_estimated_access_bytes_do_not_overflow() -> None:
    made = regions((0, 2**47, 2**32 - 1))
    assert estimated_access_bytes(made, *single(made)).tolist() == [pytest.approx(2**79)]


def test_no_regions_are_no_bytes() -> None:
    none = regions()
    assert band_bytes(access_ratios(none, INTERVALS), none.sizes, *single(none), BOUNDS).tolist() == [[0, 0, 0, 0]]
    assert estimated_access_bytes(none, *single(none)).tolist() == [0.0]
