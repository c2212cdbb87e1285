"""DAMON's control tree: slots, their states and files. Commands are `ownership`'s."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from damon_exporter.analysis.snapshot import Intervals
from damon_exporter.kernel.errors import KernelError, Rejected
from damon_exporter.kernel.files import (
    patiently_read,
    patiently_write,
    read_number,
    read_value,
)
from damon_exporter.kernel.plan import Leaf

INTERVALS = "contexts/0/monitoring_attrs/intervals"


@dataclass(frozen=True, slots=True)
class SlotView:
    """A slot as it shows itself to anybody who reads it. ``pid`` is 0 unless the kdamond runs."""

    index: int
    running: bool
    pid: int
    operations: str
    nr_targets: int
    intervals: Intervals | None
    tuned: bool
    refreshed: bool


class DamonTree:
    """The tree below ``admin``; reading it changes nothing."""

    def __init__(self, admin: Path) -> None:
        self.admin = admin
        self._kdamonds = admin / "kdamonds"

    @property
    def size_file(self) -> Path:
        """The file whose number of slots is there, and on which exporters lock each other out."""
        return self._kdamonds / "nr_kdamonds"

    def size(self) -> int:
        """Return how many slots there are."""
        return read_number(self.size_file)

    def resize(self, slots: int) -> None:
        """Make ``slots`` fresh slots, which throws away all there were; `Busy` while a kdamond runs."""
        patiently_write(self.size_file, slots)
        _confirm(self.size_file, str(slots))

    def slot(self, index: int) -> "Slot":
        """Return a slot by its number, there or not."""
        return Slot(self._kdamonds / str(index), index)

    def slots(self) -> Iterator["Slot"]:
        """Yield the slots that are there."""
        for index in range(self.size()):
            yield self.slot(index)


class Slot:
    """One kdamond's folder."""

    def __init__(self, folder: Path, index: int) -> None:
        self.folder = folder
        self.index = index

    @property
    def state_file(self) -> Path:
        """The file that commands are written to."""
        return self.folder / "state"

    def running(self) -> bool:
        """Is the kdamond on?"""
        return patiently_read(self.state_file) == "on"

    def pid(self) -> int:
        """Return the kdamond's pid in the initial pid namespace, 0 if it does not run."""
        return max(int(patiently_read(self.folder / "pid")), 0)

    def read(self, leaf: str) -> str:
        """Return the value of a file below this slot."""
        return read_value(self.folder / leaf)

    def has(self, leaf: str) -> bool:
        """Is there such a file or folder, that is, does this kernel have it?"""
        return (self.folder / leaf).exists()

    def write(self, leaves: Iterable[Leaf]) -> None:
        """Write files and read each back; raises `KernelError` naming the file."""
        for leaf, value in leaves:
            path = self.folder / leaf
            patiently_write(path, value)
            _confirm(path, value)

    def difference(self, leaves: Iterable[Leaf]) -> str | None:
        """Return the first file that differs from what it shall be, None if all agree."""
        for leaf, value in leaves:
            try:
                found = self.read(leaf)
            except KernelError as error:
                return str(error)
            if not _same(found, value):
                return f"{leaf} is {found!r}, not {value!r}"
        return None

    def view(self) -> SlotView:
        """Read what observing needs; raises `KernelError` if the slot vanishes meanwhile."""
        running = self.running()
        context = running or self.has("contexts/0")
        return SlotView(
            index=self.index,
            running=running,
            pid=self.pid() if running else 0,
            operations=self.read("contexts/0/operations") if context else "",
            nr_targets=int(self.read("contexts/0/targets/nr_targets")) if context else 0,
            intervals=self.intervals() if context else None,
            tuned=self._number(f"{INTERVALS}/intervals_goal/aggrs") > 0,
            refreshed=self._number("refresh_ms") > 0,
        )

    def intervals(self) -> Intervals:
        """Return the intervals that the files show, which auto-tuning does not keep up to date."""
        return Intervals(int(self.read(f"{INTERVALS}/sample_us")), int(self.read(f"{INTERVALS}/aggr_us")))

    def _number(self, leaf: str) -> int:
        with contextlib.suppress(KernelError, ValueError):
            return int(self.read(leaf))
        return 0


def _confirm(path: Path, value: str) -> None:
    """Read a value back: what the kernel did not take must not be believed."""
    found = read_value(path)
    if not _same(found, value):
        raise Rejected(f"wrote {value!r} to {path}, but it reads {found!r}: another tool is writing there too")


def _same(found: str, value: str) -> bool:
    return found == value or (found.isdigit() and value.isdigit() and int(found) == int(value))
