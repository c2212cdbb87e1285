"""Where one aggregation of a kdamond ends and the next begins, told from its region events alone.

At the end of each aggregation interval a kdamond emits one ``damon_aggregated`` event per region, target after
target, with ascending addresses, and each event says how many regions its target has. Nothing marks the borders:

- a segment, the regions of one target, ends where the target or the number of regions changes, where the address
  descends, or where the number is reached; it is complete if it is as long as its events say and every region of it
  is possible. A region of no size begins where the next one does;
- an aggregation is a sequence of segments with ascending targets. The event that tells tuned intervals comes
  before all events of its aggregation, and so ends the one before.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.snapshot import U32, U64, Regions, impossible
from damon_exporter.kernel.trace_pages import Events


class RegionEvents(NamedTuple):
    """Region events as parallel arrays in the order of time; ``said`` is the number of regions of the target."""

    ts: U64
    target: U32
    said: U32
    start: U64
    end: U64
    nr_accesses: U32
    age: U32

    @classmethod
    def of(cls, events: Events) -> Self:
        """Take the arrays out of the structured events."""
        data = events.data
        return cls(
            events.ts,
            data["target_id"].astype(np.uint32),
            data["nr_regions"].astype(np.uint32),
            data["start"].astype(np.uint64),
            data["end"].astype(np.uint64),
            data["nr_accesses"].astype(np.uint32),
            data["age"].astype(np.uint32),
        )

    @property
    def number(self) -> int:
        """How many events."""
        return len(self.ts)

    def part(self, which: slice | NDArray[np.bool_]) -> Self:
        """Return some of the events."""
        columns: tuple[NDArray[Any], ...] = self
        return type(self)(*(column[which] for column in columns))

    def then(self, later: Self) -> Self:
        """Return these and later events."""
        if not self.number:
            return later
        if not later.number:
            return self
        earlier: tuple[NDArray[Any], ...] = self
        following: tuple[NDArray[Any], ...] = later
        return type(self)(*(np.concatenate(pair) for pair in zip(earlier, following, strict=True)))

    def regions(self) -> Regions:
        """Return what the events tell, without the frame."""
        return Regions(self.target, self.start, self.end, self.nr_accesses, self.age)


NO_EVENTS = RegionEvents(
    np.empty(0, np.uint64),
    np.empty(0, np.uint32),
    np.empty(0, np.uint32),
    np.empty(0, np.uint64),
    np.empty(0, np.uint64),
    np.empty(0, np.uint32),
    np.empty(0, np.uint32),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """One aggregation, or what there is of it: events from ``begin`` to before ``end``.

    ``complete`` tells whether every segment of it is.
    """

    begin: int
    end: int
    targets: tuple[int, ...]
    complete: bool


def frames(events: RegionEvents, borders: NDArray[np.int64]) -> list[Frame]:
    """Cut a kdamond's events into aggregations; ``borders`` are indices before which one surely ends."""
    total = len(events.ts)
    if not total:
        return []
    opens = _segment_begins(events, borders)
    begins = np.flatnonzero(opens)
    lengths = np.diff(begins, append=total)
    overlong = lengths > events.said[begins]
    if overlong.any():
        for begin, length in zip(begins[overlong].tolist(), lengths[overlong].tolist(), strict=True):
            opens[begin : begin + length : max(int(events.said[begin]), 1)] = True
        begins = np.flatnonzero(opens)
        lengths = np.diff(begins, append=total)
    whole = lengths == events.said[begins]
    bad = impossible(events.start, events.end, ~opens[1:])
    if bad.any():
        whole &= ~np.logical_or.reduceat(bad, begins)
    targets = events.target[begins]
    firsts = np.ones(len(begins), np.bool_)
    firsts[1:] = targets[1:] <= targets[:-1]
    if len(borders):
        firsts |= np.isin(begins, borders)
    first = np.flatnonzero(firsts)
    complete = np.logical_and.reduceat(whole, first).tolist()
    cuts = [*first.tolist(), len(begins)]
    edges = [*begins.tolist(), total]
    named = targets.tolist()
    return [
        Frame(edges[a], edges[b], tuple(named[a:b]), ok) for a, b, ok in zip(cuts, cuts[1:], complete, strict=False)
    ]


def _segment_begins(events: RegionEvents, borders: NDArray[np.int64]) -> NDArray[np.bool_]:
    opens = np.ones(len(events.ts), np.bool_)
    opens[1:] = events.target[1:] != events.target[:-1]
    opens[1:] |= events.start[1:] < events.start[:-1]
    opens[1:] |= events.said[1:] != events.said[:-1]
    opens[borders[borders < len(opens)]] = True
    return opens
