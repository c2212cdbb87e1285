"""Plays a recording as if it happened now, at recorded speed, again and again."""

import threading
import time
from itertools import pairwise

from damon_exporter.analysis.snapshot import Snapshot
from damon_exporter.config import Export
from damon_exporter.published import Published
from damon_exporter.roster import Watched
from damon_exporter.sources.recording import RecordedMonitor, Recording, RecordingError
from damon_exporter.state import NodeState
from damon_exporter.watch import Watch

SOURCE = "recording"


class Player:
    """Publishes what an exporter would have published while the recording was made. It touches no kernel."""

    def __init__(self, recording: Recording, export: Export) -> None:
        if len(recording) < 2:
            raise RecordingError(f"{recording.path} holds {len(recording)} snapshots: nothing to play")
        self._recording = recording
        self._publish_every = export.publish
        now = time.monotonic()
        kdamonds = {snapshot.kdamond for snapshot in recording}
        self._watches = {
            kdamond: Watch(export, _recorded(kdamond, recording.monitors.get(kdamond)), SOURCE, now)
            for kdamond in sorted(kdamonds)
        }
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="player")
        self._started = time.time()
        self.published = Published(self._state(now))

    def start(self) -> None:
        """Begin to play."""
        self._thread.start()

    def stop(self) -> None:
        """Stop at once."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        snapshots = self._recording.snapshots
        begins_ns = time.monotonic_ns()
        first_ns, last_ns = snapshots[0].end_ns, snapshots[-1].end_ns
        pause_ns = _usual_distance_ns(snapshots)
        due = time.monotonic()
        while not self._stopping.is_set():
            for snapshot in snapshots:
                at_ns = begins_ns + snapshot.end_ns - first_ns
                while (now := time.monotonic()) < at_ns / 1e9:
                    if now >= due:
                        self.published.replace(self._state(now))
                        due = max(due + self._publish_every, now)
                    if self._stopping.wait(max(min(at_ns / 1e9, due) - now, 0.0)):
                        return
                self._watches[snapshot.kdamond].observe(_at(snapshot, at_ns))
            begins_ns += last_ns - first_ns + pause_ns

    def _state(self, now: float) -> NodeState:
        offset = time.time() - time.monotonic()
        monitors = tuple(watch.state(now, offset) for watch in self._watches.values())
        return NodeState(
            ready=True,
            reasons=(f"this is a recording, not this host: {_described(self._recording)}", *self._damage()),
            monitors=monitors,
            sources_up={SOURCE: True},
            publish_duration_seconds=time.monotonic() - now,
            config_loaded_timestamp=self._started,
            kernel_release=self._recording.origin.kernel_release,
            recording=_described(self._recording),
        )

    def _damage(self) -> tuple[str, ...]:
        return (self._recording.damage,) if self._recording.damage else ()


def _recorded(kdamond: int, monitor: RecordedMonitor | None) -> Watched:
    monitor = monitor or RecordedMonitor()
    targets = monitor.targets
    names = tuple(targets.get(i, f"target{i}") for i in range(max(targets, default=-1) + 1))
    return Watched(
        name=monitor.name or f"recording{kdamond}",
        operations=monitor.operations or ("vaddr" if len(names) > 1 else "paddr"),
        owner=SOURCE,
        pid=kdamond,
        names=names,
        intervals=None,
        max_nr_accesses=None,
        tuned=False,
        refreshed=False,
        reporting=False,
    )


def _at(snapshot: Snapshot, end_ns: int) -> Snapshot:
    return Snapshot(snapshot.kdamond, end_ns, snapshot.regions, snapshot.intervals, snapshot.age_unit_us)


def _usual_distance_ns(snapshots: tuple[Snapshot, ...]) -> int:
    """Return the median time between snapshots: that long is the pause before the recording begins again."""
    distances = sorted(after.end_ns - before.end_ns for before, after in pairwise(snapshots))
    return distances[len(distances) // 2]


def _described(recording: Recording) -> str:
    origin = recording.origin
    parts = [origin.description or recording.name]
    parts += [f"Linux {origin.kernel_release}"] if origin.kernel_release else []
    return ", ".join(parts)
