"""What one kdamond's snapshots add up to: counters that go on, gauges of the last, a window of working sets."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis import bands, heatmap, idle, reaccess, workingset
from damon_exporter.analysis.bands import I64, Groups
from damon_exporter.analysis.snapshot import F64, LONGEST_GAP, Intervals, Snapshot, follows
from damon_exporter.config import Export
from damon_exporter.row import Row
from damon_exporter.state import Histogram, TargetState, histograms


@dataclass(frozen=True, slots=True)
class _Latest:
    """The last snapshot and what was made of it: bytes by target, and by target and band.

    ``names`` are the targets; of those that are not ``present`` the snapshot has no region.
    """

    snapshot: Snapshot
    names: tuple[str, ...]
    group: Groups
    present: NDArray[np.bool_]
    working_sets: I64
    bands: I64 | None
    ages: idle.IdleAges | None


class MonitorSeries:
    """Takes in the snapshots of one kdamond, in time order, and tells the state of each of its targets.

    Targets are groups: several target indexes of the kdamond may be summed into one. A target that is not named
    any more is forgotten with its counters; a new one starts at 0. One of which a snapshot has no region, as its
    processes are new, is not observed by it: its counters stand still, and it is not published.
    """

    def __init__(self, settings: Export, with_heatmap: bool) -> None:
        self._rows: dict[str, Row] = {}
        self._pieces = idle.NO_PIECES
        self._latest: _Latest | None = None
        self.reconfigure(settings, with_heatmap)

    def reconfigure(self, settings: Export, with_heatmap: bool) -> None:
        """Go on under other settings; what was seen last is published under them at once."""
        self._settings = settings
        self._bins = settings.heatmap.bins if with_heatmap else 0
        self._bounds = [bound for _, bound in settings.bands]
        self._idle_bounds_us = np.asarray([round(s * 1e6) for s in settings.idle_age], np.int64)
        self._rows = {name: row.under(settings, self._bins) for name, row in self._rows.items()}
        if latest := self._latest:
            self._latest = self._analysed(latest.snapshot, latest.names, latest.group, latest.ages)

    @property
    def latest(self) -> Snapshot | None:
        """The last snapshot taken in."""
        return self._latest.snapshot if self._latest else None

    @property
    def latest_ages(self) -> idle.IdleAges | None:
        """The idle ages of the last snapshot's regions, None while nothing tells their unit."""
        return self._latest.ages if self._latest else None

    def observe(self, snapshot: Snapshot, names: Sequence[str], group: Groups) -> None:
        """Take in a snapshot whose regions belong to the targets ``names[group]``."""
        self._rows = {name: self._rows.get(name) or Row(self._settings, self._bins) for name in names}
        before, elapsed_us = self._latest, self._elapsed_us(snapshot)
        latest = self._latest = self._analysed(snapshot, tuple(names), group, self._carry_idle(snapshot, elapsed_us))
        self._count(latest)
        intervals = snapshot.intervals
        if intervals and follows(elapsed_us, intervals):  # what covers a gap adds to nothing
            self._integrate(latest, intervals, elapsed_us)
            self._wake(before, latest, intervals)

    def rest(self) -> None:
        """Publish nothing until the next snapshot, and remember no idle ages; counters go on then."""
        self._latest = None
        self._pieces = idle.NO_PIECES

    def drop(self, indexes: Collection[int], names: Sequence[str]) -> None:
        """Forget what was seen of DAMON's targets with these indexes, and all targets but those with these names.

        The last snapshot is published without them.
        """
        self._pieces = idle.forget(self._pieces, indexes)
        self._rows = {name: row for name, row in self._rows.items() if name in names}
        if self._latest is None:
            return
        snapshot, group, ages = self._latest.snapshot, self._latest.group, self._latest.ages
        kept = ~np.isin(snapshot.regions.target, np.array([*indexes], np.uint32))
        rest = replace(snapshot, regions=snapshot.regions.only(kept))
        self._latest = self._analysed(rest, self._latest.names, group[kept], ages.only(kept) if ages else None)

    def targets(self, now_ns: int, wall_clock_offset_seconds: float) -> tuple[TargetState, ...]:
        """Return what to publish at ``now_ns`` (CLOCK_MONOTONIC); the offset turns that clock into Unix time."""
        latest = self._latest
        if latest is None:
            return ()
        timestamp = latest.snapshot.end_ns / 1e9 + wall_clock_offset_seconds
        sizes, by_band = latest.snapshot.regions.sizes, latest.bands
        idle_ages = self._idle_histograms(latest)
        regions = np.bincount(latest.group, minlength=len(latest.names))
        monitored = bands.sum_bytes(sizes, latest.group, len(latest.names))
        return tuple(
            TargetState(
                name=name,
                monitored_bytes=int(monitored[i]),
                regions=int(regions[i]),
                working_set_bytes=int(latest.working_sets[i]),
                working_set_percentiles=row.percentiles(now_ns),
                working_set_distribution=row.distribution(),
                observed_seconds=row.observed_seconds,
                estimated_access_bytes=int(row.estimated_access_bytes),
                snapshots=row.snapshots,
                counting_since=row.counting_since,
                last_snapshot_timestamp=timestamp,
                bands=row.bands(by_band[i]) if by_band is not None else None,
                idle_age=idle_ages[i] if idle_ages else None,
                reaccess_idle_age=row.woken() if idle_ages and row.observed_seconds else None,
                heatmap=row.heatmap(int(monitored[i])) if by_band is not None else None,
            )
            for i, name, row in self._present_rows(latest)
        )

    def _present_rows(self, latest: _Latest) -> Iterator[tuple[int, str, Row]]:
        """Yield the targets of which the snapshot has regions, with their positions in it."""
        for i in np.flatnonzero(latest.present).tolist():
            if row := self._rows.get(latest.names[i]):
                yield i, latest.names[i], row

    def _analysed(
        self, snapshot: Snapshot, names: tuple[str, ...], group: Groups, ages: idle.IdleAges | None
    ) -> _Latest:
        return _Latest(
            snapshot=snapshot,
            names=names,
            group=group,
            present=np.bincount(group, minlength=len(names)) > 0,
            working_sets=workingset.working_set(snapshot.regions, group, len(names)),
            bands=self._by_band(snapshot, group, len(names)),
            ages=ages,
        )

    def _elapsed_us(self, snapshot: Snapshot) -> int:
        """Return the time since the previous snapshot of the same kdamond; 0 if there is none."""
        before = self._latest
        if before is None or before.snapshot.kdamond != snapshot.kdamond:
            return 0
        return max((snapshot.end_ns - before.snapshot.end_ns) // 1000, 0)

    def _by_band(self, snapshot: Snapshot, group: Groups, groups: int) -> I64 | None:
        if snapshot.intervals is None:
            return None
        ratios = bands.access_ratios(snapshot.regions, snapshot.intervals)
        return bands.band_bytes(ratios, snapshot.regions.sizes, group, groups, self._bounds)

    def _carry_idle(self, snapshot: Snapshot, elapsed_us: int) -> idle.IdleAges | None:
        age_unit_us, intervals = snapshot.age_unit_us, snapshot.intervals
        if age_unit_us is None:
            self._pieces = idle.NO_PIECES
            return None
        before = self._pieces if elapsed_us else idle.NO_PIECES
        # Ages count aggregations, which take a little longer than A: only a real gap is taken by the clock.
        aggregation_us = max(age_unit_us, intervals.aggregation_us if intervals else 0)
        step_us = age_unit_us if elapsed_us <= LONGEST_GAP * aggregation_us else elapsed_us
        ages, self._pieces = idle.carry(before, snapshot.regions, age_unit_us, step_us)
        return ages

    def _count(self, latest: _Latest) -> None:
        """Add what needs no time: one observation per snapshot."""
        snapshot = latest.snapshot
        accessed = bands.estimated_access_bytes(snapshot.regions, latest.group, len(latest.names)).tolist()
        working_sets = latest.working_sets.tolist()
        for i, _, row in self._present_rows(latest):
            row.count(snapshot.end_ns, working_sets[i], accessed[i])

    def _integrate(self, latest: _Latest, intervals: Intervals, elapsed_us: int) -> None:
        """Add what is multiplied by the time that the snapshot covers."""
        if latest.bands is None:
            return
        heat = self._heat(latest, intervals) if self._bins else None
        for i, _, row in self._present_rows(latest):
            row.integrate(elapsed_us / 1e6, latest.bands[i], None if heat is None else heat[i])

    def _wake(self, before: _Latest | None, latest: _Latest, intervals: Intervals) -> None:
        """Add what was idle in the previous snapshot and is accessed now."""
        if before is None or before.ages is None:
            return
        found = reaccess.woken(before.ages, before.snapshot.regions, latest.snapshot.regions, intervals)
        if not len(found.size):
            return
        counts, sums = reaccess.woken_bytes(found, latest.group, len(latest.names), self._idle_bounds_us)
        for i, _, row in self._present_rows(latest):
            row.wake(counts[i], sums[i])

    def _heat(self, latest: _Latest, intervals: Intervals) -> F64:
        regions = latest.snapshot.regions
        ratios = bands.access_ratios(regions, intervals)
        return heatmap.bin_ratios(ratios, regions.sizes, latest.group, len(latest.names), self._bins)

    def _idle_histograms(self, latest: _Latest) -> list[Histogram] | None:
        if latest.ages is None:
            return None
        sizes = latest.snapshot.regions.sizes
        counts, sums = idle.idle_bytes(latest.ages, sizes, latest.group, len(latest.names), self._idle_bounds_us)
        return histograms(self._settings.idle_age, counts.tolist(), sums.tolist())
