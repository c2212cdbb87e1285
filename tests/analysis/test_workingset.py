"""The working set of a snapshot, and its percentiles over time."""

import numpy as np
import pytest
from hypothesis import given
from made_regions import any_regions, by_target, regions, working_set_bytes

from damon_exporter.analysis.snapshot import Regions
from damon_exporter.analysis.workingset import percentile_bytes, working_set


def test_one_access_makes_a_whole_region_part_of_the_working_set() -> None:
    assert working_set_bytes(regions((0, 4096, 1), (4096, 12288, 0), (12288, 16384, 20))) == 8192


@given(any_regions())
def test_the_working_set_is_what_had_an_access(made: Regions) -> None:
    grouping = by_target(made)
    accessed = made.nr_accesses >= 1
    exact = [sum(made.sizes[accessed & (made.target == target)].tolist()) for target in range(grouping[1])]
    assert working_set(made, *grouping).tolist() == exact


def test_no_regions_are_no_working_set() -> None:
    assert working_set_bytes(regions()) == 0


def test_sizes_near_the_end_of_the_address_space_do_not_overflow() -> None:
    assert working_set_bytes(regions((0, 2**63 - 4096, 1))) == 2**63 - 4096


@pytest.mark.parametrize(
    ("percentile", "expected"), [(0, 10), (24, 10), (25, 20), (50, 30), (74.9, 30), (75, 40), (100, 40)]
)
def test_a_percentile_is_the_value_at_its_rank(percentile: float, expected: int) -> None:
    assert percentile_bytes(np.array([10, 20, 30, 40], np.int64), percentile) == expected


def test_every_percentile_of_a_single_snapshot_is_its_working_set() -> None:
    only = np.array([7], np.uint64)
    assert {percentile_bytes(only, percentile) for percentile in (0, 50, 99, 100)} == {7}
