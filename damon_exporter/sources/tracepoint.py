"""The tracepoint source: batches of events of all kdamonds → whole aggregations.

An aggregation of which events are missing is dropped whole: half of a target would pass for all of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.snapshot import U64, Regions
from damon_exporter.kernel.trace_pages import Events
from damon_exporter.kernel.trace_ring import TraceBatch
from damon_exporter.sources.framing import NO_EVENTS, Frame, RegionEvents, frames

MOST_HELD = 1 << 20
"""Events of one aggregation; only a corrupt buffer gives more."""
FORGET_AFTER_NS = 3600 * 10**9
"""A kdamond that was silent for so long has ended; the longest intervals in use are minutes."""
QUIET_PERIODS = 2
"""Periods without an event, after which an aggregation with other targets than before is taken as whole."""


@dataclass(frozen=True, slots=True)
class Aggregation:
    """All regions of all targets of one kdamond; ``end_ns`` (CLOCK_MONOTONIC) is the time of the last event."""

    kdamond: int
    end_ns: int
    regions: Regions


@dataclass(frozen=True, slots=True)
class IntervalsTuned:
    """A kdamond changed its sampling interval at ``at_ns`` (CLOCK_MONOTONIC).

    The aggregation that follows was still collected with the intervals before; its ages are in the new unit.
    """

    kdamond: int
    at_ns: int
    sample_us: int


class Framer:
    """Takes batches in the order of time, gives aggregations as soon as they are known to be whole."""

    def __init__(self) -> None:
        self._incomplete_before = 0
        self._kdamonds: dict[int, _Kdamond] = {}
        self._lost_before = False

    def feed(self, batch: TraceBatch) -> list[Aggregation | IntervalsTuned]:
        """Return what the batch completes, in the order of time.

        A batch without events is worth feeding too: an aggregation may become whole by nothing following it.
        """
        lost = bool(batch.lost or batch.errors)
        doubt = lost or self._lost_before  # what stands behind a gap may have been held for this batch
        self._lost_before = lost
        tuned = list(_intervals_tuned(batch.intervals_tuned))
        results: list[Aggregation | IntervalsTuned] = [*tuned]
        events = _by_kdamond(batch.aggregated)
        for pid in self._kdamonds.keys() | events.keys() | {event.kdamond for event in tuned}:
            kdamond = self._kdamonds.setdefault(pid, _Kdamond(pid))
            borders = np.array([event.at_ns for event in tuned if event.kdamond == pid], np.uint64)
            results += kdamond.feed(events.get(pid, NO_EVENTS), borders, doubt, batch.horizon_ns)
            if batch.horizon_ns - kdamond.seen_ns > FORGET_AFTER_NS:
                self.forget(pid)
        return sorted(results, key=_time)

    @property
    def incomplete(self) -> int:
        """How many aggregations were dropped because events of them are missing, or tell what cannot be.

        These are the one under way when tracing began, those around a loss, and those of a corrupt page.
        """
        return self._incomplete_before + sum(kdamond.incomplete for kdamond in self._kdamonds.values())

    def forget(self, kdamond: int) -> None:
        """Drop what is known of a kdamond that has ended."""
        known = self._kdamonds.pop(kdamond, None)
        self._incomplete_before += known.incomplete if known else 0

    def begin_anew(self) -> None:
        """Drop what is known of all kdamonds: what is fed next does not follow on what was fed before."""
        self._lost_before = False
        for kdamond in [*self._kdamonds]:
            self.forget(kdamond)


def _time(result: Aggregation | IntervalsTuned) -> int:
    return result.end_ns if isinstance(result, Aggregation) else result.at_ns


def _intervals_tuned(events: Events) -> Iterator[IntervalsTuned]:
    pids, sample_us = events.data["common_pid"].tolist(), events.data["sample_us"].tolist()
    return map(IntervalsTuned, pids, events.ts.tolist(), sample_us)


def _by_kdamond(events: Events) -> dict[int, RegionEvents]:
    pids = np.ascontiguousarray(events.data["common_pid"])
    columns = RegionEvents.of(events)
    if len(pids) and (pids == pids[0]).all():
        return {int(pids[0]): columns}
    return {int(pid): columns.part(pids == pid) for pid in np.unique(pids)}


class _Kdamond:
    """What is known of one kdamond between batches."""

    def __init__(self, pid: int) -> None:
        self.incomplete = 0
        self.seen_ns = 0
        self._pid = pid
        self._held = NO_EVENTS
        self._doubt = False
        self._border_seen = False
        self._targets: tuple[int, ...] = ()  # of the last whole aggregation
        self._released: tuple[int, ...] = ()  # of one that went out before anything followed it
        self._end_ns = 0
        self._period_ns = 0

    def feed(self, fresh: RegionEvents, tuned_ns: U64, doubt: bool, horizon_ns: int) -> Iterator[Aggregation]:
        """Give the aggregations that these events and times make whole; hold what is under way."""
        events = self._held.then(fresh)
        self._doubt = doubt or (self._doubt and self._held.number > 0)
        self.seen_ns = max([self.seen_ns, *events.ts[-1:].tolist(), *tuned_ns[-1:].tolist()])
        borders = np.searchsorted(events.ts, tuned_ns)
        framed = self._without_late_segments(frames(events, borders), borders)
        under_way = framed.pop() if framed and events.number not in borders else None
        for frame in framed:
            yield from self._finish(events, frame)
        self._held = NO_EVENTS
        if under_way is None:
            return
        if under_way.complete and under_way.targets == self._targets:
            yield from self._finish(events, under_way)
            self._released = under_way.targets
        elif self._is_over(int(events.ts[-1]), horizon_ns) or under_way.end - under_way.begin > MOST_HELD:
            yield from self._finish(events, under_way)
        else:
            self._held = events.part(slice(under_way.begin, None))

    def _without_late_segments(self, framed: list[Frame], borders: NDArray[np.int64]) -> list[Frame]:
        """A target that joins an aggregation which is already out makes none of its own."""
        if 0 in borders:
            self._border_seen, self._released = True, ()
        if framed and self._released and framed[0].targets[0] > self._released[-1]:
            framed[0] = replace(framed[0], complete=False)
        return framed

    def _finish(self, events: RegionEvents, frame: Frame) -> Iterator[Aggregation]:
        begin_ns, end_ns = int(events.ts[frame.begin]), int(events.ts[frame.end - 1])
        if frame.complete and self._is_plausible(frame, end_ns - begin_ns):
            self._targets = frame.targets
            yield Aggregation(self._pid, end_ns, events.part(slice(frame.begin, frame.end)).regions())
        else:
            self.incomplete += 1
        if self._end_ns and not self._doubt:
            self._period_ns = end_ns - self._end_ns
        self._end_ns = end_ns
        self._border_seen, self._released = True, ()

    def _is_plausible(self, frame: Frame, duration_ns: int) -> bool:
        """Whether no whole target is missing."""
        if not self._border_seen and frame.targets[0] != 0:
            return False  # tracing may have begun between two targets
        if not self._doubt:
            return True  # a target that is not there has gone
        # Half of one aggregation and half of a later one can look like one, but not in that time.
        mended = 0 < self._period_ns < 2 * duration_ns
        return bool(self._targets) and set(self._targets) <= set(frame.targets) and not mended

    def _is_over(self, last_ns: int, horizon_ns: int) -> bool:
        return 0 < QUIET_PERIODS * self._period_ns < horizon_ns - last_ns
