"""Regions joined with the memory of NUMA nodes: every byte counts once, where it lies."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from made_regions import MIB, any_regions, regions

from damon_exporter.analysis.numa import NodeMap, node_band_bytes, node_map
from damon_exporter.analysis.snapshot import Regions


def memory(*ranges: tuple[int, int]) -> Regions:
    """Regions from (start, end)."""
    return regions(*((start, end, 0) for start, end in ranges))


def by_node(made: Regions, nodes: NodeMap, *band: int, bands: int = 2) -> dict[str, list[int]]:
    """Bytes by band of each node, and of none ("")."""
    told = node_band_bytes(made, np.array(band, np.intp), bands, nodes)
    return dict(zip((*nodes.names, ""), told.tolist(), strict=True))


def test_a_region_that_lies_on_two_nodes_counts_on_both_by_its_bytes() -> None:
    nodes = node_map([(0, 4, "0"), (4, 10, "1")])
    made = memory((0, 1), (1, 6), (6, 9))
    assert by_node(made, nodes, 0, 1, 0) == {"0": [1, 3], "1": [3, 2], "": [0, 0]}


def test_a_region_may_lie_on_many_nodes_and_between_them() -> None:
    nodes = node_map([(10, 20, "0"), (20, 25, "1"), (30, 40, "0")])
    assert by_node(memory((5, 50)), nodes, 1) == {"0": [0, 20], "1": [0, 5], "": [0, 20]}


def test_regions_that_end_where_a_node_begins_do_not_lie_on_it() -> None:
    nodes = node_map([(10, 20, "0"), (20, 30, "1")])
    assert by_node(memory((0, 10), (10, 20), (20, 30), (30, 40)), nodes, 0, 0, 0, 0, bands=1) == {
        "0": [10],
        "1": [10],
        "": [20],
    }


def test_memory_that_two_nodes_share_is_of_no_known_node() -> None:
    nodes = node_map([(0, 8, "0"), (8, 16, ""), (16, 24, "1")])
    assert by_node(memory((4, 20)), nodes, 0, bands=1) == {"0": [4], "1": [4], "": [8]}


def test_without_any_node_all_memory_is_of_none() -> None:
    assert by_node(memory((0, MIB), (MIB, 3 * MIB)), node_map([]), 0, 1) == {"": [MIB, 2 * MIB]}


def test_without_any_region_there_are_no_bytes() -> None:
    assert by_node(memory(), node_map([(0, MIB, "0")])) == {"0": [0, 0], "": [0, 0]}


def test_memory_up_to_the_last_address_is_counted() -> None:
    top = 2**64 - 4096
    assert by_node(memory((top - MIB, top)), node_map([(0, top - 4096, "0")]), 0) == {
        "0": [MIB - 4096, 0],
        "": [4096, 0],
    }


def test_nodes_are_in_the_order_of_their_numbers() -> None:
    assert node_map([(0, 1, "10"), (1, 2, "2"), (2, 3, ""), (3, 4, "0"), (4, 5, "2")]).names == ("0", "2", "10")


@st.composite
def ranges(draw: st.DrawFn) -> list[tuple[int, int, str]]:
    """Memory of three nodes, some of it of none, with holes or without."""
    at, found = draw(st.integers(0, 100)), []
    for _ in range(draw(st.integers(0, 8))):
        at += draw(st.sampled_from((0, 0, 3)))
        size = draw(st.integers(1, 60))
        found.append((at, at + size, draw(st.sampled_from(("0", "1", "2", "")))))
        at += size
    return found


@given(any_regions(largest=300, targets=1), ranges(), st.lists(st.integers(0, 2), min_size=12, max_size=12))
def test_every_byte_counts_where_it_lies(made: Regions, of_nodes: list[tuple[int, int, str]], band: list[int]) -> None:
    nodes = node_map(of_nodes)
    expected = {name: [0, 0, 0] for name in (*nodes.names, "")}
    for start, end, b in zip(made.start.tolist(), made.end.tolist(), band, strict=False):
        left = end - start
        for low, high, node in of_nodes:
            size = max(min(end, high) - max(start, low), 0) if node else 0
            expected[node][b] += size
            left -= size
        expected[""][b] += left
    assert by_node(made, nodes, *band[: len(made)], bands=3) == expected
