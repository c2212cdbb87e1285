"""Bytes by NUMA node: regions joined with the ranges of memory of each node."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from damon_exporter.analysis.bands import I64, Groups, sum_table
from damon_exporter.analysis.snapshot import U64, Regions


@dataclass(frozen=True, slots=True)
class NodeMap:
    """Whose memory begins at which address.

    From ``edges[i]`` (bytes, ascending) up to the next edge it is that of ``names[node_of_edge[i]]``, or nobody's where
    ``node_of_edge`` is ``len(names)``.
    """

    edges: U64
    node_of_edge: Groups
    names: tuple[str, ...]


def node_map(ranges: Iterable[tuple[int, int, str]]) -> NodeMap:
    """Make a map from (start, end, node) in bytes, ascending and disjoint; "" is no known node."""
    ranges = tuple(ranges)
    names = tuple(sorted({node for _, _, node in ranges} - {""}, key=lambda name: (len(name), name)))
    index = {"": len(names)} | {name: i for i, name in enumerate(names)}
    edges: dict[int, int] = {}
    for start, end, node in ranges:
        edges |= {start: index[node], end: len(names)}  # the next range may begin where this one ends
    return NodeMap(np.array(list(edges), np.uint64), np.array(list(edges.values()), np.intp), names)


def node_band_bytes(regions: Regions, band: Groups, bands: int, nodes: NodeMap) -> I64:
    """Return bytes by node and band, shape (nodes + 1, bands); the last row is memory of no known node.

    ``band`` has an index for every region. Nothing is sampled: a region that straddles an edge counts on both sides by
    its bytes, and all bytes are counted once.
    """
    edges, unknown = nodes.edges, len(nodes.names)
    first = np.searchsorted(edges, regions.start, side="right")
    last = np.searchsorted(edges, regions.end, side="left")
    pieces = np.maximum(last - first, 0) + 1
    region = np.repeat(np.arange(len(regions)), pieces)
    # How many edges lie at or below the start of each piece.
    below = np.arange(len(region)) + np.repeat(first - (np.cumsum(pieces) - pieces), pieces)
    start = np.maximum(regions.start[region], np.concatenate((np.zeros(1, np.uint64), edges))[below])
    end = np.minimum(regions.end[region], np.concatenate((edges, np.full(1, 2**64 - 1, np.uint64)))[below])
    node = np.concatenate((np.full(1, unknown), nodes.node_of_edge))[below]
    return sum_table(end - start, node, unknown + 1, band[region], bands)
