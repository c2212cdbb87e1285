"""Heat by time and address: how often which addresses of one target were accessed when."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.snapshot import F64, U64, Regions, Snapshot, began_ns

_NONE = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ranges of addresses that were monitored at any time, with what was seen of each.

    Ascending, disjoint and not adjacent; addresses in bytes. ``heat`` is the sum of size · nr_accesses over all
    snapshots, divided by the size of the range.
    """

    start: U64
    end: U64
    heat: F64

    def __len__(self) -> int:
        return len(self.start)

    @property
    def hottest(self) -> int:
        """The position of the range with the most heat."""
        return int(np.argmax(self.heat))


@dataclass(frozen=True, slots=True)
class Frame:
    """What a map shows: a time (ns, CLOCK_MONOTONIC) by rows and a range of addresses (bytes) by columns.

    Rows and columns are of whole nanoseconds and bytes: what is left over at the ends is not shown.
    """

    start_ns: int
    end_ns: int
    start: int
    end: int
    rows: int
    columns: int

    @property
    def row_ns(self) -> int:
        """How long a row is."""
        return max((self.end_ns - self.start_ns) // self.rows, 1)

    @property
    def column_bytes(self) -> int:
        """How wide a column is."""
        return max((self.end - self.start) // self.columns, 1)


def observed_ns(snapshots: Sequence[Snapshot]) -> tuple[int, int]:
    """Return from when to when snapshots of a target tell of accesses: the first by its ages, too."""
    first = snapshots[0]
    return int(_since_ns(first, None).min(initial=began_ns(first, None))), snapshots[-1].end_ns


def monitored_ranges(snapshots: Sequence[Snapshot]) -> Ranges:
    """Return the ranges that regions of one target have covered."""
    parts = [snapshot.regions.only(snapshot.regions.sizes > 0) for snapshot in snapshots]
    starts = np.concatenate([_NONE, *(regions.start for regions in parts)])
    sizes = np.concatenate([_NONE, *(regions.sizes for regions in parts)])
    accesses = sizes.astype(np.float64) * np.concatenate([_NONE, *(regions.nr_accesses for regions in parts)])
    start, end = _union(starts, starts + sizes)
    heat = np.bincount(np.searchsorted(start, starts, side="right") - 1, weights=accesses, minlength=len(start))
    return Ranges(start, end, heat / (end - start))


def heat_by_time_and_space(snapshots: Sequence[Snapshot], frame: Frame) -> F64:
    """Return the mean accesses per second (hz) of every cell, shape (rows, columns); NaN where nothing was monitored.

    A region was accessed as often as its snapshot says since the previous snapshot: at most for as long as its age,
    where one is missing. The mean is over all of a cell, monitored or not. Where the intervals of a snapshot are not
    known, accesses per aggregation stand for accesses per second, in all snapshots.
    """
    heat = np.zeros((frame.rows, frame.columns))
    seen = np.zeros(heat.shape, np.bool_)
    known = all_intervals_known(snapshots)
    previous: int | None = None
    for snapshot in snapshots:
        per_second = 1e6 / snapshot.intervals.aggregation_us if known and snapshot.intervals else 1.0
        for since, regions in _by_time(snapshot, previous):
            rows, lengths = _rows(frame, since, snapshot.end_ns)
            covered, accesses = _bytes_by_column(frame, regions)
            heat[rows] += np.outer(lengths, accesses * per_second)
            seen[rows] |= np.outer(lengths > 0, covered > 0)
        previous = snapshot.end_ns
    heat /= float(frame.row_ns) * frame.column_bytes
    return np.where(seen, heat, np.nan)


def all_intervals_known(snapshots: Sequence[Snapshot]) -> bool:
    """Can accesses be told per second?"""
    return all(snapshot.intervals for snapshot in snapshots)


def _union(start: U64, end: U64) -> tuple[U64, U64]:
    """Return the union of ranges in ascending order; all have a size."""
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    first = np.concatenate(([True], start[1:] > reach[:-1])) if len(start) else np.empty(0, np.bool_)
    last = np.concatenate((first[1:], [True])) if len(start) else first
    return start[first], reach[last]


def _since_ns(snapshot: Snapshot, previous_end_ns: int | None) -> NDArray[np.int64]:
    """Return for each region from when on its accesses were as they are."""
    since = began_ns(snapshot, previous_end_ns) - snapshot.regions.age.astype(np.int64) * (
        (snapshot.age_unit_us or 0) * 1000
    )
    return since if previous_end_ns is None else np.maximum(since, previous_end_ns)


def _by_time(snapshot: Snapshot, previous_end_ns: int | None) -> Iterator[tuple[int, Regions]]:
    """Yield regions that were observed since the same time; mostly these are all."""
    since = _since_ns(snapshot, previous_end_ns)
    moments = np.unique(since).tolist()
    if len(moments) == 1:
        yield moments[0], snapshot.regions
        return
    for moment in moments:
        yield moment, snapshot.regions.only(since == moment)


def _rows(frame: Frame, since_ns: int, end_ns: int) -> tuple[slice, F64]:
    """Return the rows that a time touches, and how long (ns) it is in each."""
    low = min(max((since_ns - frame.start_ns) // frame.row_ns, 0), frame.rows)
    high = min(max(-((frame.start_ns - end_ns) // frame.row_ns), low), frame.rows)
    starts = frame.start_ns + np.arange(low, high, dtype=np.int64) * frame.row_ns
    lengths = np.minimum(starts + frame.row_ns, end_ns) - np.maximum(starts, since_ns)
    return slice(low, high), np.maximum(lengths, 0).astype(np.float64)


def _bytes_by_column(frame: Frame, regions: Regions) -> tuple[F64, F64]:
    """Return by column the bytes that regions cover, and the sum of bytes · nr_accesses."""
    low, high = np.uint64(frame.start), np.uint64(frame.start + frame.column_bytes * frame.columns)
    start = (np.clip(regions.start, low, high) - low).astype(np.float64)
    end = (np.clip(regions.end, low, high) - low).astype(np.float64)
    borders = np.column_stack((start, end)).ravel()
    edges = np.arange(frame.columns + 1, dtype=np.float64) * frame.column_bytes
    return _between(edges, borders, end - start), _between(edges, borders, (end - start) * regions.nr_accesses)


def _between(edges: F64, borders: F64, amounts: F64) -> F64:
    """Return how much lies between neighbouring edges, of amounts that are spread evenly between pairs of borders."""
    up_to = np.concatenate(([0.0], np.cumsum(amounts))).repeat(2)[1:-1]  # at the start and the end of each pair
    sums = np.interp(edges, borders, up_to)
    found: F64 = np.maximum(sums[1:] - sums[:-1], 0.0)
    return found
