"""One monitor as the sampler sees it: its series, its live intervals, what it has cost, when it last reported."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from damon_exporter.analysis.snapshot import Intervals, Regions, Snapshot
from damon_exporter.config import Export
from damon_exporter.grouping import grouping
from damon_exporter.kernel import procfs
from damon_exporter.kernel.procfs import Identity
from damon_exporter.live_intervals import LiveIntervals
from damon_exporter.physical import PhysicalView, physical_view
from damon_exporter.roster import ListedTarget, Watched
from damon_exporter.scheme_totals import SchemeTotals
from damon_exporter.series import MonitorSeries
from damon_exporter.sources.scheme_events import SchemeReport
from damon_exporter.state import MonitorState, TargetState, common_owner

SILENT_PERIODS = 3
"""How many aggregation intervals, or publications, a kdamond may be silent before something is wrong."""

SAMPLED_PATIENCE_SECONDS = 60.0
"""The sysfs source rests in proportion to what reading costs: seconds, where there are many regions."""

LONGEST_AGGREGATION = 200.0
"""What an unknown aggregation interval is taken for (s): DAMON_STAT tunes its own up to this."""

Tap = Callable[[Watched, Snapshot], None]
"""Somebody who wants to see every snapshot: a recording."""


class Watch:
    """Outlives restarts of its kdamond, so that counters go on."""

    def __init__(
        self,
        export: Export,
        kdamond: Watched,
        source: str,
        now: float,
        tap: Tap | None = None,
        schemes: SchemeTotals | None = None,
    ) -> None:
        self._tap = tap
        self._schemes = schemes or SchemeTotals()
        self._schemes.follow(kdamond)
        self._export = export
        self._series = MonitorSeries(export, _with_heatmap(export, kdamond))
        self._source = source
        self._intervals = LiveIntervals()
        self._kdamond = kdamond
        self._is_resting = False
        self._silent_since = now
        self._cpu_seconds = 0.0
        self._cpu_reading: float | None = None

    def reconfigure(self, export: Export) -> None:
        """Go on under other settings."""
        self._export = export
        self._series.reconfigure(export, _with_heatmap(export, self._kdamond))

    def rest(self) -> None:
        """Forget what was last seen: its monitor waits until it can run again, and counts on then."""
        self._series.rest()
        self._is_resting = True

    def rest_if_asleep(self, now: float) -> None:
        """Forget what was last seen once a kdamond that may be silent is: it would be taken for what is."""
        if self._is_asleep(now):
            self._series.rest()

    def follow(self, kdamond: Watched, now: float) -> None:
        """Go on with what the supervisor knows by now, perhaps another kdamond than before."""
        if kdamond.pid != self._kdamond.pid:
            self._cpu_reading = None
        if kdamond.pid != self._kdamond.pid or self._is_resting:
            self._intervals = LiveIntervals()
            self._silent_since = now
            self._is_resting = False
        left = _left(self._kdamond.targets or (), kdamond.targets or ())
        if left:
            self._series.drop(left, kdamond.names)
        self._kdamond = kdamond
        self._schemes.follow(kdamond)

    @property
    def pid(self) -> int:
        """The kdamond's pid, 0 while it is not known."""
        return self._kdamond.pid

    @property
    def operations(self) -> str:
        """DAMON's word for what is watched."""
        return self._kdamond.operations

    def announce_intervals(self, sample_us: int) -> None:
        """The kernel has tuned the intervals."""
        self._intervals.announce(sample_us)

    def take_scheme(self, report: SchemeReport) -> None:
        """Take in what a scheme did."""
        self._schemes.take(report)

    def take(self, end_ns: int, regions: Regions) -> None:
        """Take in the regions of one aggregation."""
        self.observe(self._intervals.stamp(self._kdamond, end_ns, regions.in_bytes(self._kdamond.addr_unit)))

    def observe(self, snapshot: Snapshot) -> None:
        """Take in a snapshot whose intervals are known."""
        grouped = grouping(self._kdamond, snapshot.regions, snapshot.end_ns)
        snapshot = replace(snapshot, regions=grouped.regions)
        self._series.observe(snapshot, grouped.names, grouped.group)
        if self._tap and len(grouped.regions):
            self._tap(self._kdamond, snapshot)
        self._silent_since = snapshot.end_ns / 1e9

    def count_cpu(self, path: Path) -> None:
        """Add what the kdamond has used since the last look."""
        kdamond = procfs.process(path, self._kdamond.pid) if self._kdamond.pid else None
        if kdamond is None or not kdamond.is_kdamond:
            return
        if self._cpu_reading is not None:
            self._cpu_seconds += max(kdamond.cpu_seconds - self._cpu_reading, 0.0)
        elif self._kdamond.owner == "exporter":
            self._cpu_seconds += kdamond.cpu_seconds  # it has worked for us from its first moment
        self._cpu_reading = kdamond.cpu_seconds

    @property
    def seconds_to_report(self) -> float:
        """How long (s) the kdamond takes to report once it is asked, 0 if it is not asked."""
        return self._aggregation() if self._kdamond.reporting else 0.0

    def overdue(self, now: float, seconds_for_all: float = 0.0) -> bool:
        """Has the kdamond been silent for longer than it may?

        ``seconds_for_all`` is how long it takes until every kdamond has reported, where one after the other is asked.
        """
        return self._kdamond.reporting and self._is_silent(now, seconds_for_all)

    def _is_asleep(self, now: float) -> bool:
        """Is a kdamond silent that may be: held back by its watermarks, or paused?"""
        return not self._kdamond.reporting and self._is_silent(now)

    def _is_silent(self, now: float, seconds_for_all: float = 0.0) -> bool:
        patience = SILENT_PERIODS * max(self._aggregation(), self._export.publish)
        if self._source == "sysfs":
            patience = max(patience, SILENT_PERIODS * seconds_for_all, SAMPLED_PATIENCE_SECONDS)
        return now - self._silent_since > patience

    def view(self) -> PhysicalView | None:
        """Return physical memory as it was last seen; None for processes, and while nothing tells the bands."""
        latest = self._series.latest
        if self.operations != "paddr" or latest is None:
            return None
        return physical_view(latest, self._series.latest_ages, [bound for _, bound in self._export.bands])

    def state(self, now: float, wall_clock_offset: float, seconds_for_all: float = 0.0) -> MonitorState:
        """Return what to publish at ``now`` (CLOCK_MONOTONIC, s). For ``seconds_for_all`` see `overdue`."""
        kdamond = self._kdamond
        late = self.overdue(now, seconds_for_all)
        latest = self._series.latest
        targets = tuple(self._owned(target) for target in self._series.targets(int(now * 1e9), wall_clock_offset))
        return MonitorState(
            name=kdamond.name,
            operations=kdamond.operations,
            source=self._source,
            owner=kdamond.owner,
            up=not late,
            reason=f"its kdamond has reported nothing for {now - self._silent_since:.0f} s" if late else "",
            restarts=kdamond.restarts,
            targets=targets,
            intervals=self._latest_intervals(),
            cpu_seconds=self._cpu_seconds if self._cpu_reading is not None else None,
            nr_targets=len(kdamond.living) or len(targets),
            targets_dropped=kdamond.dropped,
            last_snapshot_age_seconds=now - latest.end_ns / 1e9 if latest else None,
            schemes=self._schemes.states(),
        )

    def _owned(self, target: TargetState) -> TargetState:
        """Add what is known of the processes that are summed into it."""
        members = [each for each in self._kdamond.living if each.name == target.name and each.process]
        if not members:
            return target
        owners = [member.process.owner for member in members if member.process]
        resident = sum(member.resident_bytes for member in members)
        return replace(target, resident_bytes=resident, owner=common_owner(owners))

    def _aggregation(self) -> float:
        intervals = self._latest_intervals()
        return intervals.aggregation_us / 1e6 if intervals else LONGEST_AGGREGATION

    def _latest_intervals(self) -> Intervals | None:
        latest = self._series.latest
        return latest.intervals if latest else self._kdamond.intervals


def _with_heatmap(export: Export, kdamond: Watched) -> bool:
    return kdamond.operations == "paddr" or export.heatmap.processes


def _left(before: Sequence[ListedTarget], now: Sequence[ListedTarget]) -> set[int]:
    """Return the indexes at which somebody was who is not there any more."""
    pairs = enumerate(zip_longest(before, now))
    return {i for i, (old, new) in pairs if old and (new is None or _occupant(old) != _occupant(new))}


def _occupant(target: ListedTarget) -> tuple[str | None, Identity | None]:
    return target.name, target.identity
