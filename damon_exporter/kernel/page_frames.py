"""What the kernel tells of single page frames: their flags, and the cgroup that they are charged to."""

import os
from pathlib import Path

import numpy as np

from damon_exporter.analysis.page_kinds import NOPAGE
from damon_exporter.analysis.snapshot import U64
from damon_exporter.kernel.errors import explain
from damon_exporter.kernel.memory import PAGE_SIZE, Ranges

ENTRY_BYTES = 8


class PageFrames:
    """Reads /proc/kpageflags and /proc/kpagecgroup, which uid 0 may without any capability."""

    def __init__(self, procfs: Path) -> None:
        self._flags = procfs / "kpageflags"
        self._cgroups = procfs / "kpagecgroup"

    def flags(self, frames: U64, ram: Ranges = ()) -> U64:
        """Return the flags of page frames; NOPAGE for holes and beyond the end of memory. Raises `KernelError`.

        ``ram`` is where System RAM is, if that is known: some version after 6.12 shows holes like pages without any
        flag, which a frame outside of it is taken for.
        """
        loss = "what memory is used for is unknown; set attribution.kinds: false"
        flags = _read(self._flags, frames, NOPAGE, loss)
        if not ram:
            return flags
        edges = np.array(ram, np.uint64).ravel() // np.uint64(PAGE_SIZE)
        outside = np.searchsorted(edges, frames, side="right") % 2 == 0
        return np.where(outside & (flags == 0), np.uint64(NOPAGE), flags)

    def cgroups(self, frames: U64) -> U64:
        """Return the inode of the memory cgroup that each frame is charged to, 0 for none. Raises `KernelError`.

        Pages of a cgroup that has been removed are those of its closest ancestor that has not. Those of slabs, which
        may hold objects of many cgroups, are nobody's.
        """
        return _read(
            self._cgroups,
            frames,
            0,
            "whose memory it is is unknown; use a kernel with CONFIG_MEMCG, or set attribution.cgroups: []",
        )


def _read(path: Path, frames: U64, beyond: int, loss: str) -> U64:
    """Read one entry for each frame, neighbours with one system call; ``beyond`` stands for those behind the end."""
    heads = np.flatnonzero(np.diff(frames, prepend=frames[:1] - np.uint64(2)) != 1)
    lengths = np.diff(heads, append=len(frames))
    runs = zip((frames[heads] * np.uint64(ENTRY_BYTES)).tolist(), (lengths * ENTRY_BYTES).tolist(), strict=True)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = [_entries(fd, offset, size, beyond) for offset, size in runs]
        finally:
            os.close(fd)
    except OSError as error:
        known = explain(error, "read", path)
        raise type(known)(f"{known}; without it {loss}") from error
    return np.frombuffer(b"".join(found), np.uint64)


def _entries(fd: int, offset: int, size: int, beyond: int) -> bytes:
    """Return ``size`` bytes of entries; the file ends where memory does."""
    found = os.pread(fd, size, offset)
    if len(found) == size:
        return found
    entries = len(found) // ENTRY_BYTES
    return found[: entries * ENTRY_BYTES] + np.full(size // ENTRY_BYTES - entries, beyond, np.uint64).tobytes()
