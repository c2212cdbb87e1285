"""/proc/kpageflags and /proc/kpagecgroup: what each page frame is used for, and which cgroup it is charged to."""

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.bands import I64
from damon_exporter.analysis.snapshot import U64
from damon_exporter.testing.fake_kernel.cgroups import Cgroup
from damon_exporter.testing.fake_kernel.filters import Pages
from damon_exporter.testing.fake_kernel.machine import BLOCK_BYTES
from damon_exporter.testing.fake_kernel.memory import PAGE, Range
from damon_exporter.testing.fake_kernel.ranges import within
from damon_exporter.testing.fake_kernel.tree import Directory, Entries, fail

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel

ENTRY_BYTES = 8

# Bits as in the kernel's admin-guide/mm/pagemap.rst
UPTODATE, LRU, SLAB, BUDDY, MMAP, ANON = (1 << bit for bit in (3, 5, 7, 10, 11, 12))
SWAPBACKED, COMPOUND_TAIL, HUGE, NOPAGE, RESERVED = (1 << bit for bit in (14, 16, 17, 20, 32))
FLAGS = {
    "free": BUDDY,
    "anon": UPTODATE | LRU | MMAP | ANON | SWAPBACKED,
    "file": UPTODATE | LRU | MMAP,
    "shmem": UPTODATE | LRU | MMAP | SWAPBACKED,
    "slab": SLAB,
    "hugetlb": UPTODATE | MMAP | ANON | COMPOUND_TAIL | HUGE,
}


@dataclass(frozen=True, slots=True)
class PageOwner:
    """A range of addresses, ``end`` exclusive, all of one kind and, unless that is None, charged to one cgroup."""

    start: int
    end: int
    kind: str
    cgroup: Cgroup | None = None


def section_end(address: int) -> int:
    """Where the memory section ends that holds the byte before the address."""
    return -(-address // BLOCK_BYTES) * BLOCK_BYTES


class FrameFile(Entries):
    """One u64 for each frame. What is not read in whole entries is EINVAL."""

    def __init__(self, frames: int, entries: Callable[[I64], U64]) -> None:
        super().__init__(mode=0o400)
        self._frames = frames
        self._entries = entries

    def read_at(self, offset: int, size: int) -> bytes:
        """The entries of some frames, as far as there are frames."""
        if offset % ENTRY_BYTES or size % ENTRY_BYTES:
            raise fail(errno.EINVAL)
        first = offset // ENTRY_BYTES
        return self._entries(np.arange(first, min(first + size // ENTRY_BYTES, self._frames))).tobytes()


class PageOwners:
    """All page frames up to the last memory section with memory in it. What no test gives away is free."""

    def __init__(self, kernel: "Kernel", proc: Directory) -> None:
        self._ram = tuple(sorted(kernel.system_ram))
        self._hole = 0 if kernel.profile.since("7.3") else NOPAGE
        frames = max((section_end(end) for _, end in self._ram), default=0) // PAGE
        proc.add("kpageflags", FrameFile(frames, self._flags_at))
        proc.add("kpagecgroup", FrameFile(frames, self._inodes_at))
        self.give(())

    def give(self, owners: Sequence[PageOwner]) -> None:
        """Say whose and what which pages are; where two overlap, the later one is right.

        ValueError for what is no memory, or no whole pages; KeyError for an unknown kind.
        """
        for owner in owners:
            if owner.start % PAGE or owner.end % PAGE or not self._is_ram(owner.start, owner.end):
                raise ValueError(f"{owner.start:#x} to {owner.end:#x} are not pages of memory")
        self._are_given = bool(owners)
        self._cgroups = tuple({owner.cgroup for owner in owners if owner.cgroup})
        number = {None: 0} | {cgroup: index for index, cgroup in enumerate(self._cgroups, 1)}
        self._edges: I64 = np.zeros(1, np.int64)
        self._flags: U64 = np.full(1, self._hole, np.uint64)
        self._charged: NDArray[np.intp] = np.zeros(1, np.intp)
        given = ((owner.start, owner.end, FLAGS[owner.kind], number[owner.cgroup]) for owner in owners)
        self._paint([*self._ground(), *given])

    def page_out(self, ranges: Sequence[Range]) -> None:
        """Pages leave memory: they are free, and nobody's. As long as no owners were given, none does."""
        if self._are_given and ranges:
            self._paint([(start, end, FLAGS["free"], 0) for start, end in ranges])

    def lru_pages(self, start: int, end: int, *, young: bool) -> Iterator[Pages]:
        """Runs of pages on the LRU lists: as long as no owners were given, all memory, as nobody's anonymous pages."""
        if not self._are_given:
            yield from (Pages(low, high, anon=True, young=young) for low, high in within(self._ram, start, end))
            return
        first, last = self._segments(np.array([start // PAGE, (end - 1) // PAGE]))
        for at in range(first, last + 1):
            if self._flags[at] & np.uint64(LRU):
                low = max(int(self._edges[at]) * PAGE, start)
                high = min(int(self._edges[at + 1]) * PAGE, end)
                yield Pages(low, high, bool(self._flags[at] & np.uint64(ANON)), young, self._owner(at))

    def _owner(self, at: int) -> Cgroup | None:
        charged = int(self._charged[at])
        return self._cgroups[charged - 1].heir if charged else None

    def _paint(self, painted: Sequence[tuple[int, int, int, int]]) -> None:
        """Let ranges, as (start, end, flags, number of the cgroup), be over what was there; the last one is on top."""
        edges: I64 = np.unique([*self._edges, *(edge // PAGE for start, end, *_ in painted for edge in (start, end))])
        before = self._segments(edges)
        flags, charged = self._flags[before], self._charged[before]
        for start, end, new_flags, cgroup in painted:
            first, last = np.searchsorted(edges, (start // PAGE, end // PAGE))
            flags[first:last], charged[first:last] = new_flags, cgroup
        differs = np.append(True, (np.diff(flags) != 0) | (np.diff(charged) != 0))
        self._edges, self._flags, self._charged = edges[differs], flags[differs], charged[differs]

    def charged_bytes(self, cgroup: Cgroup) -> int:
        """The bytes of all pages charged to a cgroup or below it."""
        is_mine = np.array([False, *(cgroup.contains(each.heir) for each in self._cgroups)])
        return int(np.diff(self._edges)[is_mine[self._charged[:-1]]].sum()) * PAGE

    def _ground(self) -> Iterable[tuple[int, int, int, int]]:
        """Sections with any memory have an entry for each page, reserved where the firmware keeps it; others none."""
        for start, end in self._ram:
            yield start // BLOCK_BYTES * BLOCK_BYTES, section_end(end), RESERVED, 0
        for start, end in self._ram:
            yield start, end, FLAGS["free"], 0

    def _is_ram(self, start: int, end: int) -> bool:
        return any(low <= start < end <= high for low, high in self._ram)

    def _flags_at(self, frames: I64) -> U64:
        return self._flags[self._segments(frames)]

    def _inodes_at(self, frames: I64) -> U64:
        """Of each frame's cgroup; 0 for none, and for what could be of several."""
        at = self._segments(frames)
        inodes = np.array([0, *(cgroup.heir.inode for cgroup in self._cgroups)], np.uint64)
        return np.where(self._flags[at] == FLAGS["slab"], np.uint64(0), inodes[self._charged[at]])

    def _segments(self, frames: I64) -> NDArray[np.intp]:
        return np.searchsorted(self._edges, frames, side="right") - 1
