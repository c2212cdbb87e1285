"""What this host's kdamonds report now, kept in memory."""

import time
from collections import Counter
from collections.abc import Callable

from damon_exporter import recorder
from damon_exporter.analysis.snapshot import Snapshot
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.recorder import Take
from damon_exporter.report.subjects import Heard
from damon_exporter.sources.recording import RecordedMonitor
from damon_exporter.stopping import StopSignal


class _Kept:
    """Keeps snapshots until they are taken."""

    def __init__(self) -> None:
        self.monitors: dict[int, RecordedMonitor] = {}
        self._snapshots: list[Snapshot] = []
        self._earlier: Counter[int] = Counter()

    def append(self, snapshot: Snapshot) -> None:
        self._snapshots.append(snapshot)

    def take(self) -> Heard:
        """Return what has been kept since the last time."""
        snapshots = sorted(self._snapshots, key=lambda snapshot: snapshot.end_ns)
        heard = Heard(snapshots, dict(self.monitors), earlier=self._earlier.copy())
        self._snapshots = []
        self._earlier.update(snapshot.kdamond for snapshot in snapshots)
        return heard


def hear_once(take: Take, paths: KernelPaths, stop: StopSignal, on_look: Callable[[int], None]) -> Heard:
    """Return what is reported in the time that ``take`` gives, or until told to stop."""
    kept = _Kept()
    recorder.hear(take, paths, kept, lambda: stop.wait(0), stop.fail, on_look)
    return kept.take()


def hear_on(take: Take, every: float, paths: KernelPaths, stop: StopSignal, show: Callable[[Heard], None]) -> None:
    """Show what has been reported, every so many seconds, until told to stop or ``take`` ends."""
    kept = _Kept()
    due = time.monotonic() + every

    def show_kept() -> bool:
        heard = kept.take()
        if heard.snapshots:
            show(heard)
        return bool(heard.snapshots)

    def look(_: int) -> None:
        nonlocal due
        if (now := time.monotonic()) >= due and show_kept():
            due = now + every

    recorder.hear(take, paths, kept, lambda: stop.wait(0), stop.fail, look)
    show_kept()
