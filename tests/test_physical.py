"""Physical memory as it was last seen, for attribution and by NUMA node."""

from collections.abc import Callable

import pytest
from made_regions import INTERVALS, regions
from running import QUICK, ConfigFlag, Running, path_flags
from vm.exporter import Metrics

from damon_exporter.analysis.numa import NodeMap, node_map
from damon_exporter.analysis.snapshot import Snapshot
from damon_exporter.physical import bytes_by_node, physical_view
from damon_exporter.testing.fake_kernel import FakeKernel

GIB = 1 << 30
BOUNDS = (0.0, 0.5, 1.0)
NAMES = ("idle", "warm", "hot")
TWO_NODES = node_map([(0, 2 * GIB, "0"), (3 * GIB, 4 * GIB, "1")])


@pytest.fixture
def snapshot() -> Snapshot:
    """3.5 GiB: idle, hot across the end of node 0, and warm on node 1."""
    made = regions((0, GIB, 0), (GIB, 2 * GIB + GIB // 2, 20), (3 * GIB, 4 * GIB, 7))
    return Snapshot(700, 1_000_000, made, INTERVALS, INTERVALS.aggregation_us)


def by_node(snapshot: Snapshot, nodes: NodeMap) -> dict[str, dict[str, float]]:
    """GiB by node and band."""
    view = physical_view(snapshot, None, BOUNDS)
    assert view is not None
    told = bytes_by_node(view, NAMES, nodes)
    return {node: {band: size / GIB for band, size in sizes.items()} for node, sizes in told.items()}


def test_a_view_has_the_band_of_each_region(snapshot: Snapshot) -> None:
    view = physical_view(snapshot, None, BOUNDS)
    assert view is not None
    assert [NAMES[band] for band in view.band] == ["idle", "hot", "warm"]
    assert view.regions == snapshot.regions


def test_without_intervals_nothing_tells_the_bands_and_there_is_no_view(snapshot: Snapshot) -> None:
    unknown = Snapshot(700, 1, snapshot.regions, None, None)
    assert physical_view(unknown, None, BOUNDS) is None


def test_of_no_regions_there_is_no_view() -> None:
    empty = Snapshot(700, 1, regions(), INTERVALS, INTERVALS.aggregation_us)
    assert physical_view(empty, None, BOUNDS) is None


def test_bytes_are_told_by_node_and_band_and_those_of_no_node_too(snapshot: Snapshot) -> None:
    assert by_node(snapshot, TWO_NODES) == {
        "0": {"idle": 1, "warm": 0, "hot": 1},
        "1": {"idle": 0, "warm": 1, "hot": 0},
        "": {"idle": 0, "warm": 0, "hot": 0.5},
    }


def test_no_unknown_node_is_told_of_where_all_are_known(snapshot: Snapshot) -> None:
    assert set(by_node(snapshot, node_map([(0, 4 * GIB, "0")]))) == {"0"}


def test_a_kernel_that_tells_of_no_nodes_gets_no_series(snapshot: Snapshot) -> None:
    assert by_node(snapshot, node_map(())) == {}


# A whole exporter on a machine with two nodes


def test_each_node_has_its_bytes_and_the_hole_is_of_no_node(
    fake_kernel: Callable[..., FakeKernel], config: ConfigFlag
) -> None:
    kernel = fake_kernel(numa_nodes=[(0, 2 * GIB), (2 * GIB, 5 * GIB)])
    kernel.set_physical_heat([(2 * GIB - GIB // 2, 2 * GIB + GIB // 4, 1.0)])
    above_1_gib = QUICK.replace("paddr,", "paddr, ranges: [[1GiB, 5GiB]],")
    with Running(*path_flags(kernel.paths), config(above_1_gib)) as running:
        running.wait_for(lambda: running.value("damon_working_set_bytes", monitor="node"))
        scrape = Metrics.parse(running.fetch("/metrics")[1])
    served = {
        (dict(labels)["numa_node"], dict(labels)["band"]): size / GIB
        for labels, size in scrape.all("damon_numa_access_band_bytes", monitor="node").items()
        if size
    }
    assert served == {
        ("0", "idle"): 0.5,
        ("0", "hot"): 0.5,
        ("1", "idle"): 1.75,
        ("1", "hot"): 0.25,
        ("", "idle"): 1,
    }
    assert sum(served.values()) * GIB == scrape.value("damon_monitored_bytes", monitor="node")
