"""/proc/kpageflags and /proc/kpagecgroup: what each page frame is used for, and which cgroup it is charged to."""

import errno
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.snapshot import U64
from damon_exporter.testing.fake_kernel.cgroups import Cgroup
from damon_exporter.testing.fake_kernel.machine import BLOCK_BYTES
from damon_exporter.testing.fake_kernel.memory import PAGE, Range
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
UNTOLD = ("free", "slab")
"""kpagecgroup shows no cgroup of these: of slabs because their objects may be of several."""


@dataclass(frozen=True, slots=True)
class PageOwner:
    """A range of addresses, ``end`` exclusive, all of one kind and, unless that is None, charged to one cgroup."""

    start: int
    end: int
    kind: str
    cgroup: Cgroup | None = None


class FrameFile(Entries):
    """One u64 for each frame. What is not read in whole entries is EINVAL."""

    def __init__(self, frames: int, entries: Callable[[U64], U64]) -> None:
        super().__init__(mode=0o400)
        self._frames = frames
        self._entries = entries

    def read_at(self, offset: int, size: int) -> bytes:
        """The entries of some frames, as far as there are frames."""
        if offset % ENTRY_BYTES or size % ENTRY_BYTES:
            raise fail(errno.EINVAL)
        first = offset // ENTRY_BYTES
        frames = np.arange(first, max(min(first + size // ENTRY_BYTES, self._frames), first), dtype=np.uint64)
        return self._entries(frames).tobytes()


class PageOwners:
    """All page frames up to the last memory section with memory in it. What no test gives away is free."""

    def __init__(self, kernel: "Kernel", proc: Directory) -> None:
        self._ram = tuple(sorted(kernel.system_ram))
        self._hole = 0 if kernel.profile.since("7.3") else NOPAGE
        end = -(-self._ram[-1][1] // BLOCK_BYTES) * BLOCK_BYTES
        proc.add("kpageflags", FrameFile(end // PAGE, self._flags_at))
        proc.add("kpagecgroup", FrameFile(end // PAGE, self._cgroups_at))
        self.give(())

    def give(self, owners: Sequence[PageOwner]) -> None:
        """Say whose and what which pages are; where two overlap, the later one is right.

        ValueError for what is no memory, or no whole pages; KeyError for an unknown kind.
        """
        for owner in owners:
            if owner.start % PAGE or owner.end % PAGE or not self._is_ram(owner.start, owner.end):
                raise ValueError(f"{owner.start:#x} to {owner.end:#x} are not pages of memory")
        self._owners = tuple(owners)
        painted = [*self._ground(), *((o.start, o.end, FLAGS[o.kind], index) for index, o in enumerate(owners, 1))]
        self._edges = np.unique(np.array([edge for row in painted for edge in row[:2]], np.uint64)) // np.uint64(PAGE)
        self._flags: U64 = np.full(len(self._edges), self._hole, np.uint64)
        self._owner_of: NDArray[np.intp] = np.zeros(len(self._edges), np.intp)
        for start, end, flags, index in painted:
            first, last = np.searchsorted(self._edges, (start // PAGE, end // PAGE))
            self._flags[first:last], self._owner_of[first:last] = flags, index

    def charged_bytes(self, cgroup: Cgroup) -> int:
        """The bytes of all pages charged to a cgroup or below it."""
        sizes = np.append(np.diff(self._edges), np.uint64(0)) * np.uint64(PAGE)
        by_owner = np.bincount(self._owner_of, weights=sizes, minlength=len(self._owners) + 1)[1:]
        mine = (o.cgroup is not None and cgroup.contains(o.cgroup.heir) for o in self._owners)
        return int(sum(size for size, is_mine in zip(by_owner.tolist(), mine, strict=True) if is_mine))

    def _ground(self) -> Iterable[tuple[int, int, int, int]]:
        """Sections with any memory have an entry for each page, reserved where the firmware keeps it; others none."""
        for start, end in self._ram:
            section_end = -(-end // BLOCK_BYTES) * BLOCK_BYTES
            yield start // BLOCK_BYTES * BLOCK_BYTES, section_end, RESERVED, 0
        for start, end in self._ram:
            yield start, end, FLAGS["free"], 0

    def _is_ram(self, start: int, end: int) -> bool:
        return any(low <= start < end <= high for low, high in self._ram)

    def _segments(self, frames: U64) -> NDArray[np.intp]:
        return np.searchsorted(self._edges, frames, side="right") - 1

    def _flags_at(self, frames: U64) -> U64:
        at = self._segments(frames)
        return np.where(at >= 0, self._flags[at], np.uint64(self._hole))

    def _cgroups_at(self, frames: U64) -> U64:
        """Inodes; pages of a cgroup that was removed are those of the closest above it that was not."""
        told = (owner.cgroup if owner.kind not in UNTOLD else None for owner in self._owners)
        inodes = np.array([0, *(cgroup.heir.inode if cgroup else 0 for cgroup in told)], np.uint64)
        at = self._segments(frames)
        return np.where(at >= 0, inodes[self._owner_of[at]], np.uint64(0))
