"""Regions in few words, for tests of what is made of them."""

import numpy as np
from hypothesis import strategies as st

from damon_exporter.analysis.bands import Groups
from damon_exporter.analysis.idle import IdleAges
from damon_exporter.analysis.snapshot import Intervals, Regions
from damon_exporter.analysis.workingset import working_set

PAGE = 4096
MIB = 2**20

INTERVALS = Intervals(5_000, 100_000)
"""DAMON's defaults: 20 samples in 100 ms."""

Row = tuple[int, int, int, int, int]


def regions(*rows: tuple[int, ...]) -> Regions:
    """Build regions from (start, end, nr_accesses, age, target); the last two may be left out."""
    columns = [[*row, 0, 0][:5] for row in rows]
    start, end, nr_accesses, age, target = zip(*columns, strict=True) if columns else ((),) * 5
    return Regions(
        target=np.array(target, np.uint32),
        start=np.array(start, np.uint64),
        end=np.array(end, np.uint64),
        nr_accesses=np.array(nr_accesses, np.uint32),
        age=np.array(age, np.uint32),
    )


def single(of: Regions) -> tuple[Groups, int]:
    """Return the grouping that makes one target of all regions."""
    return np.zeros(len(of), np.intp), 1


def working_set_bytes(of: Regions) -> int:
    """Return the working set of all targets together."""
    return int(working_set(of, *single(of))[0])


def by_target(of: Regions) -> tuple[Groups, int]:
    """Return the grouping by target index."""
    return of.target.astype(np.intp), int(of.target.max(initial=0)) + 1


def idle_at(ages: IdleAges, made: Regions, address: int, target: int = 0) -> int:
    """Return the idle age (µs) of one byte."""
    inside = (made.target == target) & (made.start <= address) & (made.end > address)
    (region,) = np.flatnonzero(inside)
    position = (target << 48) + address
    patches = ages.patches
    (patch,) = np.nonzero((patches.start <= position) & (patches.end > position))
    if not len(patch):
        return int(ages.region_us[region])
    assert ages.patch_region[patch].tolist() == [region]
    return int(patches.idle_us[patch[0]])


@st.composite
def any_regions(
    draw: st.DrawFn, largest: int = 2**50, most_accesses: int = 25, targets: int = 3, most: int = 12
) -> Regions:
    """Regions of some targets, with gaps or without, of any size up to ``largest`` bytes altogether."""
    rows: list[Row] = []
    left = largest
    for target in range(draw(st.integers(1, targets))):
        at = 0
        for _ in range(draw(st.integers(0, most))):
            at += draw(st.sampled_from((0, 0, PAGE, 10 * MIB)))
            size = draw(st.integers(0, min(left, draw(st.sampled_from((PAGE, MIB, left))))))
            left -= size
            rows.append((at, at + size, draw(st.integers(0, most_accesses)), draw(st.integers(0, 1000)), target))
            at += size
    return regions(*rows)
