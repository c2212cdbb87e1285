"""Writes what kdamonds report into a file that damo can read, too."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from damon_exporter.analysis.snapshot import Snapshot
from damon_exporter.config import Config, Monitor
from damon_exporter.feeds import open_feed
from damon_exporter.kernel import procfs
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.roster import Roster, Watched
from damon_exporter.sources.recording import Origin, RecordedMonitor, RecordingError, RecordingWriter
from damon_exporter.supervisor import Supervisor
from damon_exporter.watches import Watches

INSTANCE = "damon_exporter_record"
"""A trace instance of its own, so that recording works beside a serving exporter."""

LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Take:
    """What to record: the monitors of ``config``, or whoever is called ``monitor``, for ``seconds`` (None: no end)."""

    config: Config
    monitor: str | None = None
    seconds: float | None = None
    origin: Origin = field(default_factory=Origin)


class _Tape:
    """Passes on to the writer what belongs to the recording."""

    def __init__(self, writer: RecordingWriter, monitor: str | None) -> None:
        self._writer = writer
        self._monitor = monitor
        self.snapshots = 0

    def __call__(self, kdamond: Watched, snapshot: Snapshot) -> None:
        if self._monitor not in (None, kdamond.name):
            return
        self._writer.append(snapshot)
        targets = dict(enumerate(kdamond.names or ()))
        self._writer.monitors[snapshot.kdamond] = RecordedMonitor(kdamond.name, kdamond.operations, targets)
        self.snapshots += 1


def only(config: Config, **watched: object) -> Config:
    """Return the configuration with one monitor, ``recorded``, started as soon as DAMON is free."""
    monitor = Monitor.model_validate({"name": "recorded", "operations": "vaddr", **watched})
    kernel = config.kernel.model_copy(update={"settle": 0.0})
    return config.model_copy(update={"monitors": (monitor,), "kernel": kernel})


def chosen(config: Config, name: str) -> Config:
    """Return the configuration with only the monitor of that name; what is not ours is observed, not started."""
    monitors = tuple(monitor for monitor in config.monitors if monitor.name == name)
    control = config.kernel.control if monitors else "never"
    return config.model_copy(
        update={"monitors": monitors, "kernel": config.kernel.model_copy(update={"control": control})}
    )


def record(
    take: Take,
    paths: KernelPaths,
    path: Path,
    stopped: Callable[[float], bool],
    on_failure: Callable[[], None],
    say: Callable[[str], None],
) -> int:
    """Record until ``stopped(seconds to wait)`` is true, the time is over, or a command has ended.

    Returns the number of snapshots; raises `RecordingError` if there was none or the file cannot be written. What has
    been recorded before an error is kept.
    """
    writer = RecordingWriter(path, replace(take.origin, kernel_release=procfs.kernel_release(paths.procfs)))
    tape = _Tape(writer, take.monitor)
    try:
        roster = _listen(take, paths, tape, stopped, on_failure, say)
    finally:
        if tape.snapshots:
            writer.close()
    if not tape.snapshots:
        raise RecordingError(f"nothing was recorded: {_why(roster, take.monitor)}")
    return tape.snapshots


def _listen(
    take: Take,
    paths: KernelPaths,
    tape: _Tape,
    stopped: Callable[[float], bool],
    on_failure: Callable[[], None],
    say: Callable[[str], None],
) -> Roster:
    """Run the monitors and let the tape hear what they report; return who was there in the end."""
    with ExitStack() as stack:
        feed = open_feed(take.config, paths, lambda: supervisor.writer, INSTANCE)
        stack.callback(feed.close)
        supervisor = Supervisor(take.config, paths, feed.name == "sysfs", on_failure)
        watches = Watches(take.config.export, feed.name, tape)
        supervisor.start()
        stack.callback(supervisor.stop)
        end = time.monotonic() + take.seconds if take.seconds else float("inf")
        while time.monotonic() < end and not stopped(0) and not supervisor.commands_ended:
            feed.wait(LOOK_SECONDS)
            now = time.monotonic()
            watches.follow(supervisor.roster, now)
            if watches.hear(feed.collect(supervisor.roster, now), now):
                supervisor.wake()
            say(f"{tape.snapshots} snapshots")
        watches.follow(supervisor.roster, time.monotonic())
    return supervisor.roster


def _why(roster: Roster, monitor: str | None) -> str:
    reasons = [*roster.blocked.values(), *(f"{waiting.name}: {waiting.reason}" for waiting in roster.waiting)]
    running = [kdamond.name for kdamond in roster.watched]
    if monitor is not None and monitor not in running:
        reasons.append(f"no monitor {monitor!r} runs; there is {', '.join(running) or 'none'}")
    return "; ".join(reasons) or "no kdamond reported in that time"
