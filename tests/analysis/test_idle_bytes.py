"""Bytes by idle age: none is lost, none counted twice, and what is remembered from snapshot to snapshot is bounded."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_regions import PAGE, any_regions, by_target, idle_at, regions, single

from damon_exporter.analysis.idle import (
    FEWEST_PIECES,
    NO_PIECES,
    PIECES_PER_REGION,
    IdleAges,
    Pieces,
    carry,
    idle_bytes,
)
from damon_exporter.analysis.snapshot import Regions

A = 100_000
"""The aggregation interval, 100 ms in µs."""

LONG = 6_000
"""Ten minutes of aggregations."""

BOUNDS_US = np.array([0, A, 5 * A, 20 * A], np.int64)


def test_the_upper_bound_belongs_to_a_bucket() -> None:
    made = regions((0, 1, 5), (1, 3, 0, 0), (3, 7, 0, 4), (7, 15, 0, 5), (15, 31, 0, 500))
    ages, _ = carry(NO_PIECES, made, A, A)
    counts, sums = idle_bytes(ages, made.sizes, *single(made), BOUNDS_US)
    assert counts.tolist() == [[1, 2, 4, 8, 16]]
    assert sums.tolist() == pytest.approx([2 * 0.1 + 4 * 0.5 + 8 * 0.6 + 16 * 50.1])


def test_patched_bytes_are_counted_once_and_where_they_belong() -> None:
    before, now = regions((0, 10, 1, LONG), (10, 30, 0, LONG)), regions((0, 30, 0, LONG))
    _, pieces = carry(NO_PIECES, before, A, A)
    ages, _ = carry(pieces, now, A, A)
    counts, sums = idle_bytes(ages, now.sizes, *single(now), BOUNDS_US)
    assert counts.tolist() == [[0, 10, 0, 0, 20]]
    assert sums.tolist() == pytest.approx([10 * 0.1 + 20 * 600.1])


def test_every_group_has_a_distribution_of_its_own() -> None:
    before, now = regions((0, 8, 1, LONG, 0), (0, 8, 0, LONG, 1)), regions((0, 8, 0, LONG, 0), (0, 8, 0, LONG, 1))
    _, pieces = carry(NO_PIECES, before, A, A)
    ages, _ = carry(pieces, now, A, A)
    counts, _ = idle_bytes(ages, now.sizes, *by_target(now), BOUNDS_US)
    assert counts.tolist() == [[0, 8, 0, 0, 0], [0, 0, 0, 0, 8]]


def test_regions_without_size_do_no_harm() -> None:
    pieces = NO_PIECES
    for accesses in (1, 0, 0):
        made = regions((0, 0, accesses, 7), (0, 0, accesses, 7), (0, PAGE, 1, 7), (PAGE, PAGE, 0, 7))
        ages, pieces = carry(pieces, made, A, A)
    counts, _ = idle_bytes(ages, made.sizes, *single(made), np.array([0], np.int64))
    assert counts.tolist() == [[PAGE, 0]]


# Against a counter for every page

PAGES = 24
TARGETS = 2


@st.composite
def cuts(draw: st.DrawFn) -> Regions:
    """Cut the pages of all targets into regions, at places that have nothing to do with those before; some are gaps."""
    rows = []
    for target in range(TARGETS):
        borders = sorted({0, PAGES, *draw(st.lists(st.integers(1, PAGES - 1), max_size=6))})
        for start, end in pairwise(borders):
            if draw(st.integers(0, 9)):
                accesses, age = draw(st.sampled_from((0, 0, 1, 20))), draw(st.integers(0, 12))
                rows.append((start * PAGE, end * PAGE, accesses, age, target))
    return regions(*rows)


class PageCounters:
    """Each page has a counter of its own from when it was first seen accessed; a page that is gone is forgotten."""

    def __init__(self) -> None:
        self._idle_us: dict[tuple[int, int], int] = {}

    def told(self, made: Regions, unit: int, step: int) -> dict[tuple[int, int], int]:
        """Return every page's idle age: its counter, or the kernel's number where this is not larger."""
        counters, told = {}, {}
        columns = (made.target, made.start, made.end, made.nr_accesses, made.age)
        for target, start, end, accesses, age in zip(*(column.tolist() for column in columns), strict=True):
            for page in range(start, end, PAGE):
                key = (target, page)
                told[key] = 0 if accesses else (age + 1) * unit
                if accesses:
                    counters[key] = 0
                elif key in self._idle_us:
                    counters[key] = self._idle_us[key] + step
                    told[key] = min(told[key], counters[key])
        self._idle_us = counters
        return told


@given(st.lists(st.tuples(cuts(), st.integers(1, 3), st.integers(1, 9)), min_size=1, max_size=12))
def test_idle_ages_are_what_a_counter_for_every_page_would_tell(steps: list[tuple[Regions, int, int]]) -> None:
    pieces, counters = NO_PIECES, PageCounters()
    for made, unit, step in steps:
        ages, pieces = carry(pieces, made, unit, step)
        told = counters.told(made, unit, step)
        assert {key: idle_at(ages, made, key[1], key[0]) for key in told} == told
        bounds = np.array([0, 3, 10], np.int64)
        counts, sums = idle_bytes(ages, made.sizes, np.zeros(len(made), np.intp), 1, bounds)
        buckets = np.bincount(np.searchsorted(bounds, list(told.values())), minlength=4) * PAGE
        assert counts.tolist() == [buckets.tolist()]
        assert sums.tolist() == pytest.approx([sum(told.values()) * PAGE / 1e6])


def check_patches(ages: IdleAges, made: Regions) -> None:
    """Patches are disjoint, inside their regions, and never older than the kernel says."""
    patches, base = ages.patches, made.target[ages.patch_region].astype(np.uint64) << np.uint64(48)
    assert (patches.start < patches.end).all()
    assert (patches.end[:-1] <= patches.start[1:]).all()
    assert (patches.start >= base + made.start[ages.patch_region]).all()
    assert (patches.end <= base + made.end[ages.patch_region]).all()
    assert (patches.idle_us < ages.region_us[ages.patch_region]).all()
    assert (made.nr_accesses[ages.patch_region] == 0).all()


def check_pieces(pieces: Pieces, made: Regions) -> None:
    """What is remembered is disjoint, in order, and bounded."""
    assert (pieces.start < pieces.end).all()
    assert (pieces.end[:-1] <= pieces.start[1:]).all()
    assert len(pieces) <= max(PIECES_PER_REGION * len(made), FEWEST_PIECES)


@given(st.lists(any_regions(largest=2**46, most_accesses=2), min_size=2, max_size=8))
def test_no_byte_is_lost_or_counted_twice(snapshots: list[Regions]) -> None:
    pieces = NO_PIECES
    for made in snapshots:
        ages, pieces = carry(pieces, made, A, A)
        check_patches(ages, made)
        check_pieces(pieces, made)
        counts, _ = idle_bytes(ages, made.sizes, *by_target(made), BOUNDS_US)
        exact = np.zeros(len(counts), np.int64)
        np.add.at(exact, made.target, made.sizes.astype(np.int64))
        assert counts.sum(axis=1).tolist() == exact.tolist()


# What is remembered is bounded


def fragmented(hot: int, pages: int, first_age: int = LONG) -> Regions:
    """Regions of one page, of which every ``hot``-th is accessed."""
    return regions(*((i * PAGE, (i + 1) * PAGE, int(i % hot == 0), first_age) for i in range(pages)))


def test_memory_in_shreds_does_not_make_more_pieces_than_are_allowed() -> None:
    pages = 3 * FEWEST_PIECES
    _, pieces = carry(NO_PIECES, fragmented(2, pages), A, A)
    whole = regions((0, pages * PAGE, 0, LONG))
    ages, pieces = carry(pieces, whole, A, A)
    assert len(ages.patches) == pages // 2, "this snapshot is told exactly"
    check_pieces(pieces, whole)
    assert len(pieces) == FEWEST_PIECES


def test_neighbours_that_differ_least_are_remembered_as_one() -> None:
    """A staircase of idle ages with one high step: the step stays."""
    steps = FEWEST_PIECES + 8
    pieces = Pieces(
        np.arange(steps, dtype=np.uint64) * np.uint64(PAGE),
        np.arange(1, steps + 1, dtype=np.uint64) * np.uint64(PAGE),
        np.arange(steps) * A + np.where(np.arange(steps) >= steps // 2, LONG * A, 0),
    )
    whole = regions((0, steps * PAGE, 0, 10 * LONG))
    ages, remembered = carry(pieces, whole, A, A)
    assert len(ages.patches) == steps
    assert len(remembered) == FEWEST_PIECES
    assert remembered.end[-1] == steps * PAGE
    assert steps // 2 * PAGE in remembered.start.tolist()


def test_of_pieces_that_do_not_touch_the_smallest_are_forgotten() -> None:
    count = FEWEST_PIECES + 1
    sizes = np.where(np.arange(count) == 7, 1, 2).astype(np.uint64) * np.uint64(PAGE)
    starts = np.arange(count, dtype=np.uint64) * np.uint64(4 * PAGE)
    pieces = Pieces(starts, starts + sizes, np.zeros(count, np.int64))
    _, remembered = carry(pieces, regions((0, count * 4 * PAGE, 0, LONG)), A, A)
    assert set(starts.tolist()) - set(remembered.start.tolist()) == {7 * 4 * PAGE}


def test_merged_pieces_get_the_mean_age_of_their_bytes() -> None:
    count = FEWEST_PIECES + 1
    starts = np.arange(count, dtype=np.uint64) * np.uint64(4 * PAGE)
    ends = starts + np.uint64(PAGE)
    ends[0] = starts[1]  # only these two touch: 4 pages and 1 page
    idle_us = np.full(count, 9 * A, np.int64)
    idle_us[0] = 4 * A
    _, remembered = carry(Pieces(starts, ends, idle_us), regions((0, count * 4 * PAGE, 0, LONG)), A, A)
    assert (remembered.start[0], remembered.end[0], remembered.idle_us[0]) == (0, 5 * PAGE, 6 * A)
