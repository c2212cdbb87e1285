"""Plays a recording as if it happened now, at recorded speed, again and again."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from damon_exporter.analysis.snapshot import Snapshot
from damon_exporter.config import Export
from damon_exporter.published import Published
from damon_exporter.roster import Watched, listed
from damon_exporter.sources.recording import RecordedMonitor, Recording, RecordingError
from damon_exporter.state import NodeState
from damon_exporter.watch import Watch

SOURCE = "recording"

SHORTEST_PAUSE_NS = 100_000_000
"""The least time between the last snapshot and the first of the next round."""

MOST_NAMED_TARGETS = 1024
"""A damaged recording can hold any index; those beyond are only shown while they have regions."""


class Player:
    """Publishes what an exporter would have published while the recording was made. It touches no kernel."""

    def __init__(self, recording: Recording, export: Export) -> None:
        if len(recording) < 2:
            raise RecordingError(f"{recording.path} holds {len(recording)} snapshots: nothing to play")
        self._recording = recording
        self._publish_every = export.publish
        self._due = now = time.monotonic()
        self._kdamonds = _kdamonds(recording)
        # Kdamonds of one name are one monitor that was restarted.
        self._watches = {kdamond.name: Watch(export, kdamond, SOURCE, now) for kdamond in self._kdamonds.values()}
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
        for snapshot in self._endless(time.monotonic_ns()):
            if not self._wait_until(snapshot.end_ns / 1e9):
                return
            kdamond = self._kdamonds[snapshot.kdamond]
            watch = self._watches[kdamond.name]
            watch.follow(kdamond, time.monotonic())
            watch.observe(snapshot)

    def _endless(self, begins_ns: int) -> Iterator[Snapshot]:
        """Yield the snapshots, round after round, as if the first had ended at ``begins_ns`` (CLOCK_MONOTONIC)."""
        snapshots = self._recording.snapshots
        first_ns, last_ns = snapshots[0].end_ns, snapshots[-1].end_ns
        while True:
            for snapshot in snapshots:
                yield replace(snapshot, end_ns=begins_ns + snapshot.end_ns - first_ns)
            begins_ns += last_ns - first_ns + _pause_ns(snapshots)

    def _wait_until(self, moment: float) -> bool:
        """Publish whenever it is due until ``moment`` (CLOCK_MONOTONIC, s); False if told to stop."""
        while True:
            now = time.monotonic()
            if now >= self._due:
                self.published.replace(self._state(now))
                self._due = max(self._due + self._publish_every, now)
            if now >= moment:
                return not self._stopping.is_set()
            if self._stopping.wait(min(moment, self._due) - now):
                return False

    def _state(self, now: float) -> NodeState:
        offset = time.time() - time.monotonic()
        monitors = tuple(watch.state(now, offset) for watch in self._watches.values())
        return NodeState(
            ready=True,
            reasons=(f"this is a recording, not this host: {_described(self._recording)}", *self._damage()),
            monitors=monitors,
            sources_up={SOURCE: True},
            snapshots_incomplete=self._recording.incomplete,
            publish_duration_seconds=time.monotonic() - now,
            started=self._started,
            config_loaded_timestamp=self._started,
            kernel_release=self._recording.origin.kernel_release,
            recording=_described(self._recording),
        )

    def _damage(self) -> tuple[str, ...]:
        return (self._recording.damage,) if self._recording.damage else ()


def _kdamonds(recording: Recording) -> dict[int, Watched]:
    """Return what the recording tells of each kdamond in it."""
    targets: dict[int, int] = {}
    for snapshot in recording:
        highest = int(snapshot.regions.target.max(initial=0))
        targets[snapshot.kdamond] = max(targets.get(snapshot.kdamond, 0), highest + 1)
    return {
        kdamond: _recorded(kdamond, recording.monitors.get(kdamond, RecordedMonitor()), targets[kdamond])
        for kdamond in sorted(targets)
    }


def _recorded(kdamond: int, monitor: RecordedMonitor, targets: int) -> Watched:
    return Watched(
        name=monitor.name or f"recording{kdamond}",
        operations=monitor.operations or ("vaddr" if targets > 1 else "paddr"),
        owner=SOURCE,
        pid=kdamond,
        targets=listed(*(monitor.targets.get(i, f"target{i}") for i in range(min(targets, MOST_NAMED_TARGETS)))),
        intervals=None,
        max_nr_accesses=None,
        tuned=False,
        refreshed=False,
        reporting=False,
    )


def _pause_ns(snapshots: tuple[Snapshot, ...]) -> int:
    """Return the median time between snapshots: that long is the pause before the recording begins again."""
    distances = sorted(after.end_ns - before.end_ns for before, after in pairwise(snapshots))
    return max(distances[len(distances) // 2], SHORTEST_PAUSE_NS)


def _described(recording: Recording) -> str:
    origin = recording.origin
    parts = [origin.description or recording.name]
    parts += [f"Linux {origin.kernel_release}"] if origin.kernel_release else []
    return ", ".join(parts)
