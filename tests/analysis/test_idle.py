"""Idle ages: one physical story must read the same on kernels that count its age differently.

6.12 lets a region's age go on when its accesses fall from one or two of twenty to none; 7.3 starts it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from made_regions import MIB, PAGE, idle_at, regions

from damon_exporter.analysis.idle import NO_PIECES, carry
from damon_exporter.analysis.snapshot import Regions

A = 100_000
"""The aggregation interval, 100 ms in µs."""

KERNELS = ("6.12", "7.3")
AGE = {"6.12": 3, "7.3": 4}
"""Where in a row of a story stands the age that this kernel gives."""

LONG = 6_000
"""Ten minutes of aggregations."""


def as_kernel(kernel: str, rows: Sequence[tuple[int, ...]]) -> Regions:
    """Build the regions of (start, end, nr_accesses, age on 6.12, age on 7.3, target) in MiB as a kernel shows them."""
    return regions(*((r[0] * MIB, r[1] * MIB, r[2], r[AGE[kernel]], r[5] if len(r) > 5 else 0) for r in rows))


# One region that stays whole


@dataclass(frozen=True)
class Life:
    """What happens to one region: accesses of 20, the age that each kernel shows, the idle age in aggregations."""

    accesses: tuple[int, ...]
    ages: dict[str, tuple[int, ...]]
    idle: tuple[int, ...]


LIVES = {
    "touched a little for ten minutes, then left alone": Life(
        accesses=(1, 2, 0, 0, 0),
        ages={"6.12": (6000, 6001, 6002, 6003, 6004), "7.3": (6000, 6001, 0, 1, 2)},
        idle=(0, 0, 1, 2, 3),
    ),
    "left alone for ten minutes, touched a little, left alone again": Life(
        accesses=(0, 1, 0, 0),
        ages={"6.12": (6000, 6001, 6002, 6003), "7.3": (6000, 0, 0, 1)},
        idle=(6001, 0, 1, 2),
    ),
    "touched a little every second time": Life(
        accesses=(1, 0, 1, 0, 2, 0, 0),
        ages={"6.12": (50, 51, 52, 53, 54, 55, 56), "7.3": (50, 0, 0, 0, 0, 0, 1)},
        idle=(0, 1, 0, 1, 0, 1, 2),
    ),
    "busy, then left alone at once": Life(
        accesses=(20, 20, 0, 0),
        ages={"6.12": (10, 11, 0, 1), "7.3": (10, 11, 0, 1)},
        idle=(0, 0, 1, 2),
    ),
    "used less and less": Life(
        accesses=(5, 3, 1, 0, 0),
        ages={"6.12": (10, 11, 12, 13, 14), "7.3": (10, 11, 12, 0, 1)},
        idle=(0, 0, 0, 1, 2),
    ),
    "left alone, then busy": Life(
        accesses=(0, 0, 20, 20),
        ages={"6.12": (50, 51, 0, 1), "7.3": (50, 51, 0, 1)},
        idle=(51, 52, 0, 0),
    ),
    "never touched": Life(
        accesses=(0, 0, 0),
        ages={"6.12": (50, 51, 52), "7.3": (50, 51, 52)},
        idle=(51, 52, 53),
    ),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("story", LIVES)
def test_the_idle_age_of_a_region_tells_its_story_on_either_kernel(story: str, kernel: str) -> None:
    life = LIVES[story]
    pieces, told = NO_PIECES, []
    for accesses, age in zip(life.accesses, life.ages[kernel], strict=True):
        made = regions((0, MIB, accesses, age))
        ages, pieces = carry(pieces, made, A, A)
        told.append(idle_at(ages, made, 0) // A)
    assert tuple(told) == life.idle


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("story", LIVES)
def test_the_ages_of_the_stories_are_those_that_the_kernel_counts(story: str, kernel: str) -> None:
    """The rule of damon_merge_regions_of(), whose threshold is a tenth of the most that is possible."""
    life = LIVES[story]
    counted = [life.ages[kernel][0]]
    for before, now in pairwise(life.accesses):
        flipped = kernel == "7.3" and (before == 0) != (now == 0)
        counted.append(0 if abs(now - before) > 2 or flipped else counted[-1] + 1)
    assert tuple(counted) == life.ages[kernel]


# Regions that change, several targets, other intervals


@dataclass(frozen=True)
class Story:
    """Steps of (start, end, accesses, age on 6.12, age on 7.3[, target]), in MiB, and what is told at the end.

    ``idle`` are aggregations of 100 ms by (target, address in MiB); ``units`` are age units where they change.
    """

    steps: tuple[tuple[tuple[int, ...], ...], ...]
    idle: dict[tuple[int, int], int]
    units: tuple[int, ...] = field(default=())


STORIES = {
    "only a part had been accessed": Story(
        steps=(
            ((0, 4, 0, 100, 100), (4, 6, 1, LONG, LONG), (6, 9, 0, 100, 100)),
            ((0, 9, 0, 1412, 1412),),  # merged, with the mean of their ages
        ),
        idle={(0, 0): 1413, (0, 4): 1, (0, 5): 1, (0, 6): 1413},
    ),
    "split after it was left alone": Story(
        steps=(
            ((0, 8, 2, LONG, LONG),),
            ((0, 8, 0, LONG + 1, 0),),
            ((0, 3, 0, LONG + 2, 1), (3, 8, 0, LONG + 2, 1)),
            ((0, 3, 0, LONG + 3, 2), (3, 5, 20, 0, 0), (5, 8, 0, LONG + 3, 2)),
        ),
        idle={(0, 0): 3, (0, 2): 3, (0, 3): 0, (0, 4): 0, (0, 5): 3, (0, 7): 3},
    ),
    "merged with one that was left alone at the same time": Story(
        steps=(
            ((0, 2, 1, LONG, LONG), (2, 6, 2, 40, 40)),
            ((0, 2, 0, LONG + 1, 0), (2, 6, 0, 41, 0)),
            ((0, 6, 0, 2028, 1),),
            ((0, 6, 0, 2029, 2),),
        ),
        idle={(0, 0): 3, (0, 1): 3, (0, 2): 3, (0, 5): 3},
    ),
    "touched again in one half after a split": Story(
        steps=(
            ((0, 8, 2, LONG, LONG),),
            ((0, 8, 0, LONG + 1, 0),),
            ((0, 4, 0, LONG + 2, 1), (4, 8, 1, LONG + 2, 0)),
            ((0, 4, 0, LONG + 3, 2), (4, 8, 0, LONG + 3, 0)),
        ),
        idle={(0, 0): 3, (0, 3): 3, (0, 4): 1, (0, 7): 1},
    ),
    "borders that wander over what had been accessed": Story(
        steps=(
            ((0, 3, 1, LONG, LONG), (3, 8, 0, 50, 50)),
            ((0, 3, 0, LONG + 1, 0), (3, 8, 0, 51, 51)),
            ((0, 2, 0, LONG + 2, 1), (2, 8, 0, 1044, 43)),  # merged, with the mean of their ages
        ),
        idle={(0, 0): 2, (0, 2): 2},
    ),
    "two targets at the same addresses": Story(
        steps=(
            ((0, 4, 1, LONG, LONG, 0), (0, 4, 0, 70, 70, 1)),
            ((0, 4, 0, LONG + 1, 0, 0), (0, 4, 0, 71, 71, 1)),
        ),
        idle={(0, 0): 1, (1, 0): 72},
    ),
    "the last of three targets": Story(
        steps=(
            ((0, 4, 0, 70, 70, 0), (0, 4, 20, 70, 70, 1), (0, 4, 2, LONG, LONG, 2)),
            ((0, 4, 0, 71, 71, 0), (0, 4, 20, 71, 71, 1), (0, 4, 0, LONG + 1, 0, 2)),
        ),
        idle={(0, 0): 72, (1, 0): 0, (2, 0): 1},
    ),
    "mapped elsewhere meanwhile": Story(
        steps=(
            ((0, 4, 1, LONG, LONG), (4, 8, 20, 1, 1)),
            ((4, 8, 20, 2, 2),),
            ((0, 4, 0, 0, 0), (4, 8, 20, 3, 3)),
            ((0, 4, 0, 1, 1), (4, 8, 20, 4, 4)),
        ),
        idle={(0, 0): 2, (0, 4): 0},
    ),
    "intervals doubled by auto-tuning, which halves the ages": Story(
        steps=(
            ((0, 4, 1, LONG, LONG),),
            ((0, 4, 0, 6001, 0),),
            ((0, 4, 0, 6002, 1),),
            ((0, 4, 0, 6003, 2),),
            ((0, 4, 0, 6004, 3),),
            ((0, 4, 0, 3002, 2),),  # 6005 and 4, halved
            ((0, 4, 0, 3003, 3),),
        ),
        idle={(0, 0): 4 + 2 * 2},  # four of 100 ms and two of 200 ms
        units=(A, A, A, A, A, 2 * A, 2 * A),
    ),
    "intervals halved by auto-tuning, which doubles the ages": Story(
        steps=(
            ((0, 4, 1, LONG, LONG),),
            ((0, 4, 0, 6001, 0),),
            ((0, 4, 0, 12004, 2),),  # 6002 and 1, doubled
            ((0, 4, 0, 12005, 3),),
            ((0, 4, 0, 12006, 4),),
            ((0, 4, 0, 12007, 5),),
        ),
        idle={(0, 0): 2 + 1 + 3},  # one of 200 ms; another one, which is counted as those that follow; and these
        units=(2 * A, 2 * A, A, A, A, A),
    ),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", STORIES)
def test_idle_ages_follow_the_bytes_on_either_kernel(name: str, kernel: str) -> None:
    story = STORIES[name]
    pieces = NO_PIECES
    for rows, unit in zip(story.steps, story.units or (A,) * len(story.steps), strict=True):
        made = as_kernel(kernel, rows)
        ages, pieces = carry(pieces, made, unit, unit)
    told = {(target, at): idle_at(ages, made, at * MIB, target) // A for target, at in story.idle}
    assert told == story.idle


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_that_has_just_stopped_keeps_its_idle_age_when_it_merges_with_one_idle_for_long(kernel: str) -> None:
    """Merging takes the mean of the ages, on 7.3 too; a small region would seem to have been idle for hours."""
    pieces = NO_PIECES
    for rows in (
        ((0, 1, 20, 5, 5), (1, 64, 0, LONG, LONG)),
        ((0, 1, 0, 0, 0), (1, 64, 0, LONG + 1, LONG + 1)),
        ((0, 64, 0, 5908, 5908),),
    ):
        made = as_kernel(kernel, rows)
        ages, pieces = carry(pieces, made, A, A)
    assert idle_at(ages, made, 0) == 2 * A
    assert idle_at(ages, made, MIB) == 5909 * A


@pytest.mark.parametrize("kernel", KERNELS)
def test_time_that_nobody_watched_counts_as_idle_if_the_kernel_says_so(kernel: str) -> None:
    pieces = NO_PIECES
    for rows, step in ((((0, 4, 1, LONG, LONG),), A), (((0, 4, 0, LONG + 30, 20),), 30 * A)):
        made = as_kernel(kernel, rows)
        ages, pieces = carry(pieces, made, A, step)
    assert idle_at(ages, made, 0) == {"6.12": 30 * A, "7.3": 21 * A}[kernel]


def test_truncating_a_tuned_age_loses_less_than_one_new_interval() -> None:
    told = {}
    for kernel, ages_of_kernel in (("6.12", (LONG, 6001, 6002, 3001)), ("7.3", (0, 0, 1, 1))):
        pieces = NO_PIECES
        for accesses, age, unit in zip((1, 0, 0, 0), ages_of_kernel, (A, A, A, 2 * A), strict=True):
            made = regions((0, MIB, accesses, age))
            ages, pieces = carry(pieces, made, unit, unit)
        told[kernel] = idle_at(ages, made, 0)
    assert 0 <= told["6.12"] - told["7.3"] < 2 * A


def test_without_an_earlier_snapshot_the_age_of_the_kernel_stands() -> None:
    made = regions((0, MIB, 0, 99), (MIB, 2 * MIB, 3, 99))
    ages, _ = carry(NO_PIECES, made, A, A)
    assert ages.region_us.tolist() == [100 * A, 0]
    assert not len(ages.patches)


@pytest.mark.parametrize("highest", [(2**48, 1), (2**47, 2**16)], ids=["an address", "a target index"])
def test_what_does_not_fit_into_one_line_keeps_the_ages_of_the_kernel(highest: tuple[int, int]) -> None:
    address, target = highest
    pieces = NO_PIECES
    for accesses in (1, 0):
        made = regions((0, MIB, accesses, LONG, 0), (address - MIB, address, accesses, LONG, target))
        ages, pieces = carry(pieces, made, A, A)
    assert ages.region_us.tolist() == [(LONG + 1) * A] * 2
    assert not len(ages.patches)
    assert not len(pieces)


def test_a_single_target_may_lie_anywhere() -> None:
    top = 2**64 - PAGE
    pieces = NO_PIECES
    for accesses in (1, 0):
        made = regions((top - MIB, top, accesses, LONG))
        ages, pieces = carry(pieces, made, A, A)
    assert idle_at(ages, made, top - 1) == A
