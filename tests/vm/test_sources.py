"""Nothing is lost, and both sources tell the same."""

import re
import signal
from pathlib import Path

import numpy as np
import pytest
from driving import wait_for
from made_regions import working_set_bytes

from damon_exporter.kernel.trace_instance import AGGREGATED, EFFECTIVE_QUOTA, SCHEME_STATS
from damon_exporter.recorder import INSTANCE as RECORDING
from damon_exporter.sources.recording import read_recording

from .exporter import INSTANCES, MIB, exporter
from .guest import Guest
from .test_truth import workload

SAMPLED = """
kernel: {settle: 0s, source: sysfs}
monitors:
- name: process
  operations: vaddr
  processes: {match: [{comm: hotcold}]}
  intervals: {sample: 10ms, aggregation: 200ms, update: 1s}
  regions: {min: 10, max: 20}  # the fewer there are, the more often sysfs is read
"""

TRACED = "/tmp/traced.damon"
LAST_SAMPLE = ("damon_snapshots_total", "damon_last_snapshot_timestamp_seconds", "damon_working_set_bytes")
RECORD = ("record", "-o", TRACED, "--monitor", "sysfs0", "--duration", "90s")
ENOUGH_SAMPLES = 5
"""The first is older than the recording, three are to be compared: there is one to spare."""

MANY_EVENTS = 100_000

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
COUNTED = " ".join((AGGREGATED, SCHEME_STATS, EFFECTIVE_QUOTA))
"""What the exporter reads; kernels before 7.0 have only the first."""


def of_events(what: str) -> str:
    """A script that does this with each ``$event``."""
    return f"cd {COUNTER}/events/damon; for event in {COUNTED}; do test ! -e $event || {what}; done; cd /"


def test_tracepoint_and_sysfs_show_the_same_working_set_of_the_same_kdamond(free: Guest, tmp_path: Path) -> None:
    with workload(free, "hotcold"), exporter(free, SAMPLED) as sysfs:
        sysfs.wait_for(lambda m: m.get("damon_snapshots_total", monitor="process"), "sysfs is read")
        with free.spawn(["python", "-m", "damon_exporter", *RECORD], uid0_nocaps=True) as tracing:
            wait_for(lambda: RECORDING in free.run(f"ls {INSTANCES}").stdout, 150)
            samples: dict[float, tuple[float, float]] = {}
            while len(samples) < ENOUGH_SAMPLES and tracing.poll(0.5) is None:
                shown = sysfs.metrics()
                number, *sample = (shown.value(name, monitor="process") for name in LAST_SAMPLE)
                samples[number] = (sample[0], sample[1])
            tracing.kill(signal.SIGTERM)
            assert tracing.wait() == 0, tracing.stderr()
        since_boot = float(free.python("import time; print(time.time() - time.monotonic())").stdout)
        assert sysfs.metrics().value("damon_monitor_info", source="sysfs", owner="exporter") == 1
    (tmp_path / "traced").write_bytes(free.get(TRACED))
    traced = read_recording(tmp_path / "traced").snapshots
    ends = np.array([snapshot.end_ns / 1e9 + since_boot for snapshot in traced])
    working_sets = np.array([working_set_bytes(snapshot.regions) for snapshot in traced])
    pairs = []
    for taken_at, sample in samples.values():
        # Regions are collected at the end of an aggregation and read when the command has been answered.
        end = int(np.searchsorted(ends, taken_at))
        if 0 < end < len(ends):
            shortly_before = working_sets[:end][-3:]
            pairs.append((sample, shortly_before[np.argmin(np.abs(shortly_before - sample))]))
    assert len(pairs) >= 3, samples
    assert np.median([sampled for sampled, _ in pairs]) > 55 * MIB
    assert all(sampled == pytest.approx(shown, rel=0.05) for sampled, shown in pairs), pairs


def test_every_event_that_the_kernel_fired_was_decoded(free: Guest) -> None:
    free.run(f"mkdir -p {COUNTER}; " + of_events(f"echo '{TRIGGER}' > $event/trigger"))
    try:
        with exporter(free, MANY_REGIONS) as watching:
            # Before 7.1 regions are no more split when there are half of the most that may be.
            watching.wait_for(lambda m: (m.get("damon_regions", monitor="node") or 0) >= 400, "many regions")
            watching.wait_for(lambda m: m.value("damon_exporter_trace_events_total") > MANY_EVENTS, "many events")
            # The kdamond is stopped before counting, so that both counts are of the same events.
            free.run("echo off > /sys/kernel/mm/damon/admin/kdamonds/0/state")
            free.sleep(3)
            fired = free.run(of_events("cat $event/hist")).stdout
            overruns = free.run(f"cat {INSTANCES}/damon_exporter/per_cpu/cpu*/stats").stdout
            metrics = watching.metrics()
    finally:
        free.run(of_events(f"echo '!{TRIGGER}' > $event/trigger") + f"; rmdir {COUNTER}")
    counted = sum(int(hits) for hits in re.findall(r"hitcount:\s*(\d+)", fired))
    assert counted > MANY_EVENTS
    assert set(re.findall(r"overrun: (\d+)", overruns)) == {"0"}
    assert metrics.value("damon_exporter_trace_events_total") == counted
    assert metrics.value("damon_exporter_trace_events_lost_total") == 0
    assert metrics.value("damon_exporter_snapshots_incomplete_total") == 0
