"""Which memory belongs to which NUMA node."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.memory import system_ram
from damon_exporter.kernel.memory_nodes import memory_nodes

MIB = 1 << 20
BLOCK = 128 * MIB

AddNode = Callable[[int, Iterable[int]], None]
"""Adds a node with the memory blocks of these numbers."""


@pytest.fixture
def node(tmp_path: Path) -> AddNode:
    """A machine, as sysfs shows it, to which nodes are added."""
    memory, nodes = tmp_path / "devices/system/memory", tmp_path / "devices/system/node"
    memory.mkdir(parents=True)
    nodes.mkdir()
    (memory / "block_size_bytes").write_text(f"{BLOCK:x}\n")
    for name in ("online", "possible", "has_memory", "has_normal_memory"):
        (nodes / name).write_text("0\n")
    (nodes / "power").mkdir()

    def add(number: int, blocks: Iterable[int]) -> None:
        folder = nodes / f"node{number}"
        folder.mkdir()
        for name in ("meminfo", "memory_failure_stats", "cpulist", "vmstat"):
            (folder / name).write_text("\n")
        (folder / "memory_side_cache").mkdir()
        for block in blocks:
            (memory / f"memory{block}").mkdir(exist_ok=True)
            (folder / f"memory{block}").symlink_to(f"../../memory/memory{block}")

    return add


def test_neighbouring_blocks_of_a_node_are_one_range(tmp_path: Path, node: AddNode) -> None:
    node(0, range(24))
    assert memory_nodes(tmp_path) == ((0, 24 * BLOCK, "0"),)


def test_nodes_follow_each_other_by_address_not_by_number(tmp_path: Path, node: AddNode) -> None:
    node(0, [*range(8, 16), 100])
    node(1, range(8))
    node(10, [16])
    assert memory_nodes(tmp_path) == (
        (0, 8 * BLOCK, "1"),
        (8 * BLOCK, 16 * BLOCK, "0"),
        (16 * BLOCK, 17 * BLOCK, "10"),
        (100 * BLOCK, 101 * BLOCK, "0"),
    )


def test_blocks_that_two_nodes_share_are_of_no_known_node(tmp_path: Path, node: AddNode) -> None:
    node(0, range(9))
    node(1, range(7, 12))
    found = memory_nodes(tmp_path)
    assert [(each.start // BLOCK, each.end // BLOCK, each.node) for each in found] == [
        (0, 7, "0"),
        (7, 9, ""),
        (9, 12, "1"),
    ]


def test_blocks_that_three_nodes_share_are_of_none_of_them(tmp_path: Path, node: AddNode) -> None:
    for number in range(3):
        node(number, [5])
    assert memory_nodes(tmp_path) == ((5 * BLOCK, 6 * BLOCK, ""),)


def test_nodes_without_memory_have_no_range(tmp_path: Path, node: AddNode) -> None:
    node(0, [3])
    node(1, [])
    assert [found.node for found in memory_nodes(tmp_path)] == ["0"]


def test_blocks_are_listed_in_any_order(tmp_path: Path, node: AddNode) -> None:
    node(1, (13, 11, 12))
    node(0, reversed(range(11)))
    assert memory_nodes(tmp_path) == ((0, 11 * BLOCK, "0"), (11 * BLOCK, 14 * BLOCK, "1"))


def test_a_kernel_without_memory_blocks_tells_nothing(tmp_path: Path, node: AddNode) -> None:
    node(0, [])
    assert memory_nodes(tmp_path) == ()


def test_a_kernel_without_nodes_tells_nothing(tmp_path: Path) -> None:
    assert memory_nodes(tmp_path) == ()


def test_all_memory_of_this_machine_belongs_to_a_node_that_has_memory() -> None:
    sysfs = Path("/sys")
    found = memory_nodes(sysfs)
    if not found:
        pytest.skip("this kernel tells nothing of NUMA nodes or memory blocks")
    assert all((sysfs / f"devices/system/node/node{each.node}").is_dir() for each in found if each.node)
    try:
        ram = system_ram(sysfs)
    except KernelError:
        pytest.skip("this machine does not tell where its memory is")
    for start, end in ram:
        assert sum(max(min(end, each.end) - max(start, each.start), 0) for each in found) == end - start
