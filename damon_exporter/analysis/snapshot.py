"""The one shape in which every source hands over what DAMON saw."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
F64 = NDArray[np.float64]

LONGEST_GAP = 2
"""Aggregation intervals after which a snapshot does not follow the previous one: something between is missing."""

DEFAULT_AGGREGATION_US = 100_000
"""DAMON's own default, for the start of a first snapshot whose intervals nothing tells."""


def impossible(start: U64, end: U64, follows: NDArray[np.bool_] | bool = True) -> NDArray[np.bool_]:
    """Tell of each region whether no kernel makes it: it ends before it starts, or starts before the previous ends.

    ``follows`` says of each region but the first whether the previous one is of the same target and aggregation.
    Regions of no size are possible: kernels with CVE-2025-38519 make them.
    """
    found = end < start
    found[1:] |= (start[1:] < end[:-1]) & follows
    return found


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of one aggregation as parallel arrays, ordered by target index, then by start.

    ``target`` is the index in the kdamond's target list. ``start`` and ``end`` are addresses in bytes, end
    exclusive. ``nr_accesses`` counts the samples that found an access. ``age`` counts aggregation intervals.
    """

    target: U32
    start: U64
    end: U64
    nr_accesses: U32
    age: U32

    def __len__(self) -> int:
        return len(self.start)

    @property
    def sizes(self) -> U64:
        """Bytes per region."""
        return self.end - self.start

    def in_bytes(self, addr_unit: int) -> "Regions":
        """Return the same regions, whose addresses count units of ``addr_unit`` bytes, by addresses in bytes."""
        return self if addr_unit == 1 else replace(self, start=self.start * addr_unit, end=self.end * addr_unit)

    def only(self, which: NDArray[np.bool_] | slice) -> "Regions":
        """Return some of the regions."""
        return Regions(self.target[which], self.start[which], self.end[which], self.nr_accesses[which], self.age[which])


@dataclass(frozen=True, slots=True)
class Intervals:
    """The intervals of a kdamond, in microseconds."""

    sample_us: int
    aggregation_us: int

    @property
    def max_nr_accesses(self) -> int:
        """The most samples that one aggregation can count (the kernel's damon_max_nr_accesses)."""
        return max(self.aggregation_us // max(self.sample_us, 1), 1)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All regions of one kdamond at the end of one aggregation interval.

    ``end_ns`` is CLOCK_MONOTONIC. ``intervals`` were in force while the accesses were counted;
    ``age_unit_us`` is the length of one unit of ``age``, which auto-tuning changes one snapshot earlier.
    Both are None when nothing tells them. ``without_regions`` are targets that were reported, but had no regions then;
    only recordings tell of such.
    """

    kdamond: int
    end_ns: int
    regions: Regions
    intervals: Intervals | None
    age_unit_us: int | None
    without_regions: tuple[int, ...] = ()

    def by_target(self) -> Iterator[tuple[int, Regions]]:
        """Yield each target that was reported, with its regions."""
        found = np.unique(self.regions.target, return_index=True, return_counts=True)
        for target, first, count in zip(*(column.tolist() for column in found), strict=True):
            yield target, self.regions.only(slice(first, first + count))
        for target in self.without_regions:
            yield target, self.regions.only(slice(0))


def follows(elapsed_us: int, intervals: Intervals) -> bool:
    """Is nothing missing between two snapshots of a kdamond, the second of which ended so much later?"""
    return 0 < elapsed_us <= LONGEST_GAP * intervals.aggregation_us


def began_ns(snapshot: Snapshot, previous_end_ns: int | None) -> int:
    """Return when counting began: at the end of the previous snapshot, unless a gap lies between."""
    intervals = snapshot.intervals
    elapsed_ns = 0 if previous_end_ns is None else snapshot.end_ns - previous_end_ns
    if elapsed_ns > 0 and (intervals is None or follows(-(-elapsed_ns // 1000), intervals)):
        return snapshot.end_ns - elapsed_ns
    aggregation_us = intervals.aggregation_us if intervals else DEFAULT_AGGREGATION_US
    return max(snapshot.end_ns - aggregation_us * 1000, 0)
