"""Where the fake kernel says that memory lies, and on which NUMA node."""

from pathlib import Path

import pytest
from staging import GIB, MIB, Start

from damon_exporter.kernel.memory_nodes import memory_nodes
from damon_exporter.testing.fake_kernel import FakeKernel

BLOCK = 128 * MIB
RAM_BLOCKS = {*range(24), *range(32, 40)}
"""4 GiB around the hole below 4 GiB."""


def blocks(kernel: FakeKernel, node: int) -> set[int]:
    folder = kernel.sysfs / f"devices/system/node/node{node}"
    return {int(path.name.removeprefix("memory")) for path in folder.glob("memory*")}


def test_physical_memory_is_where_the_test_put_it(fake_kernel: Start) -> None:
    kernel = fake_kernel(memory_map=[(0x1000, GIB, "System RAM"), (GIB, GIB + 0x1000, "Reserved")])
    entry = kernel.sysfs / "firmware/memmap/0"
    texts = {name: (entry / name).read_text().strip() for name in ("start", "end", "type")}
    assert texts == {"start": "0x1000", "end": "0x3fffffff", "type": "System RAM"}
    blocks = [path for path in (kernel.sysfs / "devices/system/memory").iterdir() if path.is_dir()]
    size = int((kernel.sysfs / "devices/system/memory/block_size_bytes").read_text(), 16)
    assert len(blocks) * size == GIB


def test_there_are_as_many_cpus_as_the_test_wants(fake_kernel: Start) -> None:
    kernel = fake_kernel(cpus=256)
    assert (kernel.sysfs / "devices/system/cpu/possible").read_text() == "0-255\n"
    assert len(list((kernel.tracefs / "per_cpu").iterdir())) == 256


def test_all_memory_is_on_node_0_if_nothing_is_said(kernel: FakeKernel) -> None:
    nodes = kernel.sysfs / "devices/system/node"
    assert [path.name for path in nodes.glob("node*")] == ["node0"]
    assert (nodes / "online").read_text() == "0\n"
    assert blocks(kernel, 0) == RAM_BLOCKS


def test_so_many_nodes_share_the_blocks_evenly(fake_kernel: Start) -> None:
    kernel = fake_kernel(numa_nodes=2)
    assert blocks(kernel, 0) == set(range(16))
    assert blocks(kernel, 1) == RAM_BLOCKS - set(range(16))
    assert memory_nodes(kernel.sysfs) == (
        (0, 2 * GIB, "0"),
        (2 * GIB, 3 * GIB, "1"),
        (4 * GIB, 5 * GIB, "1"),
    )


def test_a_block_that_two_nodes_reach_into_is_linked_to_both(fake_kernel: Start) -> None:
    """Kernel: drivers/base/node.c links a block below each node that has a page in it."""
    border = GIB + 64 * MIB
    kernel = fake_kernel(numa_nodes=[(0, border), (border, 5 * GIB), (5 * GIB, 6 * GIB)])
    assert blocks(kernel, 0) == set(range(9))
    assert blocks(kernel, 1) == RAM_BLOCKS - set(range(8))
    assert blocks(kernel, 2) == set(), "a node without memory"


@pytest.mark.parametrize(
    ("link", "target"),
    [("node/node0/memory8", "../../memory/memory8"), ("memory/memory8/node0", "../../node/node0")],
)
def test_nodes_and_blocks_are_linked_to_each_other(kernel: FakeKernel, link: str, target: str) -> None:
    """Seen on 6.18."""
    path = kernel.sysfs / "devices/system" / link
    assert path.is_symlink()
    assert path.readlink() == Path(target)
    assert path.resolve() == (path.parent / target).resolve()
    assert path.is_dir()
    assert (kernel.sysfs / "devices/system/node/node0/memory8/phys_index").read_text() == "00000008\n"
