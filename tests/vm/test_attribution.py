"""Whose physical memory it is, on real kernels: by cgroup, by kind of page, by NUMA node."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from .exporter import DAMON_STAT, MIB, SIZE_FILE, Exporter, Metrics, defragment, exporter, exporter_in_pod, free_damon
from .guest import Guest
from .kernels import find_kernel
from .test_truth import WORKLOADS

NODE = """
kernel: {settle: 0s}
monitors:
- name: node
  operations: paddr
  intervals: {sample: 10ms, aggregation: 200ms, update: 1s}
  regions: {min: 100, max: 1000}
"""
ATTRIBUTION = """
attribution: {cgroups: ["/a", "/b"], kinds: true, interval: 3s}
export: {bands: {idle: 0%, hot: 100%}}
"""
"""Whatever is touched is hot: with pauses between touches it may be seen in some samples only."""
OBSERVE = "kernel: {control: never}\nmonitors: []\n"

SIZES = {"/a": (64, 128), "/b": (96, 32)}
"""MiB in each cgroup that are touched all the time, and that are idle."""
HUGE = "/a"
"""The cgroup whose memory is of huge pages."""
PASSES = 10

TWO_NODES = (
    *("-object", "memory-backend-ram,id=low,size=768M", "-numa", "node,nodeid=0,cpus=0,memdev=low"),
    *("-object", "memory-backend-ram,id=high,size=768M", "-numa", "node,nodeid=1,memdev=high"),
)
"""Whole memory blocks of 128 MiB: one that lies across two nodes would be of neither."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass of attribution has shown, and what the kernel counted at that time."""

    metrics: Metrics
    current: dict[str, float]
    """The cgroups' ``memory.current``."""
    free: float
    """``MemFree`` in bytes."""

    def band(self, name: str, cgroup: str) -> float:
        """Bytes in one band."""
        return self.metrics.value("damon_cgroup_access_band_bytes", cgroup=cgroup, band=name)

    def total(self, cgroup: str) -> float:
        """Bytes in all bands."""
        return sum(self.metrics.all("damon_cgroup_access_band_bytes", cgroup=cgroup).values())


@pytest.fixture
def passes(show: Callable[..., list[Pass]]) -> list[Pass]:
    return show(_watch_node)


def _watch_node(guest: Guest) -> list[Pass]:
    free_damon(guest)
    with _two_cgroups(guest), exporter_in_pod(guest, NODE + ATTRIBUTION) as watching:
        return _passes(watching, "node")


def _watch_damon_stat(guest: Guest) -> list[Pass]:
    """DAMON_STAT begins with 5 ms and 100 ms and lengthens them while less than 4 % of memory is hot; here more is."""
    free_damon(guest)
    with _two_cgroups(guest), exporter(guest, OBSERVE + ATTRIBUTION) as watching:
        guest.run(f"echo Y > {DAMON_STAT}")
        seen = _passes(watching, "damon_stat")
    assert guest.get(SIZE_FILE) == b"0\n"
    return seen


@contextmanager
def _two_cgroups(guest: Guest) -> Iterator[None]:
    """Run a process in each cgroup until the block ends."""
    guest.run("cd /sys/fs/cgroup; echo +memory > cgroup.subtree_control; mkdir -p a b")
    defragment(guest)
    with ExitStack() as running:
        running.callback(guest.run, "cd /sys/fs/cgroup; rmdir a b")
        for cgroup, (hot, idle) in SIZES.items():
            # One after the other: side by side each would get every other page.
            hotcold = ["python", f"{WORKLOADS}/hotcold.py", "--cgroup", cgroup, *(["--huge"] if cgroup == HUGE else [])]
            # Before all others: who does not run for a whole aggregation touches nothing in it, and DAMON is right.
            sizes = ["--hot", f"{hot}MiB", "--idle", f"{idle}MiB", "--pause", "0.06", "--nice", "-10"]
            running.enter_context(guest.spawn([*hotcold, *sizes])).first_line()
        yield


def _passes(watching: Exporter, monitor: str) -> list[Pass]:
    """Ten passes, once DAMON has found the borders of the buffers, for which it may need a hundred aggregations."""
    watching.wait_for(lambda m: (m.get("damon_snapshots_total", monitor=monitor) or 0) > 120, "borders are found")
    seen = [_next_pass(watching, monitor, 0)]
    while len(seen) < PASSES:
        seen.append(_next_pass(watching, monitor, _samples(seen[-1].metrics, monitor)))
    return seen


def _next_pass(watching: Exporter, monitor: str, samples: float) -> Pass:
    metrics = watching.wait_for(lambda m: _samples(m, monitor) > samples, "a further pass", 60)
    return _with_truth(watching.guest, metrics)


def _samples(metrics: Metrics, monitor: str) -> float:
    return metrics.get("damon_attribution_samples_total", monitor=monitor) or 0.0


def _with_truth(guest: Guest, metrics: Metrics) -> Pass:
    current = {cgroup: float(guest.get(f"/sys/fs/cgroup{cgroup}/memory.current")) for cgroup in SIZES}
    meminfo = dict(line.split(b":") for line in guest.get("/proc/meminfo").splitlines())
    return Pass(metrics, current, float(meminfo[b"MemFree"].split()[0]) * 1024)


def _assert_bands(passes: list[Pass], average: Callable[[list[float]], float] = statistics.mean) -> None:
    for cgroup, (hot, idle) in SIZES.items():
        for band, size in (("hot", hot), ("idle", idle)):
            shown = [seen.band(band, cgroup) for seen in passes]
            assert average(shown) == pytest.approx(size * MIB, rel=0.1), (cgroup, band, shown)


def _assert_totals(passes: list[Pass]) -> None:
    for cgroup in SIZES:
        mean = statistics.mean(seen.total(cgroup) for seen in passes)
        assert mean == pytest.approx(statistics.mean(seen.current[cgroup] for seen in passes), rel=0.03), cgroup


def _assert_errors(passes: list[Pass]) -> None:
    for cgroup in SIZES:
        errors = [seen.metrics.value("damon_cgroup_standard_error_bytes", cgroup=cgroup) for seen in passes]
        off = [abs(seen.total(cgroup) - seen.current[cgroup]) for seen in passes]
        assert all(far <= 3 * error for far, error in zip(off, errors, strict=True)), (cgroup, off, errors)


def _assert_kinds(passes: list[Pass], monitor: str) -> None:
    for seen in passes:
        kinds = seen.metrics.all("damon_page_kind_band_bytes", monitor=monitor)
        assert sum(kinds.values()) == seen.metrics.value("damon_monitored_bytes", monitor=monitor)


def _assert_free(passes: list[Pass]) -> None:
    free = [sum(seen.metrics.all("damon_page_kind_band_bytes", kind="free").values()) for seen in passes]
    assert statistics.mean(free) == pytest.approx(statistics.mean(seen.free for seen in passes), rel=0.05)


def test_each_cgroup_shows_what_it_touches_and_what_it_leaves_alone(passes: list[Pass]) -> None:
    _assert_bands(passes)


def test_the_bytes_of_a_cgroup_are_those_that_are_charged_to_it(passes: list[Pass]) -> None:
    _assert_totals(passes)


def test_the_standard_error_tells_how_far_off_a_pass_may_be(passes: list[Pass]) -> None:
    _assert_errors(passes)


def test_kinds_sum_to_the_monitored_bytes_at_each_pass(passes: list[Pass]) -> None:
    _assert_kinds(passes, "node")


def test_free_memory_is_what_the_kernel_says_is_free(passes: list[Pass]) -> None:
    _assert_free(passes)


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Guest]:
    """A guest of its own with two NUMA nodes, whose only processor is on node 0."""
    with Guest(find_kernel("7.3"), memory="1536M", qemu=TWO_NODES) as guest:
        yield guest


def test_the_same_is_told_from_what_damon_stat_reports(two_nodes: Guest) -> None:
    """In a guest where buffers are not scattered yet: DAMON_STAT's regions may be as large as a tenth of memory.

    About one pass in twenty sees a hot region and an idle one that DAMON has just merged, as the hot one was touched
    in hardly any sample of one aggregation: that is what DAMON_STAT reports, and one pass must not decide.
    """
    passes = _watch_damon_stat(two_nodes)
    assert passes[-1].metrics.value("damon_monitor_info", monitor="damon_stat", owner="module") == 1
    _assert_bands(passes, statistics.median)
    _assert_totals(passes)
    _assert_errors(passes)
    _assert_kinds(passes, "damon_stat")
    _assert_free(passes)


def test_hot_memory_shows_on_the_numa_node_that_it_lies_on(two_nodes: Guest) -> None:
    free_damon(two_nodes)
    with exporter(two_nodes, NODE) as watching:
        before = _settled(watching)
        hotcold = f"python {WORKLOADS}/hotcold.py --node 1 --hot 96MiB --idle 32MiB"
        with two_nodes.spawn(f"exec {hotcold}") as process:
            process.first_line()
            after = _settled(watching)
    rise = {node: _median_hot(after, node) - _median_hot(before, node) for node in ("0", "1")}
    assert rise["1"] == pytest.approx(96 * MIB, rel=0.1)
    assert rise["0"] < 24 * MIB  # the interpreter's own
    for scrape in after:
        on_nodes = sum(scrape.all("damon_numa_access_band_bytes", monitor="node").values())
        assert on_nodes == scrape.value("damon_monitored_bytes", monitor="node")


def _settled(watching: Exporter) -> list[Metrics]:
    """Five seconds of scrapes, when DAMON has had the time to find borders."""
    begun = watching.metrics().get("damon_snapshots_total", monitor="node") or 0
    watching.wait_for(lambda m: (m.get("damon_snapshots_total", monitor="node") or 0) > begun + 60, "snapshots")
    return watching.watch(5)


def _median_hot(scrapes: list[Metrics], node: str) -> float:
    """Bytes on a NUMA node that are not idle."""
    return statistics.median(
        sum(
            value
            for labels, value in scrape.all("damon_numa_access_band_bytes", numa_node=node).items()
            if dict(labels)["band"] != "idle"
        )
        for scrape in scrapes
    )
