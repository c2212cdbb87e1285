"""Which physical addresses belong to which NUMA node, by the memory blocks that sysfs links to it."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.files import is_there, names_in, read_number


class NodeRange(NamedTuple):
    """Physical addresses in bytes, end exclusive, of one node ("0"); "" where two nodes share a memory block."""

    start: int
    end: int
    node: str


def has(sysfs: Path, node: int) -> bool:
    """Is there such a node? True also where sysfs tells of none: then nobody knows."""
    folder = sysfs / "devices/system/node"
    return not is_there(folder) or is_there(folder / f"node{node}")


def memory_nodes(sysfs: Path) -> tuple[NodeRange, ...]:
    """Return the ranges of all nodes, ascending and disjoint; none if the kernel does not tell.

    Takes one listing for each node: the number in a block's name is its address over the size of a block. Blocks that
    are offline are listed too, which does no harm.
    """
    try:
        size = read_number(sysfs / "devices/system/memory/block_size_bytes", 16)
    except KernelError:
        return ()
    node_of: dict[int, str] = {}
    for block, node in _links(sysfs / "devices/system/node"):
        node_of[block] = node if node_of.get(block, node) == node else ""
    return tuple(_ranges(node_of, size))


def _links(folder: Path) -> Iterator[tuple[int, str]]:
    """Yield the number of each memory block with its node."""
    for name, node in _numbered(folder, "node"):
        yield from ((int(block), node) for _, block in _numbered(folder / name, "memory"))


def _numbered(folder: Path, prefix: str) -> list[tuple[str, str]]:
    """Return what is called ``prefix`` and a number, with that number; nothing if the folder has gone."""
    try:
        names = names_in(folder)
    except KernelError:
        return []
    return [(name, name.removeprefix(prefix)) for name in names if name.removeprefix(prefix).isdecimal()]


def _ranges(node_of: dict[int, str], size: int) -> Iterator[NodeRange]:
    """Join neighbouring blocks of one node."""
    blocks = enumerate(sorted(node_of))
    for (_, node), run in groupby(blocks, key=lambda item: (item[1] - item[0], node_of[item[1]])):
        numbers = [number for _, number in run]
        yield NodeRange(numbers[0] * size, (numbers[-1] + 1) * size, node)
