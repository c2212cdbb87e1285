"""Where physical memory lies and how many CPUs there are, in the files that need no capability to read."""

from collections.abc import Sequence
from dataclasses import dataclass

from damon_exporter.testing.fake_kernel.memory import Range
from damon_exporter.testing.fake_kernel.tree import Directory, text_file

BLOCK_BYTES = 128 << 20
SYSTEM_RAM = "System RAM"


@dataclass(frozen=True, slots=True)
class MemoryMapEntry:
    """A range of physical addresses, ``end`` exclusive, and what the firmware says that it is."""

    start: int
    end: int
    type: str = SYSTEM_RAM


DEFAULT_MEMORY_MAP = (
    MemoryMapEntry(0x1000, 0x9F000),
    MemoryMapEntry(0x9F000, 0x100000, "Reserved"),
    MemoryMapEntry(0x100000, 0xC0000000),
    MemoryMapEntry(0xC0000000, 0x1_0000_0000, "Reserved"),
    MemoryMapEntry(0x1_0000_0000, 0x1_4000_0000),
)
"""4 GiB of RAM around the hole below 4 GiB."""


def system_ram(memory_map: Sequence[MemoryMapEntry]) -> list[Range]:
    """The ranges of RAM."""
    return [(entry.start, entry.end) for entry in memory_map if entry.type == SYSTEM_RAM]


def build_machine(sys: Directory, memory_map: Sequence[MemoryMapEntry], cpus: int) -> None:
    """Make firmware/memmap, devices/system/memory and devices/system/cpu/possible."""
    for index, entry in enumerate(memory_map):
        files = {"start": f"{entry.start:#x}", "end": f"{entry.end - 1:#x}", "type": entry.type}
        sys.make(f"firmware/memmap/{index}").update({name: text_file(f"{text}\n") for name, text in files.items()})
    memory = sys.make("devices/system/memory")
    memory.add("block_size_bytes", text_file(f"{BLOCK_BYTES:x}\n"))
    blocks = {
        block for start, end in system_ram(memory_map) for block in range(start // BLOCK_BYTES, -(-end // BLOCK_BYTES))
    }
    for block in sorted(blocks):
        memory.make(f"memory{block}").update(
            {"phys_index": text_file(f"{block:08x}\n"), "state": text_file("online\n")}
        )
    possible = "0" if cpus == 1 else f"0-{cpus - 1}"
    sys.make("devices/system/cpu").update({name: text_file(f"{possible}\n") for name in ("possible", "online")})
