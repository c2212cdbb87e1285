"""Which physical addresses are memory, found without any capability (/proc/iomem shows zeros without one)."""

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from damon_exporter.kernel.errors import KernelError, Unsupported
from damon_exporter.kernel.files import names_in, read_number, read_value

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")

Range = tuple[int, int]
Ranges = tuple[Range, ...]
"""Physical address ranges in bytes, end exclusive, ascending and disjoint."""


def system_ram(sysfs: Path) -> Ranges:
    """Return the ranges of System RAM: the firmware's map, or the memory blocks where there is none.

    The firmware's map is exact but as of boot; where memory has been added or taken away since, the blocks that
    are online know better. Raises `Unsupported` if neither is there.
    """
    return _system_ram(sysfs, _online_blocks(sysfs / "devices/system/memory"))


def _system_ram(sysfs: Path, blocks: Sequence[Range]) -> Ranges:
    firmware = _firmware_ranges(sysfs / "firmware/memmap")
    ranges = _brought_up_to_date(firmware, blocks) if firmware and blocks else _joined(firmware or blocks)
    if not ranges:
        raise Unsupported(
            f"cannot tell where System RAM is: neither {sysfs}/firmware/memmap nor "
            f"{sysfs}/devices/system/memory is readable; mount one of them, or set monitors[].ranges"
        )
    return ranges


def free_permil(procfs: Path) -> int | None:
    """Return how much of memory is free, as DAMON's watermarks count it; None if /proc/meminfo does not tell.

    The kernel's damos_get_wmark_metric_value() divides the free pages by those of all memory.
    """
    try:
        text = read_value(procfs / "meminfo")
    except KernelError:
        return None
    total, free = (re.search(rf"^{name}: +([0-9]+) kB", text, re.MULTILINE) for name in ("MemTotal", "MemFree"))
    return int(free[1]) * 1000 // int(total[1]) if total and free else None


class SystemRam:
    """The ranges of System RAM; the firmware's map is read again only when other memory blocks are online."""

    def __init__(self, sysfs: Path) -> None:
        self._sysfs = sysfs
        self._blocks: list[Range] | None = None
        self._ranges: Ranges = ()

    def ranges(self) -> Ranges:
        """Return them; none if nobody tells."""
        blocks = _online_blocks(self._sysfs / "devices/system/memory")
        if blocks != self._blocks:
            self._blocks = blocks
            with suppress(Unsupported):
                self._ranges = _system_ram(self._sysfs, blocks)
        return self._ranges


def _firmware_ranges(folder: Path) -> list[Range]:
    found = []
    for entry in folder.glob("*"):
        try:
            if read_value(entry / "type") == "System RAM":
                found.append((read_number(entry / "start", 16), read_number(entry / "end", 16) + 1))
        except KernelError:
            continue
    return _whole_pages(_joined(found))


def _online_blocks(folder: Path) -> list[Range]:
    """Return the blocks that are online, each by itself; the number in a block's name is its address over its size.

    Attribution looks in every pass, and a machine may have thousands: one small file is read of each.
    """
    try:
        size = read_number(folder / "block_size_bytes", 16)
        numbers = sorted(int(name[6:]) for name in names_in(folder) if re.fullmatch("memory[0-9]+", name))
    except KernelError:
        return []
    return [(number * size, (number + 1) * size) for number in numbers if _is_online(f"{folder}/memory{number}/state")]


def _is_online(state: str) -> bool:
    try:
        return read_value(state) == "online"
    except KernelError:
        return False


def _whole_pages(ranges: Iterable[Range]) -> list[Range]:
    """Keep the pages that lie inside; the firmware may end a range in the middle of one."""
    inner = [(-(-start // PAGE_SIZE) * PAGE_SIZE, end // PAGE_SIZE * PAGE_SIZE) for start, end in ranges]
    return [(start, end) for start, end in inner if start < end]


def _joined(ranges: Iterable[Range]) -> Ranges:
    """Sort, and join what touches or overlaps."""
    joined: list[Range] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return tuple(joined)


def _brought_up_to_date(firmware: Iterable[Range], blocks: Iterable[Range]) -> Ranges:
    """Cut the firmware's ranges to what is online, and add the blocks that it knows nothing of: plugged in later."""
    online, known = _joined(blocks), _joined(firmware)
    cut = [(max(start, low), min(end, high)) for low, high in online for start, end in known]
    added = [(low, high) for low, high in blocks if not any(start < high and low < end for start, end in known)]
    return _joined([(start, end) for start, end in cut if start < end] + added)
