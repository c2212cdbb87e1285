"""Nothing is lost, and both sources tell the same."""

import re
import statistics
import time

import pytest

from .exporter import INSTANCES, MIB, damon_stat_off, exporter
from .guest import Guest
from .test_truth import workload

HOTCOLD = """
kernel: {settle: 0s, source: %s, control: %s}
monitors:
- name: process
  operations: vaddr
  processes: {match: [{comm: hotcold}]}
  intervals: {sample: 5ms, aggregation: 100ms, update: 1s}
  regions: {min: 10, max: 60}  # the fewer there are, the more often sysfs is read
"""

MANY_REGIONS = """
kernel: {settle: 5s}  # for so long a monitor that somebody turned off is left alone, too
monitors:
- name: node
  operations: paddr
  intervals: {sample: 5ms, aggregation: 100ms, update: 1s}
  regions: {min: 800, max: 1000}
"""

COUNTER = f"{INSTANCES}/independent_count"
TRIGGER = "hist:keys=common_pid:size=256"


@pytest.fixture
def free(guest: Guest) -> Guest:
    """A guest whose DAMON nobody uses."""
    damon_stat_off(guest)
    return guest


@pytest.mark.unsteady
def test_tracepoint_and_sysfs_show_the_same_working_set_of_the_same_kdamond(free: Guest) -> None:
    with (
        workload(free, "hotcold"),
        exporter(free, HOTCOLD % ("sysfs", "auto")) as sysfs,
        exporter(free, HOTCOLD % ("tracepoint", "never"), port=10556) as traced,
    ):
        sysfs.wait_for(lambda m: (m.get("damon_snapshots_total", monitor="process") or 0) > 5, "sysfs snapshots", 150)
        traced.wait_for(lambda m: (m.get("damon_snapshots_total", monitor="sysfs0") or 0) > 20, "traced snapshots")
        sampled, every = [], []
        for _ in range(12):
            sampled.append(sysfs.metrics().value("damon_working_set_bytes", monitor="process"))
            every.append(traced.metrics().value("damon_working_set_bytes", monitor="sysfs0"))
            time.sleep(1)
        info = sysfs.metrics().all("damon_monitor_info", monitor="process", source="sysfs", owner="exporter")
    assert info
    assert statistics.median(sampled) > 55 * MIB
    assert statistics.median(sampled) == pytest.approx(statistics.median(every), rel=0.05)


def test_every_event_that_the_kernel_fired_was_decoded(free: Guest) -> None:
    free.run(f"mkdir -p {COUNTER} && echo '{TRIGGER}' > {COUNTER}/events/damon/damon_aggregated/trigger")
    try:
        with exporter(free, MANY_REGIONS) as watching:
            # Before 7.1 regions are no more split when there are half of the most that may be.
            watching.wait_for(lambda m: (m.get("damon_regions", monitor="node") or 0) >= 400, "many regions")
            time.sleep(60)
            # The kdamond is stopped before counting, so that both counts are of the same events.
            free.run("echo off > /sys/kernel/mm/damon/admin/kdamonds/0/state")
            time.sleep(3)
            fired = free.run(f"cat {COUNTER}/events/damon/damon_aggregated/hist").stdout
            metrics = watching.metrics()
    finally:
        free.run(f"echo '!{TRIGGER}' > {COUNTER}/events/damon/damon_aggregated/trigger; rmdir {COUNTER}")
    counted = sum(int(hits) for hits in re.findall(r"hitcount:\s*(\d+)", fired))
    assert counted > 100_000
    assert metrics.value("damon_exporter_trace_events_total") == counted
    assert metrics.value("damon_exporter_trace_events_lost_total") == 0
    assert metrics.value("damon_exporter_snapshots_incomplete_total") == 0
