"""Physical memory as it was last seen: what attribution draws from, and how much of it is on which NUMA node."""

from collections.abc import Mapping, Sequence

from damon_exporter.analysis import bands
from damon_exporter.analysis.idle import IdleAges
from damon_exporter.analysis.numa import NodeMap, node_band_bytes
from damon_exporter.analysis.snapshot import Snapshot
from damon_exporter.attribution import PhysicalView

UNKNOWN_NODE = ""


def physical_view(snapshot: Snapshot, ages: IdleAges | None, bounds: Sequence[float]) -> PhysicalView | None:
    """Return what attribution needs of a snapshot; None while nothing tells its intervals, and so its bands."""
    if snapshot.intervals is None or not len(snapshot.regions):
        return None
    ratios = bands.access_ratios(snapshot.regions, snapshot.intervals)
    return PhysicalView(snapshot.regions, bands.band_indexes(ratios, bounds), ages, snapshot.end_ns)


def bytes_by_node(view: PhysicalView, names: Sequence[str], nodes: NodeMap) -> Mapping[str, Mapping[str, int]]:
    """Return bytes by NUMA node and band; under "" those in no memory block of a known node, if there are any.

    Empty where the kernel tells of no nodes.
    """
    if not nodes.names:
        return {}
    found = node_band_bytes(
        view.regions, view.band, len(names), nodes.edges, nodes.node_of_edge, len(nodes.names)
    ).tolist()
    by_node = dict(zip((*nodes.names, UNKNOWN_NODE), found, strict=True))
    return {
        node: dict(zip(names, row, strict=True)) for node, row in by_node.items() if node != UNKNOWN_NODE or any(row)
    }
