"""A recording in memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from damon_exporter.analysis.snapshot import Snapshot


class RecordingError(Exception):
    """A recording that could not be read or written; the message names the file, the cause and the cure."""


@dataclass(frozen=True, slots=True)
class Origin:
    """How a recording came to be, in words for people; empty where nothing tells."""

    description: str = ""
    kernel_release: str = ""
    command: str = ""
    workload: str = ""


@dataclass(frozen=True, slots=True)
class RecordedMonitor:
    """What a recording tells about one kdamond beside its snapshots; empty where it tells nothing.

    ``operations`` is DAMON's word (paddr, vaddr, fvaddr); ``targets`` are names by target index.
    """

    name: str = ""
    operations: str = ""
    targets: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recording:
    """The snapshots of a recording in time order.

    ``monitors`` has one entry for each number that stands in ``Snapshot.kdamond``. ``damage`` says what is
    missing: where and why reading stopped early, and how many snapshots are ``incomplete``. As a file holds one
    target behind the other, some of those before the damage lack targets: they are left out and counted. A target
    of which nothing at all was read is missed only in files of our own.
    """

    path: Path
    snapshots: tuple[Snapshot, ...]
    monitors: Mapping[int, RecordedMonitor]
    origin: Origin
    damage: str | None = None
    incomplete: int = 0

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.name

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(self.snapshots)

    def __len__(self) -> int:
        return len(self.snapshots)
