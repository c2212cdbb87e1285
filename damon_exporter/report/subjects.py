"""What a report has a section about: one target of one monitor."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from damon_exporter.analysis.snapshot import Snapshot
from damon_exporter.escaping import printable
from damon_exporter.sources.recording import RecordedMonitor, RecordingError


@dataclass(frozen=True, slots=True)
class Heard:
    """What kdamonds reported, in time order, and what is known of them by ``Snapshot.kdamond``.

    ``source`` is the file, or whatever else a message names. ``earlier`` is how many snapshots of a kdamond came before
    these.
    """

    snapshots: Sequence[Snapshot]
    monitors: Mapping[int, RecordedMonitor]
    source: str = "this host"
    earlier: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """A target, with those snapshots that tell of it, and no regions but its own in them.

    ``target`` is its index in the kdamond, ``name`` what we or whoever recorded calls it, or empty. A monitor that
    was restarted has had several kdamonds. ``earlier`` is how many snapshots of the kdamond came before these.
    """

    kdamond: int
    monitor: str
    operations: str
    target: int
    name: str
    snapshots: tuple[Snapshot, ...]
    earlier: int = 0

    @property
    def title(self) -> str:
        """A line for people."""
        name = f" ({printable(self.name)})" if self.name else ""
        return f"monitor {printable(self.monitor)}, target {self.target}{name}"

    def identity(self) -> dict[str, object]:
        """The keys by which reports in JSON tell whom they are about."""
        return {
            "kdamond": self.kdamond,
            "monitor": self.monitor,
            "operations": self.operations,
            "target": self.target,
            "name": self.name,
        }


def subjects(heard: Heard, monitor: str | None = None) -> list[Subject]:
    """Return all targets in the order of monitors and their targets, or those of the monitor of that name.

    Raises `RecordingError` if there are none.
    """
    found = [subject for kdamond in _kdamonds(heard) for subject in _of_kdamond(heard, kdamond)]
    chosen = [subject for subject in found if monitor in (None, subject.monitor)]
    if chosen:
        return chosen
    if not found:
        raise RecordingError(f"{heard.source} holds no snapshot: nothing to report")
    names = ", ".join(dict.fromkeys(printable(subject.monitor) for subject in found))
    raise RecordingError(f"there is no monitor {monitor!r}, but {names}: give one of these to --monitor")


def _kdamonds(heard: Heard) -> list[int]:
    return sorted({snapshot.kdamond for snapshot in heard.snapshots})


def _of_kdamond(heard: Heard, kdamond: int) -> Iterator[Subject]:
    monitor = heard.monitors.get(kdamond, RecordedMonitor())
    snapshots: dict[int, list[Snapshot]] = {target: [] for target in monitor.targets}
    for snapshot in heard.snapshots:
        if snapshot.kdamond == kdamond:
            for target, regions in snapshot.by_target():
                snapshots.setdefault(target, []).append(replace(snapshot, regions=regions, without_regions=()))
    for target in sorted(snapshots):
        yield Subject(
            kdamond,
            monitor.name or f"recording{kdamond}",
            monitor.operations,
            target,
            monitor.targets.get(target, ""),
            tuple(snapshots[target]),
            heard.earlier.get(kdamond, 0),
        )
