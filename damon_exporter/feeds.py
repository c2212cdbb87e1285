"""Where the sampler's reports come from on this host: the trace ring, or sysfs where there is none."""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from damon_exporter.analysis.snapshot import Snapshot
from damon_exporter.config import AutotunedIntervals, Config
from damon_exporter.kernel.commands import CommandWriter
from damon_exporter.kernel.damon_sysfs import DamonTree
from damon_exporter.kernel.errors import Busy, Ending, KernelError
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.trace_ring import TraceRing
from damon_exporter.roster import Roster, Watched
from damon_exporter.sources.scheme_events import SchemeReport, scheme_reports
from damon_exporter.sources.sysfs import Incomplete, TriedRegions
from damon_exporter.sources.tracepoint import Aggregation, Framer, IntervalsTuned
from damon_exporter.state import TraceState

log = logging.getLogger(__name__)

Report = Aggregation | IntervalsTuned | SchemeReport | Snapshot

INSTANCE = "damon_exporter"
"""The name of our trace instance."""

RETRY_SECONDS = 5.0
ENOUGH_SECONDS = 4.0
LEAST_EVENTS_PER_SECOND = 10_000
"""1000 regions every 100 ms: what DAMON_STAT, and any other kdamond with default settings, can print at most."""


class Feed(Protocol):
    """A source as the sampler sees it; only `wait` blocks."""

    name: str
    incomplete: int
    errors: Counter[str]
    trace: TraceState

    @property
    def up(self) -> Mapping[str, bool]:
        """Which sources work."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps a source from working, with the cure."""

    def expect(self, events_per_second: float) -> None:
        """Make room for so many events."""

    def wait(self, seconds: float) -> None:
        """Return when there is something to collect, or after ``seconds``."""

    def collect(self, roster: Roster, now: float) -> list[Report]:
        """Return what has been reported since the last call, in time order for each kdamond."""

    def close(self) -> None:
        """Leave nothing behind in the kernel."""


class TraceFeed:
    """Every aggregation of every kdamond; opened again and again while another exporter holds the instance."""

    name = "tracepoint"

    def __init__(self, paths: KernelPaths, events_per_second: float, instance: str) -> None:
        self.incomplete = 0
        self.errors: Counter[str] = Counter()
        self.trace = TraceState()
        self._ring = TraceRing(paths, name=instance, max_events_per_second=events_per_second)
        self._framer = Framer()
        self._problem = ""
        self._next_try = 0.0
        self._open()

    @property
    def up(self) -> Mapping[str, bool]:
        """Is the ring open?"""
        return {"tracepoint": not self._problem}

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the ring is not open."""
        return (self._problem,) if self._problem else ()

    def expect(self, events_per_second: float) -> None:
        """Make the buffers larger if need be; what they hold stays. Smaller ones do, as long as nobody is late."""
        try:
            self._ring.expect(events_per_second)
        except KernelError as error:
            self.errors["trace_ring"] += 1
            log.warning("the trace buffers stay as they are: %s", error)

    def wait(self, seconds: float) -> None:
        """Wait for a buffer to fill, at most for ``seconds``."""
        if self._problem:
            time.sleep(seconds)
        else:
            self._ring.wait(seconds)

    def collect(self, _: Roster, now: float) -> list[Report]:
        """Return whole aggregations and announcements of tuned intervals."""
        if self._problem:
            if now >= self._next_try:
                self._try_again()
            return []
        try:
            batch = self._ring.read()
        except KernelError as error:
            self._fail(error)
            return []
        reports: list[Report] = [*self._framer.feed(batch), *scheme_reports(batch)]
        self.incomplete = self._framer.incomplete
        self.errors["trace_page"] += len(batch.errors)
        for torn in batch.errors:
            log.error("%s", torn)
        events = sum(map(len, (batch.aggregated, batch.intervals_tuned, batch.scheme_stats, batch.effective_quotas)))
        self.trace = TraceState(self.trace.events + events, self.trace.lost + batch.lost, self._ring.buffer_bytes)
        return reports

    def close(self) -> None:
        """Remove the trace instance."""
        self._ring.close()

    def _fail(self, error: KernelError) -> None:
        """Close what cannot be read, to open it anew after a while."""
        self.errors["trace_ring"] += 1
        log.error("%s", error)
        self._framer.begin_anew()
        with contextlib.suppress(KernelError):
            self._ring.close()
        self._problem = str(error)
        self._next_try = time.monotonic() + RETRY_SECONDS

    def _try_again(self) -> None:
        try:
            self._open()
        except KernelError as error:
            self._fail(error)

    def _open(self) -> None:
        """Open the ring; only `Busy` is worth another try, everything else is raised."""
        try:
            self._ring.open()
        except Busy as problem:
            if str(problem) != self._problem:
                log.warning("%s", problem)
            self._problem = str(problem)
            self._next_try = time.monotonic() + RETRY_SECONDS
        else:
            self._problem = ""
            if self._ring.buffer_seconds < ENOUGH_SECONDS:
                log.warning(
                    "the trace buffer holds %.1f s of events at the highest rate: there is a bound on its memory",
                    self._ring.buffer_seconds,
                )


class SysfsFeed:
    """Samples of the kdamonds of our own; what other people's see cannot be read without writing to their tree."""

    name = "sysfs"
    trace = TraceState()

    def __init__(self, paths: KernelPaths, writer: Callable[[], CommandWriter | None], period: float, why: str) -> None:
        self.incomplete = 0
        self.errors: Counter[str] = Counter()
        self._tree = DamonTree(paths.damon_admin)
        self._writer = writer
        self._period = period
        self._why = why
        self._readers: dict[int, TriedRegions] = {}
        self._said: dict[int, str] = {}  # of each kdamond, since its last snapshot

    @property
    def up(self) -> Mapping[str, bool]:
        """The trace ring, and whether there is a kdamond of ours to read."""
        return {"tracepoint": False, "sysfs": bool(self._readers)}

    @property
    def problems(self) -> tuple[str, ...]:
        """Say that this only samples, and why."""
        return (self._why,)

    def expect(self, events_per_second: float) -> None:
        """There is no buffer."""

    def wait(self, seconds: float) -> None:
        """Come back soon enough to notice an answer."""
        time.sleep(min(seconds, self._period / 10))

    def collect(self, roster: Roster, now: float) -> list[Report]:
        """Return what has become ready of each kdamond of ours."""
        own = [kdamond for kdamond in roster.watched if kdamond.owner == "exporter"]
        readers = {kdamond.pid: self._readers.get(kdamond.pid) or self._reader(kdamond) for kdamond in own}
        self._readers = {pid: reader for pid, reader in readers.items() if reader}
        self._said = {pid: said for pid, said in self._said.items() if pid in self._readers}
        found = [self._poll(pid, reader, now) for pid, reader in self._in_turn()]
        return [snapshot for snapshot in found if snapshot]

    def close(self) -> None:
        """Nothing is left behind but folders in our own slots, which go with them."""

    def _in_turn(self) -> Iterator[tuple[int, TriedRegions]]:
        """Yield whom to poll: one at a time is asked, as the files of all answer EBUSY until it has answered."""
        for pid, reader in sorted(self._readers.items(), key=lambda item: item[1].due):
            if reader.asked or not any(other.asked for other in self._readers.values()):
                yield pid, reader

    def _reader(self, kdamond: Watched) -> TriedRegions | None:
        writer = self._writer()
        if writer is None or kdamond.slot is None:
            return None
        return TriedRegions(self._tree.slot(kdamond.slot), kdamond.pid, writer, kdamond.tuned, self._period)

    def _poll(self, pid: int, reader: TriedRegions, now: float) -> Snapshot | None:
        try:
            snapshot = reader.poll(now)
        except Incomplete as problem:
            self.incomplete += 1
            log.debug("kdamond %d: %s", pid, problem)
        except Ending:
            pass  # what is known stands until the end
        except KernelError as error:
            self.errors["sysfs"] += 1
            if self._said.get(pid) != str(error):
                log.warning("kdamond %d: %s", pid, error)
            self._said[pid] = str(error)
        else:
            if snapshot:
                self._said.pop(pid, None)
            return snapshot
        return None


def open_feed(
    config: Config, paths: KernelPaths, writer: Callable[[], CommandWriter | None], instance: str = INSTANCE
) -> Feed:
    """Open the source that the configuration asks for; raises `KernelError` if it insists on the tracepoint."""
    wanted = config.kernel.source
    period = max(config.export.publish, 0.1)
    if wanted == "sysfs":
        return SysfsFeed(paths, writer, period, "regions are sampled from sysfs (kernel.source: sysfs)")
    try:
        return TraceFeed(paths, events_per_second(config), instance)
    except KernelError as problem:
        if wanted == "tracepoint":
            raise
        why = f"regions are only sampled, from kdamonds of our own, through sysfs: {problem}"
        log.warning("%s", why)
        return SysfsFeed(paths, writer, period, why)


def events_per_second(config: Config) -> float:
    """Return how many region events the configured monitors print at most, with room for somebody else's."""
    total = 0.0
    for monitor in config.monitors:
        intervals = monitor.intervals
        fixed = intervals.fallback if isinstance(intervals, AutotunedIntervals) else intervals
        shortest_us = fixed.aggregation_us
        if isinstance(intervals, AutotunedIntervals):
            shortest_us = min(shortest_us, intervals.min_sample_us * fixed.aggregation_us // fixed.sample_us)
        total += monitor.regions.raised(monitor.most_targets) * 1e6 / shortest_us
    return max(total, LEAST_EVENTS_PER_SECOND)
