"""DAMON's control tree: slots, their states and files. Commands are `claim`'s."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from damon_exporter.analysis.snapshot import Intervals
from damon_exporter.kernel.errors import Busy, KernelError, NotOurs
from damon_exporter.kernel.files import (
    Check,
    is_there,
    patiently_read,
    patiently_write,
    read_number,
    read_value,
    unchecked,
)
from damon_exporter.kernel.leaf import Leaf, names_a_cgroup
from damon_exporter.kernel.plan import ADDR_UNIT, INTERVALS, TARGETS

INTERVAL_READINGS = 5
"""How often intervals are read again at most until they stay the same: they are refreshed once a sample at most."""


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

    def resize(self, slots: int, check: Check = unchecked) -> None:
        """Make ``slots`` fresh slots, which throws away all there were; `Busy` while a kdamond runs."""
        patiently_write(self.size_file, slots, check)
        _confirm(self.size_file, str(slots))

    def slot(self, index: int) -> "Slot":
        """Return a slot by its number, there or not."""
        return Slot(self._kdamonds / str(index), index)

    def slots(self) -> Iterator["Slot"]:
        """Yield the slots that are there."""
        for index in range(self.size()):
            yield self.slot(index)


class Slot:
    """One kdamond's folder.

    Its files are looked at many times a second, and `pathlib` interns every name that it joins: Python's table of such
    names would be made anew again and again. So paths are text here.
    """

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
        """Return the pid of the kdamond that runs, in the initial pid namespace; 0 if none does."""
        return max(int(patiently_read(f"{self.folder}/pid")), 0) if self.running() else 0

    def read(self, leaf: str) -> str:
        """Return the value of a file below this slot."""
        return read_value(f"{self.folder}/{leaf}")

    def number(self, leaf: str) -> int:
        """Return the number in a file below this slot."""
        return read_number(f"{self.folder}/{leaf}")

    def has(self, leaf: str) -> bool:
        """Is there such a file or folder, that is, does this kernel have it?"""
        return is_there(f"{self.folder}/{leaf}")

    def write(self, leaves: Iterable[Leaf]) -> None:
        """Write files and read each back, but for paths of cgroups; raises `KernelError` naming the file."""
        for leaf, value in leaves:
            path = f"{self.folder}/{leaf}"
            patiently_write(path, value)
            if not names_a_cgroup(leaf):
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

    def unit(self) -> int:
        """Return how many bytes one unit of its addresses and sizes stands for (6.18)."""
        return self.number(ADDR_UNIT) if self.has(ADDR_UNIT) else 1

    def pid_targets(self) -> tuple[int, ...]:
        """Return the pids of the targets by index, as the files show them."""
        count = self.number(f"{TARGETS}/nr_targets")
        return tuple(self.number(f"{TARGETS}/{index}/pid_target") for index in range(count))

    def intervals(self) -> Intervals:
        """Return the intervals that the files show, which auto-tuning does not keep up to date.

        The kernel may refresh both files between two reads (``refresh_ms``): only a pair that is read twice belongs
        together. Raises `Busy` if there is none.
        """
        found = self._intervals_once()
        for _ in range(INTERVAL_READINGS):
            before, found = found, self._intervals_once()
            if found == before:
                return found
        raise Busy(f"the intervals change all the time in {self.folder}: another tool is writing there")

    def _intervals_once(self) -> Intervals:
        return Intervals(self.number(f"{INTERVALS}/sample_us"), self.number(f"{INTERVALS}/aggr_us"))


def _confirm(path: Path | str, value: str) -> None:
    """Read a value back: what the kernel did not take must not be believed."""
    found = read_value(path)
    if not _same(found, value):
        raise NotOurs(f"wrote {value!r} to {path}, but it reads {found!r}: another tool is writing there too")


def _same(found: str, value: str) -> bool:
    return found == value or (found.isdigit() and value.isdigit() and int(found) == int(value))
