"""What the workloads share: buffers at known addresses, and touching them so that DAMON can see it.

Runs in the guest with nothing but the standard library.
"""

import argparse
import ctypes
import json
import mmap
import re
import time
from itertools import pairwise
from pathlib import Path

PAGE, HUGE_PAGE = mmap.PAGESIZE, 2 << 20
PR_SET_NAME = 15
MCL_CURRENT = 1
SET_MEMPOLICY, MPOL_BIND, NODES = 238, 2, 64
"""A system call of x86-64, its mode, and how many bits its mask of nodes has."""
CGROUPS = Path("/sys/fs/cgroup")
BREATH = 0.02
"""Seconds between two passes. DAMON's usual aggregation interval of 100 ms still sees several of them, and the guest's
only CPU keeps time for whoever watches: without, starting a Python program took 38 s instead of 5."""
UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Area:
    """A part of this process's memory that can be touched."""

    def __init__(self, memory: memoryview, start: int) -> None:
        """Args: memory: its bytes, whole pages; start: the address of the first."""
        self._memory = memory
        self._first_bytes = memory[::PAGE]
        self.start = start
        self.size = len(memory)

    def touch(self) -> None:
        """Read one byte of each page, in C: 16384 pages take 2.5 ms in the emulated guest."""
        self._first_bytes.tobytes()

    def part(self, start: int, end: int) -> "Area":
        """The bytes from ``start`` to ``end`` of this area, both rounded down to whole pages."""
        start, end = start // PAGE * PAGE, end // PAGE * PAGE
        return Area(self._memory[start:end], self.start + start)

    def divided(self, parts: int) -> list["Area"]:
        """Areas side by side that together are this one."""
        edges = [self.size * number // parts for number in range(parts + 1)]
        return [self.part(start, end) for start, end in pairwise(edges)]

    def addresses(self) -> dict[str, int]:
        """Where it lies; the end is exclusive."""
        return {"start": self.start, "end": self.start + self.size}


def mapped(size: int, margin: int = 0, *, huge: bool = False) -> Area:
    """Fresh anonymous memory of ``size`` bytes, rounded up to whole pages, all of them written once.

    ``margin`` bytes on either side are mapped but never touched: DAMON's regions, which it cuts at random, then hold
    nothing else that would be accessed beside these bytes. ``huge`` pages of 2 MiB lie together in physical memory,
    however scattered what is free may be; otherwise there is one accessed bit per 4 KiB.
    """
    page = HUGE_PAGE if huge else PAGE
    size = -(-size // page) * page
    memory = mmap.mmap(-1, size + 2 * margin + page, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    first = margin + -(address + margin) % page
    view = memoryview(memory)[first : first + size]
    view[::PAGE] = b"x" * (size // PAGE)
    return Area(view, address + first)


class TlbFlush:
    """Makes the processor forget all translations, so that the next touch sets the accessed bit again.

    A real TLB is small enough to forget by itself; QEMU's holds so many that a loop which never leaves user space
    looks idle. Changing the protection of more than 33 pages makes the kernel flush everything (0.1 ms).
    """

    PAGES = 64

    def __init__(self) -> None:
        self._area = mapped(self.PAGES * PAGE)

    def __call__(self) -> None:
        for protection in (mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE):
            if libc.mprotect(self._area.start, self._area.size, protection) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")


def enter_cgroup(path: str) -> None:
    """Go into a cgroup such as ``/a``: what is mapped from now on is charged to it, the interpreter's memory is not."""
    (CGROUPS / path.lstrip("/") / "cgroup.procs").write_text("0")


def bind_to_node(node: int) -> None:
    """Take memory from this NUMA node only."""
    nodes = ctypes.c_ulong(1 << node)
    if libc.syscall(SET_MEMPOLICY, MPOL_BIND, ctypes.byref(nodes), NODES + 1) != 0:
        raise OSError(ctypes.get_errno(), "set_mempolicy")


def stay_in_memory() -> None:
    """Keep what is mapped now, which is the interpreter, from being paged out; what is mapped later may be."""
    if libc.mlockall(MCL_CURRENT) != 0:
        raise OSError(ctypes.get_errno(), "mlockall")


def size(text: str) -> int:
    """``64MiB`` or ``100000000`` in bytes."""
    found = re.fullmatch(r"(\d+)(\w*)", text)
    if found is None or found[2] not in UNITS:
        raise argparse.ArgumentTypeError(f"{text} is not a size such as 64MiB or 100000000")
    return int(found[1]) * UNITS[found[2]]


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options that all workloads have."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--comm", help="the name that the kernel shows for the process, at most 15 bytes")
    return options


def announce(comm: str | None, **areas: object) -> None:
    """Take the name, then tell by a JSON line where the buffers are: from here on the truth holds."""
    if comm is not None:
        libc.prctl(PR_SET_NAME, comm.encode(), 0, 0, 0)
    print(json.dumps(areas), flush=True)


def keep_touching(seconds: float, *areas: Area, pause: float = BREATH) -> None:
    """Touch these areas again and again for so long, with a pause of so many seconds between two passes."""
    flush = TlbFlush()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for area in areas:
            area.touch()
        flush()
        if pause:
            time.sleep(pause)
