"""Heat by time and address."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_regions import INTERVALS, regions

from damon_exporter.analysis.snapshot import Regions, Snapshot
from damon_exporter.analysis.time_space import (
    Frame,
    heat_by_time_and_space,
    monitored_ranges,
    observed_ns,
)

SECOND = 10**9


def snapshots(*each: Regions, every_ns: int = SECOND // 10) -> list[Snapshot]:
    return [
        Snapshot(0, 10 * SECOND + number * every_ns, made, INTERVALS, INTERVALS.aggregation_us)
        for number, made in enumerate(each)
    ]


def test_a_region_counts_in_a_cell_by_its_bytes_and_its_time() -> None:
    made = snapshots(regions((0, 300, 10, 0), (300, 400, 0, 0)), regions((0, 400, 0, 0)))
    frame = Frame(10 * SECOND - SECOND // 10, 10 * SECOND + SECOND // 10, 0, 400, rows=1, columns=2)
    assert heat_by_time_and_space(made, frame)[0] == pytest.approx([100 / 2, 100 / 2 / 2])


def test_the_first_snapshot_tells_of_the_time_of_its_ages() -> None:
    made = snapshots(regions((0, 100, 10, 9), (100, 200, 20, 4)))
    assert observed_ns(made) == (9 * SECOND, 10 * SECOND)
    heat = heat_by_time_and_space(made, Frame(9 * SECOND, 10 * SECOND, 0, 200, rows=2, columns=2))
    assert heat.tolist() == [[pytest.approx(100), pytest.approx(np.nan, nan_ok=True)], [pytest.approx(100), 200]]


def test_a_gap_between_snapshots_is_filled_by_age_but_not_beyond_the_one_before() -> None:
    made = snapshots(regions((0, 100, 10, 0)), regions((0, 100, 20, 999)), every_ns=SECOND)
    heat = heat_by_time_and_space(made, Frame(10 * SECOND - SECOND, 11 * SECOND, 0, 100, rows=2, columns=1))
    assert heat.ravel() == pytest.approx([10, 200])


@given(st.lists(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=6), min_size=1, max_size=5))
def test_ranges_are_the_union_of_all_regions(made: list[list[tuple[int, int]]]) -> None:
    each = [regions(*((s, min(s + n, 50), 1, 0) for s, n in rows)) for rows in map(_disjoint, made) if rows]
    found = monitored_ranges(snapshots(*each))
    inside = {byte for one in each for s, e in zip(one.start, one.end, strict=True) for byte in range(int(s), int(e))}
    of_ranges = [set(range(int(s), int(e))) for s, e in zip(found.start, found.end, strict=True)]
    assert set().union(*of_ranges) == inside
    assert sum(map(len, of_ranges)) == len(inside)
    assert (found.start[1:] > found.end[:-1]).all()
    accesses = sum(int(one.sizes.sum()) for one in each)
    assert (found.heat * (found.end - found.start)).sum() == pytest.approx(accesses)


def _disjoint(rows: list[tuple[int, int]]) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for start, length in sorted(rows):
        if not kept or start >= sum(kept[-1]):
            kept.append((start, length))
    return kept
