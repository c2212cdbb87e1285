"""All monitors that are being watched, each known by name, and the kdamonds that nobody has named yet."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from damon_exporter.analysis.snapshot import Snapshot
from damon_exporter.config import Export
from damon_exporter.feeds import Report
from damon_exporter.kernel.deaths import Deaths
from damon_exporter.kernel.procfs import Identity
from damon_exporter.physical import PhysicalView
from damon_exporter.roster import Roster, Watched
from damon_exporter.scheme_totals import SchemeTotals
from damon_exporter.sources.scheme_events import SchemeReport
from damon_exporter.sources.tracepoint import Aggregation
from damon_exporter.state import MonitorState
from damon_exporter.watch import Tap, Watch

LONGEST_ANONYMITY = 15.0
"""How long (s) reports of a kdamond are kept until the supervisor finds out whose it is."""

MOST_HELD_REPORTS = 512


@dataclass(slots=True)
class _Anonymous:
    """What a kdamond has reported before anybody knew whose it is."""

    heard_at: float
    reports: deque[Report] = field(default_factory=lambda: deque(maxlen=MOST_HELD_REPORTS))


class Watches:
    """Gives each report to the monitor that it belongs to; no report is lost while the owner is looked up."""

    def __init__(self, export: Export, source: str, procfs: Path, tap: Tap | None = None) -> None:
        self._export = export
        self._source = source
        self._procfs = procfs
        self._tap = tap
        self._deaths = Deaths(procfs)
        self._ended: frozenset[Identity] = frozenset()
        self._watches: dict[str, Watch] = {}
        self._resting: dict[str, Watch] = {}
        self._by_pid: dict[int, Watch] = {}
        self._anonymous: dict[int, _Anonymous] = {}
        self._schemes: dict[str, SchemeTotals] = {}
        self.unidentified = 0

    def reconfigure(self, export: Export) -> None:
        """Go on under other settings."""
        self._export = export
        for watch in (*self._watches.values(), *self._resting.values()):
            watch.reconfigure(export)

    def take_in(self, reports: Sequence[Report], roster: Roster, now: float) -> bool:
        """Deliver what has been reported before the roster was asked for; True if the supervisor should look again.

        It should if a kdamond that nobody knows has been heard of for the first time, or a process has ended. What a
        kdamond reported before its end goes to those who knew it; all else to those whom the roster names, as an index
        in a list of targets may be somebody else's by now.
        """
        known = {kdamond.pid for kdamond in roster.watched}
        gone = self._by_pid.keys() - known
        self.hear((report for report in reports if report.kdamond in gone), now)
        ended = self.follow(roster, now)
        strange = self.hear((report for report in reports if report.kdamond not in gone), now)
        return strange or ended

    def follow(self, roster: Roster, now: float) -> bool:
        """Take over what the supervisor knows by now; True if a process has ended since."""
        self._deaths.follow(process for kdamond in roster.watched for process in kdamond.processes)
        before, ended = self._ended, self._deaths.ended()
        self._ended = ended
        known = {kdamond.name: kdamond.without(ended) for kdamond in roster.watched}
        identified: list[int] = []
        for pid, waiting in list(self._anonymous.items()):
            if kdamond := roster.identify(pid, waiting.heard_at):
                known[kdamond.name] = kdamond.without(ended)
                identified.append(pid)
            elif now - waiting.heard_at > LONGEST_ANONYMITY:
                self.unidentified += 1
                del self._anonymous[pid]
        earlier, to_wait = self._resting | self._watches, {monitor.name for monitor in roster.waiting}
        self._watches = {
            name: self._watch(earlier.get(name), self._with_pid(kdamond), now) for name, kdamond in known.items()
        }
        self._resting = {name: watch for name, watch in earlier.items() if name in to_wait}
        for resting in self._resting.values():
            resting.rest()
        for watching in self._watches.values():
            watching.rest_if_asleep(now)
        self._by_pid = {watch.pid: watch for watch in self._watches.values() if watch.pid}
        for pid in identified:
            held = self._anonymous.pop(pid).reports
            if watch := self._by_pid.get(pid):  # unless a module that tells no pid has been restarted since
                for report in held:
                    self._deliver(watch, report)
        return not ended <= before

    def hear(self, reports: Iterable[Report], now: float) -> bool:
        """Deliver reports; True if a kdamond that nobody knows has been heard of for the first time."""
        strange = False
        for report in reports:
            if watch := self._by_pid.get(report.kdamond):
                self._deliver(watch, report)
                continue
            if report.kdamond not in self._anonymous:
                strange = True
                self._anonymous[report.kdamond] = _Anonymous(now)
            self._anonymous[report.kdamond].reports.append(report)
        return strange

    def states(self, now: float, wall_clock_offset: float) -> tuple[MonitorState, ...]:
        """Return every monitor's state at ``now`` (CLOCK_MONOTONIC, s)."""
        for watch in self._watches.values():
            watch.count_cpu(self._procfs)
        for_all = sum(watch.seconds_to_report for watch in self._watches.values())
        return tuple(watch.state(now, wall_clock_offset, for_all) for watch in self._watches.values())

    def views(self) -> dict[str, PhysicalView]:
        """Return physical memory as each of its monitors saw it last."""
        return {name: view for name, watch in self._watches.items() if (view := watch.view())}

    def close(self) -> None:
        """Follow no process any more."""
        self._deaths.close()

    def _watch(self, watch: Watch | None, kdamond: Watched, now: float) -> Watch:
        if watch is None or watch.operations != kdamond.operations:
            schemes = self._schemes.setdefault(kdamond.name, SchemeTotals())
            return Watch(self._export, kdamond, self._source, now, self._tap, schemes)
        watch.follow(kdamond, now)
        return watch

    def _with_pid(self, kdamond: Watched) -> Watched:
        """Keep the pid that a nameless module was found to have."""
        watch = self._watches.get(kdamond.name)
        if kdamond.pid == 0 and watch is not None:
            return replace(kdamond, pid=watch.pid)
        return kdamond

    @staticmethod
    def _deliver(watch: Watch, report: Report) -> None:
        if isinstance(report, Aggregation):
            watch.take(report.end_ns, report.regions)
        elif isinstance(report, Snapshot):
            watch.observe(report)
        elif isinstance(report, SchemeReport):
            watch.take_scheme(report)
        else:
            watch.announce_intervals(report.sample_us)
