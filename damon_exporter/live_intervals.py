"""Which intervals are in force: files show what was written, events what the kernel has made of it."""

from math import log

from damon_exporter.analysis.snapshot import Intervals, Regions, Snapshot
from damon_exporter.roster import Watched

ENOUGH_VOTES = 3
"""How often in a row regions must come as a changed file says: with one lost, any interval looks longer."""


class LiveIntervals:
    """Follows one kdamond's intervals from its start or from when it was first seen.

    The kernel announces new intervals right before it prints the regions that were still counted under the old
    ones, but whose ages it has already converted to the new (mm/damon/core.c, kdamond_tune_intervals).
    """

    def __init__(self) -> None:
        self._announced_us: int | None = None
        self._tuned: Intervals | None = None
        self._previous_end_ns: int | None = None
        self._committed: Intervals | None = None
        self._votes = 0

    def announce(self, sample_us: int) -> None:
        """Take note of a tuning event."""
        self._announced_us = sample_us

    def stamp(self, kdamond: Watched, end_ns: int, regions: Regions) -> Snapshot:
        """Return the snapshot of regions that have just been aggregated."""
        in_force = self._in_force(kdamond, end_ns)
        self._previous_end_ns = end_ns
        ages = in_force
        if self._announced_us is not None and kdamond.max_nr_accesses is not None:
            sample_us = self._announced_us
            ages = self._tuned = Intervals(sample_us, sample_us * kdamond.max_nr_accesses)
            self._announced_us = None
        return Snapshot(kdamond.pid, end_ns, regions, in_force, ages.aggregation_us if ages else None)

    def _in_force(self, kdamond: Watched, end_ns: int) -> Intervals | None:
        """Return the intervals under which regions that end now were counted, None while nothing tells them."""
        if not kdamond.tuned:
            self._tuned = None
            if kdamond.in_force_since_ns is None:
                return self._if_committed(kdamond.intervals, end_ns)
            if end_ns >= kdamond.in_force_since_ns or self._committed is None:
                self._committed, self._votes = kdamond.intervals, 0
            return self._committed
        if self._tuned or kdamond.refreshed:
            return self._tuned or kdamond.intervals
        return kdamond.intervals if self._confirmed(kdamond.intervals, end_ns) else None

    def _if_committed(self, written: Intervals | None, end_ns: int) -> Intervals | None:
        """Return the intervals in force of a kdamond that is not tuned, None while it is in doubt.

        Files also show what has been written and not committed: a new aggregation interval is believed when regions
        have come about as often as it says for some times. Of a sampling interval alone nothing can be told.
        """
        before, elapsed_us = self._committed, self._since_previous_us(end_ns)
        if written is None or before is None or written.aggregation_us == before.aggregation_us or not elapsed_us:
            self._committed, self._votes = written, 0
        elif abs(log(elapsed_us / written.aggregation_us)) >= abs(log(elapsed_us / before.aggregation_us)):
            self._votes = 0
        else:
            self._votes += 1
            if self._votes < ENOUGH_VOTES:
                return None
            self._committed = written
        return self._committed

    def _since_previous_us(self, end_ns: int) -> float | None:
        return None if self._previous_end_ns is None else (end_ns - self._previous_end_ns) / 1000

    def _confirmed(self, written: Intervals | None, end_ns: int) -> bool:
        """Do regions come about as often as the files say? Whoever was tuned before we came does not stick to them."""
        elapsed_us = self._since_previous_us(end_ns)
        if written is None or elapsed_us is None:
            return False
        return written.aggregation_us / 2 < elapsed_us < written.aggregation_us * 2
