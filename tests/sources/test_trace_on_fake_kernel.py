"""Trace ring and framer together on a fake kernel, whose tracefs answers system calls as the real one does."""

import errno
import time
from collections.abc import Callable

import pytest

from damon_exporter.kernel.errors import Busy, Denied
from damon_exporter.kernel.trace_ring import TraceRing
from damon_exporter.sources.tracepoint import Aggregation, Framer
from damon_exporter.testing.fake_kernel import FakeKernel

MIB = 1 << 20
INTERVALS = "0/contexts/0/monitoring_attrs/intervals"


@pytest.fixture(params=["6.12", "7.3"])
def kernel(request: pytest.FixtureRequest, fake_kernel: Callable[..., FakeKernel]) -> FakeKernel:
    return fake_kernel(kernel=request.param)


def watch_two_processes(kernel: FakeKernel) -> int:
    """Start a vaddr kdamond with two targets that aggregates every 40 ms; return its pid."""
    kernel.write("nr_kdamonds", 1)
    kernel.write("0/contexts/nr_contexts", 1)
    kernel.write("0/contexts/0/operations", "vaddr")
    kernel.write(f"{INTERVALS}/sample_us", 2_000)
    kernel.write(f"{INTERVALS}/aggr_us", 40_000)
    kernel.write("0/contexts/0/targets/nr_targets", 2)
    for index, pid in enumerate((42, 43)):
        kernel.add_process(pid, "busy", memory=[(64 * MIB, 80 * MIB, 1.0), (80 * MIB, 128 * MIB, 0.0)])
        kernel.write(f"0/contexts/0/targets/{index}/pid_target", pid)
    kernel.write("0/state", "on")
    return int(kernel.read("0/pid"))


def observed(ring: TraceRing, seconds: float) -> tuple[list[Aggregation], Framer, int]:
    framer = Framer()
    found: list[Aggregation] = []
    lost = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ring.wait(0.1)
        batch = ring.read()
        lost += batch.lost + len(batch.errors)
        found += [result for result in framer.feed(batch) if isinstance(result, Aggregation)]
    return found, framer, lost


def test_every_aggregation_arrives_whole(kernel: FakeKernel) -> None:
    with TraceRing(kernel.paths, max_events_per_second=10_000) as ring:
        pid = watch_two_processes(kernel)
        found, framer, lost = observed(ring, 1.0)
    assert len(found) > 10
    assert {aggregation.kdamond for aggregation in found} == {pid}
    assert (framer.incomplete, lost) == (0, 0)
    for aggregation in found:
        hot = aggregation.regions.nr_accesses > 0
        assert set(aggregation.regions.target.tolist()) == {0, 1}
        assert int(aggregation.regions.sizes.sum()) == 2 * 64 * MIB
        assert int(aggregation.regions.sizes[hot].sum()) == 2 * 16 * MIB


def test_after_closing_tracefs_is_as_it_was(kernel: FakeKernel) -> None:
    instances = kernel.tracefs / "instances"
    with TraceRing(kernel.paths, max_events_per_second=10_000):
        assert [folder.name for folder in instances.iterdir()] == ["damon_exporter"]
    assert list(instances.iterdir()) == []


def test_a_second_exporter_is_kept_out(kernel: FakeKernel) -> None:
    with TraceRing(kernel.paths, max_events_per_second=10_000), pytest.raises(Busy, match="only one exporter"):
        TraceRing(kernel.paths, max_events_per_second=10_000).open()


def test_a_leftover_is_taken_over_without_its_old_events(kernel: FakeKernel) -> None:
    leftover = kernel.tracefs / "instances/damon_exporter"
    leftover.mkdir()
    (leftover / "events/damon/damon_aggregated/enable").write_text("1")
    watch_two_processes(kernel)
    time.sleep(0.2)
    began = time.monotonic_ns()
    with TraceRing(kernel.paths, max_events_per_second=10_000) as ring:
        found, _, _ = observed(ring, 0.5)
    assert found[0].end_ns > began


def test_a_read_only_tracefs_is_told_with_the_cure(kernel: FakeKernel) -> None:
    kernel.fail("*/instances/*", "mkdir", errno.EROFS)
    with pytest.raises(Denied, match="read-write"):
        TraceRing(kernel.paths, max_events_per_second=10_000).open()
