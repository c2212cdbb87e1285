"""Physical memory as it was last seen: what attribution draws from, and how much of it is on which NUMA node."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from damon_exporter.analysis import bands
from damon_exporter.analysis.idle import IdleAges
from damon_exporter.analysis.numa import NodeMap, node_band_bytes, node_map
from damon_exporter.analysis.snapshot import Regions, Snapshot
from damon_exporter.kernel.memory_nodes import memory_nodes

Origin = tuple[int, int]
"""The pid of a kdamond, and the bytes that it monitors."""

UNKNOWN_NODE = ""

NODES_SECONDS = 60.0
"""How often it is looked which memory is on which NUMA node."""


@dataclass(frozen=True, slots=True)
class PhysicalView:
    """The last snapshot of a monitor of physical memory: its regions with the index of each one's band.

    ``ages`` is None while nothing tells the unit of the kernel's ages. ``kdamond`` is the pid of who saw it.
    """

    regions: Regions
    band: bands.Groups
    ages: IdleAges | None
    kdamond: int = 0

    @property
    def origin(self) -> Origin:
        """Who saw it, and how much: what differs in that is other memory."""
        return self.kdamond, int(self.regions.sizes.sum())


class CurrentNodes:
    """Which physical addresses are on which NUMA node, read again now and then: memory can be plugged in."""

    def __init__(self, sysfs: Path) -> None:
        self._sysfs = sysfs
        self._read_at = -math.inf
        self._nodes = node_map(())

    def at(self, now: float) -> NodeMap:
        """Return what is known at ``now`` (CLOCK_MONOTONIC, s)."""
        if now - self._read_at >= NODES_SECONDS:
            self._read_at, self._nodes = now, node_map(memory_nodes(self._sysfs))
        return self._nodes


def physical_view(snapshot: Snapshot, ages: IdleAges | None, bounds: Sequence[float]) -> PhysicalView | None:
    """Return what attribution needs of a snapshot; None while nothing tells its intervals, and so its bands."""
    if snapshot.intervals is None or not len(snapshot.regions):
        return None
    ratios = bands.access_ratios(snapshot.regions, snapshot.intervals)
    return PhysicalView(snapshot.regions, bands.band_indexes(ratios, bounds), ages, snapshot.kdamond)


def bytes_by_node(view: PhysicalView, names: Sequence[str], nodes: NodeMap) -> Mapping[str, Mapping[str, int]]:
    """Return bytes by NUMA node and band; under "" those in no memory block of a known node, if there are any.

    Empty where the kernel tells of no nodes.
    """
    if not nodes.names:
        return {}
    found = node_band_bytes(view.regions, view.band, len(names), nodes).tolist()
    by_node = dict(zip((*nodes.names, UNKNOWN_NODE), found, strict=True))
    return {
        node: dict(zip(names, row, strict=True)) for node, row in by_node.items() if node != UNKNOWN_NODE or any(row)
    }
