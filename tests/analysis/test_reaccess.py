"""What woke up between two snapshots, and how long it had slept."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_regions import INTERVALS, MIB, any_regions, by_target, regions, single

from damon_exporter.analysis.idle import NO_PIECES, carry
from damon_exporter.analysis.reaccess import woken, woken_bytes
from damon_exporter.analysis.snapshot import Regions

A = 100_000
SECOND = 1_000_000

Rows = Sequence[tuple[int, ...]]


def seen(rows: Rows) -> Regions:
    """Build regions of (start, end, nr_accesses, age, target), with addresses in MiB."""
    return regions(*((row[0] * MIB, row[1] * MIB, *row[2:]) for row in rows))


def wakes(*snapshots: Rows) -> dict[int, int]:
    """Return the MiB that woke between the last two snapshots, by the idle age (aggregations) they had before."""
    pieces, before, ages = NO_PIECES, seen(()), None
    for rows in snapshots[:-1]:
        before = seen(rows)
        ages, pieces = carry(pieces, before, A, A)
    assert ages is not None
    found = woken(ages, before, seen(snapshots[-1]), INTERVALS)
    by_age: dict[int, int] = {}
    for size, idle_us in zip(found.size.tolist(), found.idle_us.tolist(), strict=True):
        by_age[idle_us // A] = by_age.get(idle_us // A, 0) + size // MIB
    return by_age


STORIES: dict[str, tuple[tuple[Rows, ...], dict[int, int]]] = {
    "all of it": (([(0, 8, 0, 49)], [(0, 8, 20, 0)]), {50: 8}),
    "a part that is split off": (([(0, 8, 0, 49)], [(0, 6, 0, 50), (6, 8, 20, 0)]), {50: 2}),
    "parts that slept for different times": (([(0, 3, 0, 9), (3, 8, 0, 99)], [(0, 8, 20, 0)]), {10: 3, 100: 5}),
    "what was touched two snapshots ago in a part of a region": (
        ([(0, 2, 20, 7), (2, 8, 0, 99)], [(0, 8, 0, 75)], [(0, 8, 20, 0)]),
        {1: 2, 76: 6},
    ),
    "nothing where accesses go on": (([(0, 8, 20, 3)], [(0, 8, 20, 4)]), {}),
    "nothing when an accessed region is split": (([(0, 8, 10, 3)], [(0, 4, 20, 0), (4, 8, 0, 0)]), {}),
    "nothing when an idle region is split": (([(0, 8, 0, 3)], [(0, 4, 0, 4), (4, 8, 0, 4)]), {}),
    "nothing when an idle region merges with one of few accesses": (
        ([(0, 4, 2, 3), (4, 8, 0, 99)], [(0, 8, 1, 52)]),
        {},
    ),
    "nothing when idle parts on both sides merge with one of few accesses": (
        ([(0, 2, 0, 50), (2, 6, 2, 3), (6, 8, 0, 99)], [(0, 8, 2, 52)]),
        {},
    ),
    "what merges with a busy region, for it must be busy too": (
        ([(0, 4, 20, 3), (4, 8, 0, 99)], [(0, 8, 19, 2)]),
        {100: 4},
    ),
    "all of a region of few accesses that had been idle as a whole": (([(0, 8, 0, 49)], [(0, 8, 1, 50)]), {50: 8}),
    "nothing where nothing was before": (([(0, 4, 0, 3)], [(0, 4, 0, 4), (16, 20, 20, 0)]), {}),
    "nothing of another target at the same addresses": (
        ([(0, 4, 0, 9, 0), (0, 4, 20, 3, 1)], [(0, 4, 0, 10, 0), (0, 4, 20, 4, 1)]),
        {},
    ),
    "the target that it belongs to": (
        ([(0, 4, 0, 9, 0), (0, 4, 0, 19, 1)], [(0, 4, 0, 10, 0), (0, 4, 20, 0, 1)]),
        {20: 4},
    ),
    "nothing of what has no size": (([(0, 4, 0, 9)], [(0, 0, 20, 0), (0, 4, 0, 10)]), {}),
}


@pytest.mark.parametrize("story", STORIES)
def test_what_wakes_is(story: str) -> None:
    snapshots, expected = STORIES[story]
    assert wakes(*snapshots) == expected


def test_bytes_are_told_by_target_and_by_bounds_that_count_themselves_in() -> None:
    before = seen([(0, 1, 0, 9, 0), (1, 3, 0, 10, 0), (0, 4, 0, 599, 1)])
    ages, _ = carry(NO_PIECES, before, A, A)
    now = seen([(0, 3, 20, 0, 0), (0, 4, 20, 0, 1)])
    counts, sums = woken_bytes(
        woken(ages, before, now, INTERVALS), *by_target(now), np.array([SECOND, 60 * SECOND], np.int64)
    )
    assert counts.tolist() == [[MIB, 2 * MIB, 0], [0, 4 * MIB, 0]]
    assert sums.tolist() == pytest.approx([MIB * 1.0 + 2 * MIB * 1.1, 4 * MIB * 60.0])


@given(any_regions(most=6), any_regions(most=6))
def test_no_more_wakes_than_was_idle_and_than_is_accessed(before: Regions, now: Regions) -> None:
    ages, _ = carry(NO_PIECES, before, A, A)
    found = woken(ages, before, now, INTERVALS)
    counts, _ = woken_bytes(found, *single(now), np.array([SECOND], np.int64))
    assert counts.sum() == found.size.sum()
    assert found.size.sum() <= before.sizes[before.nr_accesses == 0].sum()
    assert (now.nr_accesses[found.region] > 0).all()
    per_region = np.bincount(found.region, weights=found.size, minlength=len(now))
    assert (per_region <= now.sizes).all()
    assert (found.idle_us > 0).all()


@given(any_regions(most=6), st.data())
def test_splitting_wakes_nothing_more(before: Regions, data: st.DataObject) -> None:
    """A snapshot whose regions are cut in two wakes the same bytes at the same ages, once above the merging bound."""
    now = data.draw(any_regions(most=6))
    now = Regions(now.target, now.start, now.end, np.where(now.nr_accesses > 0, 20, 0).astype(np.uint32), now.age)
    middle = now.start + now.sizes // 2
    halves = Regions(
        *(
            np.stack(pair, axis=1).ravel()
            for pair in (
                (now.target, now.target),
                (now.start, middle),
                (middle, now.end),
                (now.nr_accesses, now.nr_accesses),
                (now.age, now.age),
            )
        )
    )
    ages, _ = carry(NO_PIECES, before, A, A)
    whole, split = (woken(ages, before, each, INTERVALS) for each in (now, halves))
    bounds = np.array([SECOND, 10 * SECOND], np.int64)
    told = [woken_bytes(found, *single(each), bounds)[0].tolist() for found, each in ((whole, now), (split, halves))]
    assert told[0] == told[1]
