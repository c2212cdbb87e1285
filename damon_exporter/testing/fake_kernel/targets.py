"""One monitored target: its regions, and how their accesses and ages go on from aggregation to aggregation."""

import errno
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from damon_exporter.analysis.snapshot import U32, U64
from damon_exporter.testing.fake_kernel.memory import Heat, Range, lay_out
from damon_exporter.testing.fake_kernel.parameters import Target
from damon_exporter.testing.fake_kernel.tree import fail

COLUMNS = ("start", "end", "ratio", "nr_accesses", "last_nr_accesses", "age")
START, END, AGE = (COLUMNS.index(name) for name in ("start", "end", "age"))
WHAT_WAS_SEEN = slice(COLUMNS.index("ratio"), AGE)


class Region(NamedTuple):
    """One region. ``accessed`` is the truth, and not whether DAMON has seen it."""

    start: int
    end: int
    nr_accesses: int
    age: int
    accessed: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    def cut(self, size: int) -> "tuple[Region, Region]":
        """So many bytes, and the rest."""
        address = self.start + size
        return self._replace(end=address), self._replace(start=address)


class MonitoredTarget:
    """Regions as parallel arrays: ``start``, ``end``, ``nr_accesses`` of the last window, ``age`` in aggregations.

    ``ranges`` is what is monitored of the target now, which may not be what a commit asked for just now.
    """

    def __init__(self, target: Target, ranges: Sequence[Range] = ()) -> None:
        self.target = target
        self.ranges = ranges
        self.start: U64 = np.zeros(0, np.uint64)
        self.end: U64 = np.zeros(0, np.uint64)
        self.ratio = np.zeros(0, np.float64)
        self.nr_accesses: U32 = np.zeros(0, np.uint32)
        self.last_nr_accesses: U32 = np.zeros(0, np.uint32)
        self.age: U32 = np.zeros(0, np.uint32)
        self._is_cut = False  # by schemes, and so some regions may go together again

    def __len__(self) -> int:
        return len(self.start)

    @property
    def sizes(self) -> U64:
        """Bytes per region."""
        return self.end - self.start

    @property
    def total_bytes(self) -> int:
        """All that is monitored."""
        return sum(end - start for start, end in self.ranges)

    def regions(self) -> list[Region]:
        """All regions one by one."""
        columns = (self.start, self.end, self.nr_accesses, self.age, self.ratio > 0)
        return list(map(Region, *(column.tolist() for column in columns)))

    def at(self, address: int) -> int | None:
        """The place of the region with this address inside, and not at its start; None if there is none."""
        index = int(np.searchsorted(self.start, np.uint64(address))) - 1
        return index if index >= 0 and address < self.end[index] else None

    def cut(self, address: int) -> None:
        """damon_split_region_at(): two regions that know what the one knew that had the address inside."""
        index = self.at(address)
        if index is None:
            return
        for name in COLUMNS:
            column = getattr(self, name)
            setattr(self, name, np.insert(column, index + 1, column[index]))
        self.end[index] = self.start[index + 1] = address
        self._is_cut = True

    def join(self, largest: int, *, of_one_age: bool) -> None:
        """Put together what schemes have cut, up to a size: after each pass, damos_apply_target(), what is of one age.

        At every aggregation, damon_merge_regions_of(), all that is accessed alike; its age is the mean by bytes.
        """
        if not self._is_cut:
            return
        joined = Joined(largest, of_one_age=of_one_age)
        for row in zip(*(getattr(self, name).tolist() for name in COLUMNS), strict=True):
            joined.add(*row)
        for name, values in zip(COLUMNS, zip(*joined.rows, strict=True), strict=True):
            setattr(self, name, np.array(values, getattr(self, name).dtype))
        self._is_cut = of_one_age

    def lay_out(self, heats: Sequence[Heat], largest: int) -> None:
        """Cut the ranges into regions. What was known of an address goes on in the region that holds it now."""
        layout = lay_out(self.ranges, heats, largest)
        self._is_cut = False
        known_nr, known_age = self._known_at(layout.start)
        self.start, self.end, self.ratio = layout.start, layout.end, layout.ratio
        self.nr_accesses, self.last_nr_accesses, self.age = known_nr.copy(), known_nr, known_age

    def _known_at(self, addresses: U64) -> tuple[U32, U32]:
        """Accesses and age at some addresses; 0 where nothing was monitored."""
        if not len(self):
            return np.zeros(len(addresses), np.uint32), np.zeros(len(addresses), np.uint32)
        index = np.clip(np.searchsorted(self.start, addresses, side="right") - 1, 0, None)
        inside = (self.start[index] <= addresses) & (addresses < self.end[index])
        return (
            np.where(inside, self.nr_accesses[index], 0).astype(np.uint32),
            np.where(inside, self.age[index], 0).astype(np.uint32),
        )

    def sample(self, samples: int) -> None:
        """Count the accesses of one aggregation interval."""
        self.last_nr_accesses = self.nr_accesses
        self.nr_accesses = np.rint(self.ratio * samples).astype(np.uint32)

    def grow_older(self, threshold: int, *, flip_resets: bool) -> None:
        """damon_merge_regions_of(): a notable change of the accesses starts the age over.

        Since 7.3 so does every change from or to zero (``flip_resets``), however small.
        """
        now, before = self.nr_accesses.astype(np.int64), self.last_nr_accesses.astype(np.int64)
        changed = np.abs(now - before) > threshold
        if flip_resets:
            changed |= (now == 0) != (before == 0)
        self.age = np.where(changed, 0, self.age + 1).astype(np.uint32)

    def rescale_ages(self, old_aggr_us: int, new_aggr_us: int) -> None:
        """Ages count aggregations; keep the time that they stand for."""
        self.age = (self.age.astype(np.uint64) * old_aggr_us // max(new_aggr_us, 1)).astype(np.uint32)


class Joined:
    """Regions, as rows of `COLUMNS`, of which neighbours become one where nothing is lost by it."""

    def __init__(self, largest: int, *, of_one_age: bool) -> None:
        self.rows: list[list[float]] = []
        self._largest = largest
        self._of_one_age = of_one_age

    def add(self, *row: float) -> None:
        """Take the next region, which begins where the last one ends or later."""
        if not (self.rows and self._fits(self.rows[-1], row)):
            self.rows.append([*row])
            return
        last = self.rows[-1]
        size, more = last[END] - last[START], row[END] - row[START]
        last[AGE] = (last[AGE] * size + row[AGE] * more) // (size + more)
        last[END] = row[END]

    def _fits(self, last: Sequence[float], row: Sequence[float]) -> bool:
        alike = [*last[WHAT_WAS_SEEN]] == [*row[WHAT_WAS_SEEN]] and (last[AGE] == row[AGE] or not self._of_one_age)
        return alike and last[END] == row[START] and row[END] - last[START] <= self._largest


def merged_targets(running: Sequence[MonitoredTarget], wanted: Sequence[Target]) -> list[MonitoredTarget]:
    """damon_commit_targets(): target i goes on as target i, with the regions that it has unless the user gives others.

    Targets that are obsolete or missing at the end leave. An obsolete one that is not there: EINVAL.
    """
    if any(target.obsolete for target in wanted[len(running) :]):
        raise fail(errno.EINVAL)
    merged = []
    for index, target in enumerate(wanted):
        if target.obsolete:
            continue
        monitored = running[index] if index < len(running) else MonitoredTarget(target)
        monitored.target = target
        monitored.ranges = target.regions or monitored.ranges
        merged.append(monitored)
    return merged
