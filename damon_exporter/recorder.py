"""Hands on what kdamonds report for some time: into a file that damo can read, too, or to whoever wants it."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from damon_exporter.analysis.snapshot import Snapshot
from damon_exporter.config import Config, Monitor
from damon_exporter.feeds import Feed, open_feed
from damon_exporter.kernel import procfs
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.naming import container_names
from damon_exporter.roster import Roster, Watched
from damon_exporter.sources.recording import Origin, RecordedMonitor, RecordingError, RecordingWriter
from damon_exporter.supervisor import Supervisor
from damon_exporter.watch import LONGEST_AGGREGATION
from damon_exporter.watches import Watches

log = logging.getLogger(__name__)

INSTANCE = "damon_exporter_record"
"""A trace instance of its own, so that recording works beside a serving exporter."""

RECORDED = "recorded"
"""The name of a monitor that runs for the recording only."""

LOOK_SECONDS = 0.2
SILENCE_SECONDS = 5.0
"""After how long without a snapshot it is said what is being waited for."""

LEAST_PATIENCE = 30.0
"""How long (s) a first snapshot is waited for at least, if there is a time to record for."""


@dataclass(frozen=True, slots=True)
class Take:
    """What to record: the monitors of ``config``, or whoever is called ``monitor``, for ``seconds`` (None: no end).

    ``pid`` is the process with which the recording ends.
    """

    config: Config
    monitor: str | None = None
    seconds: float | None = None
    origin: Origin = field(default_factory=Origin)
    pid: int | None = None


THEN = ", then "
"""Between the names of those who have had an index one after the other."""


class Sink(Protocol):
    """Where snapshots go, and what is known of their kdamonds."""

    monitors: dict[int, RecordedMonitor]

    def append(self, snapshot: Snapshot) -> None:
        """Take a snapshot."""


class _Tape:
    """Passes on to the sink what belongs to the recording. ``started`` is when the first snapshot came."""

    def __init__(self, sink: Sink, monitor: str | None) -> None:
        self._sink = sink
        self._monitor = monitor
        self.snapshots = 0
        self.started: float | None = None

    def wants(self, kdamond: Watched) -> bool:
        """Is this one to be recorded?"""
        return self._monitor in (None, kdamond.name)

    def __call__(self, kdamond: Watched, snapshot: Snapshot) -> None:
        if not self.wants(kdamond):
            return
        self._sink.append(snapshot)
        known = self._sink.monitors.get(snapshot.kdamond, RecordedMonitor()).targets
        targets = {**known, **_names(kdamond, known)}
        self._sink.monitors[snapshot.kdamond] = RecordedMonitor(kdamond.name, kdamond.operations, targets)
        self.snapshots += 1
        if self.started is None:
            self.started = time.monotonic()


def _names(kdamond: Watched, known: Mapping[int, str]) -> dict[int, str]:
    """Return the names by index: of all who have had it, as a recording knows an index by one name."""
    names = {i: target.name for i, target in enumerate(kdamond.targets or ()) if target.name is not None}
    before = {i: known.get(i, name).split(THEN) for i, name in names.items()}
    return {i: THEN.join([*before[i], *([] if name in before[i] else [name])]) for i, name in names.items()}


def only(config: Config, **watched: object) -> Config:
    """Return the configuration with one monitor, called `RECORDED`."""
    monitor = Monitor.model_validate({"name": RECORDED, "operations": "vaddr", **watched})
    return config.model_copy(update={"monitors": (monitor,)})


def chosen(config: Config, name: str) -> Config:
    """Return the configuration with only the monitor of that name; what is not ours is observed, not started."""
    monitors = tuple(monitor for monitor in config.monitors if monitor.name == name)
    control = config.kernel.control if monitors else "never"
    return config.model_copy(
        update={"monitors": monitors, "kernel": config.kernel.model_copy(update={"control": control})}
    )


def wanted(config: Config, pid: int | None, monitor: str | None, command: tuple[str, ...]) -> tuple[Config, str | None]:
    """Return the configuration to run with, and the monitor to listen to, None for all of it."""
    if pid is not None:
        return only(config, processes={"match": [{"pid": pid}]}), RECORDED
    if command:
        return only(config, command=list(command)), RECORDED
    return (chosen(config, monitor) if monitor else config), monitor


def record(
    take: Take,
    paths: KernelPaths,
    path: Path,
    stopped: Callable[[], bool],
    on_failure: Callable[[], None],
    on_look: Callable[[int], None],
) -> int:
    """Write to a file what `hear` hears, and return the number of snapshots.

    Raises `RecordingError` if there was none or the file cannot be written. What has been recorded before an error
    is kept.
    """
    writer = RecordingWriter(path, replace(take.origin, kernel_release=procfs.kernel_release(paths.procfs)))
    try:
        return hear(take, paths, writer, stopped, on_failure, on_look)
    finally:
        if writer.monitors:
            writer.close()


def hear(
    take: Take,
    paths: KernelPaths,
    sink: Sink,
    stopped: Callable[[], bool],
    on_failure: Callable[[], None],
    on_look: Callable[[int], None],
) -> int:
    """Fill the sink until ``stopped()`` is true, the time is over, or what is recorded has ended.

    The time counts from the first snapshot; without one, patience ends. ``on_look`` is told at every look
    how many snapshots there are. Returns the number of snapshots; raises `RecordingError` if there was none.
    """
    ended = _end_of(take.pid, paths.procfs) if take.pid else lambda: False
    tape = _Tape(sink, take.monitor)
    take = replace(take, config=_at_once(take.config))
    reason = _listen(take, paths, tape, lambda: stopped() or ended(), on_failure, on_look)
    if not tape.snapshots:
        raise RecordingError(f"nothing was recorded: {reason}")
    return tape.snapshots


def _at_once(config: Config) -> Config:
    """Whoever asks for a recording wants it now, unless a tree that somebody has left is to be thrown away for it.

    And he wants to look: schemes are left out, and nothing pauses.
    """
    looking = {"schemes": (), "pause": False}
    monitors = tuple(monitor.model_copy(update=looking) for monitor in config.monitors)
    config = config.model_copy(update={"monitors": monitors})
    if "idle_sysfs" in config.kernel.takeover:
        return config
    return config.model_copy(update={"kernel": config.kernel.model_copy(update={"settle": 0.0})})


def _end_of(pid: int, path: Path) -> Callable[[], bool]:
    """Return what tells that the process has ended; raises `RecordingError` if there is nothing to record of it."""
    found = procfs.process(path, pid)
    if found is None:
        raise RecordingError(f"there is no process {pid} (any more): give the pid of one that runs")
    if not found.alive:
        raise RecordingError(f"process {pid}, a zombie or kernel thread, has no memory: give the pid of one that runs")

    return lambda: not procfs.lives(path, found.identity)


def _listen(
    take: Take,
    paths: KernelPaths,
    tape: _Tape,
    ended: Callable[[], bool],
    on_failure: Callable[[], None],
    on_look: Callable[[int], None],
) -> str:
    """Run the monitors and let the tape hear what they report; return what was in the way, if it has heard nothing."""
    with ExitStack() as stack:
        feed = open_feed(take.config, paths, lambda: supervisor.writer, INSTANCE)
        stack.callback(feed.close)
        names = container_names(take.config, paths, on_failure)
        supervisor = Supervisor(take.config, paths, feed.name == "sysfs", on_failure, names.pod_of, lambda: names.asked)
        watches = Watches(take.config.export, feed.name, paths.procfs, tape)
        stack.callback(watches.close)
        clock = _Clock(take, tape, lambda: _why(take, supervisor.roster, feed.problems))
        names.start()
        stack.callback(names.stop)
        supervisor.start()
        stack.callback(supervisor.stop)
        while not (ended() or supervisor.commands_ended or clock.over(supervisor.roster)):
            feed.wait(LOOK_SECONDS)
            if _hear(feed, watches, supervisor):
                supervisor.wake()
            on_look(tape.snapshots)
            clock.explain_silence()
        _hear(feed, watches, supervisor)
        return clock.reason()


def _hear(feed: Feed, watches: Watches, supervisor: Supervisor) -> bool:
    """Let the watches hear what has been reported; True if the supervisor should look again."""
    now = time.monotonic()
    return watches.take_in(feed.collect(supervisor.roster, now), supervisor.roster, now)


class _Clock:
    """Says when the time is over, and for what ``reason`` nothing has been recorded yet."""

    def __init__(self, take: Take, tape: _Tape, reason: Callable[[], str]) -> None:
        self._take = take
        self._tape = tape
        self.reason = reason
        self._began = time.monotonic()
        self._said = ""

    def over(self, roster: Roster) -> bool:
        """Has it been recorded, or a first snapshot been waited for, for as long as was asked for?"""
        seconds, now = self._take.seconds, time.monotonic()
        if seconds is None:
            return False
        if self._tape.started is not None:
            return now - self._tape.started >= seconds
        return now - self._began >= self._patience(roster, seconds)

    def explain_silence(self) -> None:
        """Log why nothing has been recorded yet, each reason once."""
        if self._tape.started is not None or time.monotonic() - self._began < SILENCE_SECONDS:
            return
        reason = self.reason()
        if reason != self._said:
            log.warning("nothing has been recorded yet: %s", reason)
        self._said = reason

    def _patience(self, roster: Roster, seconds: float) -> float:
        """Auto-tuning may have made aggregations so long that even a kdamond which works well takes minutes."""
        intervals = [kdamond.intervals for kdamond in roster.watched if self._tape.wants(kdamond)]
        aggregations = [each.aggregation_us / 1e6 if each else LONGEST_AGGREGATION for each in intervals]
        settle = self._take.config.kernel.settle
        return settle + max([LEAST_PATIENCE, seconds, *(2 * aggregation for aggregation in aggregations)])


def _why(take: Take, roster: Roster, problems: Sequence[str]) -> str:
    """Say what is in the way of a first snapshot."""
    reasons = [
        *problems,
        *roster.blocked.values(),
        *(f"{waiting.name}: {waiting.reason}" for waiting in roster.waiting),
    ]
    running = [kdamond.name for kdamond in roster.watched]
    if take.monitor not in (None, RECORDED, *running):
        reasons.append(f"no monitor {take.monitor!r} runs here{_instead(running)}")
    return "; ".join(reasons) or "no kdamond has reported anything"


def _instead(running: list[str]) -> str:
    """Point to what runs: DAMON's tree holds no names, so that another exporter's monitors are sysfs0, sysfs1 …"""
    if not running:
        return ", and no other kdamond does"
    return (
        f"; of another exporter, another tool or the kernel there is {', '.join(running)}: try --monitor {running[0]}"
    )
