"""Which intervals are in force: files show what was written, events what the kernel has made of it."""

from damon_exporter.analysis.snapshot import Intervals, Regions, Snapshot
from damon_exporter.roster import Watched


class LiveIntervals:
    """Follows one kdamond's intervals from its start or from when it was first seen.

    The kernel announces new intervals right before it prints the regions that were still counted under the old
    ones, but whose ages it has already converted to the new (mm/damon/core.c, kdamond_tune_intervals).
    """

    def __init__(self) -> None:
        self._announced_us: int | None = None
        self._tuned: Intervals | None = None

    def announce(self, sample_us: int) -> None:
        """Take note of a tuning event."""
        self._announced_us = sample_us

    def stamp(self, kdamond: Watched, end_ns: int, regions: Regions) -> Snapshot:
        """Return the snapshot of regions that have just been aggregated."""
        in_force = self._tuned or kdamond.intervals
        ages = in_force
        if self._announced_us is not None and kdamond.max_nr_accesses is not None:
            sample_us = self._announced_us
            ages = self._tuned = Intervals(sample_us, sample_us * kdamond.max_nr_accesses)
            self._announced_us = None
        return Snapshot(kdamond.pid, end_ns, regions, in_force, ages.aggregation_us if ages else None)
