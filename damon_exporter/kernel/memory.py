"""Which physical addresses are memory, found without any capability (/proc/iomem shows zeros without one)."""

from pathlib import Path

from damon_exporter.kernel.errors import KernelError, Unsupported
from damon_exporter.kernel.files import read_value

PAGE_SIZE = 4096

Ranges = tuple[tuple[int, int], ...]
"""Physical address ranges in bytes, end exclusive, ascending and disjoint."""


def system_ram(sysfs: Path) -> Ranges:
    """Return the ranges of System RAM: the firmware's map, or the memory blocks where there is none.

    The firmware's map is exact but as of boot; where memory has been added or taken away since, the blocks that
    are online know better. Raises `Unsupported` if neither is there.
    """
    firmware = _firmware_ranges(sysfs / "firmware/memmap")
    blocks = _online_blocks(sysfs / "devices/system/memory")
    ranges = _intersection(firmware, blocks) if firmware and blocks else firmware or blocks
    if not ranges:
        raise Unsupported(
            f"cannot tell where System RAM is: neither {sysfs}/firmware/memmap nor "
            f"{sysfs}/devices/system/memory is readable; mount one of them, or set monitors[].ranges"
        )
    return ranges


def _firmware_ranges(folder: Path) -> Ranges:
    found = []
    for entry in folder.glob("*"):
        try:
            if read_value(entry / "type") == "System RAM":
                found.append((int(read_value(entry / "start"), 16), int(read_value(entry / "end"), 16) + 1))
        except (KernelError, ValueError):
            continue
    return _joined(_whole_pages(found))


def _online_blocks(folder: Path) -> Ranges:
    try:
        size = int(read_value(folder / "block_size_bytes"), 16)
    except (KernelError, ValueError):
        return ()
    found = []
    for block in folder.glob("memory[0-9]*"):
        try:
            if read_value(block / "state") == "online":
                start = int(read_value(block / "phys_index"), 16) * size
                found.append((start, start + size))
        except (KernelError, ValueError):
            continue
    return _joined(found)


def _whole_pages(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Keep the pages that lie inside; the firmware may end a range in the middle of one."""
    inner = [(-(-start // PAGE_SIZE) * PAGE_SIZE, end // PAGE_SIZE * PAGE_SIZE) for start, end in ranges]
    return [(start, end) for start, end in inner if start < end]


def _joined(ranges: list[tuple[int, int]]) -> Ranges:
    """Sort, and join what touches or overlaps."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return tuple(joined)


def _intersection(firmware: Ranges, blocks: Ranges) -> Ranges:
    """Cut the firmware's ranges to the online blocks, and add whole blocks that the firmware did not know."""
    cut = [
        (max(start, low), min(end, high))
        for start, end in firmware
        for low, high in blocks
        if max(start, low) < min(end, high)
    ]
    last_known = max(end for _, end in firmware)
    added = [(low, high) for low, high in blocks if low >= last_known]
    return _joined(cut + added)
