"""Ends, expected and not: nothing is left behind, and nothing is lost that lives in the kernel."""

import random
import signal
import time

import pytest

from .exporter import DAMON_STAT, SIZE_FILE, Metrics, command, damon_stat_off, exporter, start, tree
from .guest import Guest

NODE = """
kernel: {settle: 0s}
monitors:
- {name: node, operations: paddr, intervals: {sample: 5ms, aggregation: 100ms, update: 1s}}
export: {idle_age: [1s, 5s, 15s]}
"""
KDAMOND = "/sys/kernel/mm/damon/admin/kdamonds/0"
KILLS = 10


@pytest.fixture
def free(guest: Guest) -> Guest:
    """A guest whose DAMON nobody uses."""
    damon_stat_off(guest)
    assert guest.get(SIZE_FILE) == b"0\n"
    return guest


def _older_than_5s(metrics: Metrics) -> float:
    """Bytes that have been idle for more than five seconds."""
    total = metrics.value("damon_idle_age_seconds_gcount", monitor="node")
    return total - metrics.value("damon_idle_age_seconds_bucket", monitor="node", le="5.0")


def _old(metrics: Metrics) -> bool:
    return metrics.get("damon_monitored_bytes", monitor="node") is not None and _older_than_5s(metrics) > 500 << 20


def test_after_sigterm_everything_is_as_it_was(free: Guest) -> None:
    before = tree(free)
    with exporter(free, NODE) as running:
        running.wait_for(lambda m: m.get("damon_monitored_bytes", monitor="node"), "node is watched")
        assert tree(free) != before
    assert tree(free) == before


def test_after_sigkill_the_kdamond_is_adopted_with_its_ages(free: Guest) -> None:
    first = start(free, NODE)
    idle = _older_than_5s(first.wait_for(_old, "most memory has been idle for five seconds", 60))
    pid = free.run(f"cat {KDAMOND}/pid").stdout
    first.process.kill(signal.SIGKILL)
    first.process.wait()
    with exporter(free, NODE) as second:
        metrics = second.wait_for(lambda m: m.get("damon_monitored_bytes", monitor="node"), "node is watched again")
        assert free.run(f"cat {KDAMOND}/pid").stdout == pid
        assert _older_than_5s(metrics) > idle / 2
    assert free.get(SIZE_FILE) == b"0\n"


def test_another_configuration_does_not_adopt(free: Guest) -> None:
    first = start(free, NODE)
    first.wait_for(lambda m: m.get("damon_monitored_bytes", monitor="node"), "node is watched")
    pid = free.run(f"cat {KDAMOND}/pid").stdout
    first.process.kill(signal.SIGKILL)
    first.process.wait()
    with exporter(free, NODE.replace("sample: 5ms", "sample: 10ms")) as second:
        second.wait_for(lambda m: m.get("damon_sample_interval_seconds", monitor="node") == 0.01, "the new plan runs")
        assert free.run(f"cat {KDAMOND}/pid").stdout != pid
    assert free.get(SIZE_FILE) == b"0\n"


def test_a_module_that_was_stopped_runs_again_after_a_crash_whatever_the_configuration_says(guest_73: Guest) -> None:
    guest_73.run(f"echo Y > {DAMON_STAT}")
    first = start(guest_73, "kernel: {settle: 0s, takeover: [damon_stat]}\n")
    first.wait_for(lambda m: m.get("damon_monitored_bytes", monitor="node"), "node is watched", 60)
    first.process.kill(signal.SIGKILL)
    first.process.wait()
    assert guest_73.get(DAMON_STAT) == b"N\n"
    with exporter(guest_73, "kernel: {settle: 0s}\n") as second:
        second.wait_for(lambda m: m.get("damon_monitor_info", monitor="damon_stat"), "DAMON_STAT is back")
        assert guest_73.get(DAMON_STAT) == b"Y\n"
        assert guest_73.get(SIZE_FILE) == b"0\n"


def test_sigkill_at_any_moment_of_start_and_stop_is_healed_by_the_next_start(free: Guest) -> None:
    before = tree(free)
    moments = random.Random(20).sample(range(100), KILLS)
    for number, moment in enumerate(moments):
        process = free.spawn(command(free, NODE), uid0_nocaps=True)
        if number % 2:
            time.sleep(6.0)
            process.kill(signal.SIGTERM)
            time.sleep(moment / 100 * 0.6)
        else:
            time.sleep(0.5 + moment / 100 * 4.0)
        process.kill(signal.SIGKILL)
        process.wait()
    with exporter(free, NODE) as last:
        last.wait_for(lambda m: m.get("damon_monitored_bytes", monitor="node"), "node is watched after all that", 60)
    assert tree(free) == before
