"""Where physical memory lies, on which NUMA nodes, and how many CPUs there are: files that need no capability."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from damon_exporter.testing.fake_kernel.memory import Range
from damon_exporter.testing.fake_kernel.tree import Directory, Link, text_file

BLOCK_BYTES = 128 << 20
SYSTEM_RAM = "System RAM"


@dataclass(frozen=True, slots=True)
class MemoryMapEntry:
    """A range of physical addresses, ``end`` exclusive, and what the firmware says that it is."""

    start: int
    end: int
    type: str = SYSTEM_RAM


NumaNodes = int | Sequence[Range]
"""So many nodes of equal size, or the addresses of each; a node has every block with memory that reaches into them."""

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


def build_machine(sys: Directory, memory_map: Sequence[MemoryMapEntry], cpus: int, numa_nodes: NumaNodes) -> None:
    """Make firmware/memmap, devices/system/memory, devices/system/node and devices/system/cpu/possible."""
    for index, entry in enumerate(memory_map):
        files = {"start": f"{entry.start:#x}", "end": f"{entry.end - 1:#x}", "type": entry.type}
        sys.make(f"firmware/memmap/{index}").update({name: text_file(f"{text}\n") for name, text in files.items()})
    possible = counted(cpus)
    sys.make("devices/system/cpu").update({name: text_file(f"{possible}\n") for name in ("possible", "online")})
    blocks = memory_blocks(system_ram(memory_map))
    memory = sys.make("devices/system/memory")
    memory.add("block_size_bytes", text_file(f"{BLOCK_BYTES:x}\n"))
    for block in blocks:
        memory.make(f"memory{block}").update(
            {"phys_index": text_file(f"{block:08x}\n"), "state": text_file("online\n")}
        )
    build_nodes(sys.make("devices/system/node"), memory, blocks_by_node(blocks, numa_nodes), possible)


def build_nodes(folder: Directory, memory: Directory, by_node: Sequence[Sequence[int]], cpus: str) -> None:
    """Make each node's folder, and the links between nodes and memory blocks. All CPUs are on node 0."""
    for name in ("possible", "online", "has_memory", "has_normal_memory"):
        folder.add(name, text_file(f"{counted(len(by_node))}\n"))
    for node, blocks in enumerate(by_node):
        folder.make(f"node{node}").add("cpulist", text_file("\n" if node else f"{cpus}\n"))
        for block in blocks:
            folder.make(f"node{node}").add(f"memory{block}", Link(f"../../memory/memory{block}"))
            memory.make(f"memory{block}").add(f"node{node}", Link(f"../../node/node{node}"))


def memory_blocks(ram: Sequence[Range]) -> list[int]:
    """The numbers of the blocks with any memory."""
    return sorted({block for start, end in ram for block in range(start // BLOCK_BYTES, -(-end // BLOCK_BYTES))})


def blocks_by_node(blocks: Sequence[int], numa_nodes: NumaNodes) -> list[list[int]]:
    """The blocks of each node. One that two nodes reach into is linked to both."""
    if isinstance(numa_nodes, int):
        edges = [len(blocks) * node // numa_nodes for node in range(numa_nodes + 1)]
        return [[*blocks[first:last]] for first, last in pairwise(edges)]
    return [
        [block for block in blocks if block * BLOCK_BYTES < end and start < (block + 1) * BLOCK_BYTES]
        for start, end in numa_nodes
    ]


def counted(number: int) -> str:
    """The numbers of so many CPUs or nodes, as the kernel lists them."""
    return "0" if number == 1 else f"0-{number - 1}"
