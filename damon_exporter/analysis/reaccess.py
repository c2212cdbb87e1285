"""Bytes that were accessed again, by how long they had been idle: what reclaiming them would have brought back.

Two consecutive snapshots of a kdamond are joined by address. A byte woke up if it was idle in the first and lies in an
accessed region of the second. It does not wake because DAMON draws regions anew: halves of a split region come from one
that was idle or accessed as a whole, and merging takes care.

DAMON merges neighbours whose counts of accesses differ by at most a tenth of the most that is possible
(`damon_merge_regions_of`), so a region of one or two hits of twenty can be an idle one and an accessed one put
together. Such a region woke up only if all of it had been idle.

A region is the smallest thing that DAMON tells of: where any part of one is seen accessed, all of it is said to be, as
in the working set. So this is an upper bound: the closer, the larger what wakes up together is against the regions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.bands import I64, Groups, sum_bytes, sum_table
from damon_exporter.analysis.idle import IdleAges, Pieces, cut, flatten
from damon_exporter.analysis.segments import segments
from damon_exporter.analysis.snapshot import F64, U64, Intervals, Regions

MERGED_SHARE = 10
"""Regions merge if their counts differ by no more than the greatest possible count divided by this."""


@dataclass(frozen=True, slots=True)
class Woken:
    """Bytes that were accessed again: sizes, idle age (µs) in the snapshot before, and the region each lies in now."""

    size: U64
    idle_us: I64
    region: NDArray[np.intp]


def woken(ages: IdleAges, before: Regions, regions: Regions, intervals: Intervals) -> Woken:
    """Return what was idle in ``before``, whose idle ages are ``ages``, and is accessed in the next snapshot."""
    accessed = np.flatnonzero((regions.nr_accesses > 0) & (regions.start < regions.end))
    line, line_before = flatten(regions), flatten(before)
    if line is None or line_before is None or not len(accessed):
        return NOTHING
    start, end = line
    roused = _overlap(*line_before, start[accessed], end[accessed]) & (before.nr_accesses == 0)
    if not roused.any():
        return NOTHING
    pieces, region = cut(_pieces(ages.only(roused), before.only(roused)), start, end, accessed)
    size = pieces.end - pieces.start
    whole = sum_bytes(size, region, len(regions)) == regions.sizes.astype(np.int64)
    certain = whole | (regions.nr_accesses > intervals.max_nr_accesses // MERGED_SHARE)
    kept = certain[region]
    return Woken(size[kept], pieces.idle_us[kept], region[kept])


def woken_bytes(found: Woken, group: Groups, groups: int, bounds_us: I64) -> tuple[I64, F64]:
    """Return bytes per group and idle-age bucket, and Σ bytes · seconds, as `idle_bytes` does of those that sleep."""
    of_piece = group[found.region]
    bucket = np.searchsorted(bounds_us, found.idle_us, side="left")
    counts = sum_table(found.size, of_piece, groups, bucket, len(bounds_us) + 1)
    weights = found.size * (found.idle_us / 1e6)
    return counts, np.bincount(of_piece, weights=weights, minlength=groups).astype(np.float64)


def _overlap(start: U64, end: U64, other_start: U64, other_end: U64) -> NDArray[np.bool_]:
    """Tell of each interval whether any of the others overlaps it; all are in ascending order."""
    first = np.searchsorted(other_end, start, side="right")
    return np.concatenate((other_start, end[-1:]))[first] < end


def _pieces(ages: IdleAges, regions: Regions) -> Pieces:
    """Return all bytes of these regions with their idle ages."""
    found = segments(ages, regions)
    return Pieces(found.start, found.end, found.idle_us)


NOTHING = Woken(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.intp))
