"""Ends, expected and not: nothing is left behind, and nothing is lost that lives in the kernel."""

import random
import signal

import pytest

from .exporter import ADMIN, DAMON_STAT, SIZE_FILE, Exporter, Metrics, command, exporter, start, tree
from .guest import Guest

NODE = """
kernel: {settle: 0s}
monitors:
- {name: node, operations: paddr, intervals: {sample: 5ms, aggregation: 100ms, update: 1s}}
export: {idle_age: [1s, 5s, 15s]}
"""
KDAMOND = "/sys/kernel/mm/damon/admin/kdamonds/0"
KILLS = 6
"""At random moments, on each kernel."""


def _older_than_5s(metrics: Metrics) -> float:
    """Bytes that have been idle for more than five seconds."""
    total = metrics.value("damon_idle_age_seconds_gcount", monitor="node")
    return total - metrics.value("damon_idle_age_seconds_bucket", monitor="node", le="5.0")


def _old(metrics: Metrics) -> bool:
    return metrics.get("damon_monitored_bytes", monitor="node") is not None and _older_than_5s(metrics) > 500 << 20


def test_after_sigkill_the_kdamond_is_adopted_with_its_ages_unless_the_configuration_has_changed(free: Guest) -> None:
    before = tree(free)
    first = start(free, NODE)
    idle = _older_than_5s(first.wait_for(_old, "most memory has been idle for five seconds", 60))
    pid = _kill(first)
    second = start(free, NODE)
    metrics = second.wait_for(lambda m: m.get("damon_monitored_bytes", monitor="node"), "node is watched again")
    assert _older_than_5s(metrics) > idle / 2
    assert _kill(second) == pid
    third = start(free, NODE.replace("sample: 5ms", "sample: 10ms"))
    third.wait_for(lambda m: m.get("damon_sample_interval_seconds", monitor="node") == 0.01, "the new plan runs")
    assert free.run(f"cat {KDAMOND}/pid").stdout != pid
    assert tree(free) != before
    third.terminate()
    assert tree(free) == before


def _kill(running: Exporter) -> str:
    """End it by SIGKILL; returns the pid of its kdamond."""
    running.process.kill(signal.SIGKILL)
    running.process.wait()
    return running.guest.run(f"cat {KDAMOND}/pid").stdout


def test_a_module_that_was_stopped_runs_again_after_a_crash_whatever_the_configuration_says(guest_73: Guest) -> None:
    guest_73.run(f"echo Y > {DAMON_STAT}")
    first = start(guest_73, "kernel: {settle: 0s, takeover: [damon_stat]}\n")
    first.wait_for(lambda m: m.get("damon_monitored_bytes", monitor="node"), "node is watched", 60)
    _kill(first)
    assert guest_73.get(DAMON_STAT) == b"N\n"
    with exporter(guest_73, "kernel: {settle: 0s}\n") as second:
        second.wait_for(lambda m: m.get("damon_monitor_info", monitor="damon_stat"), "DAMON_STAT is back")
        assert guest_73.get(DAMON_STAT) == b"Y\n"
        assert guest_73.get(SIZE_FILE) == b"0\n"


FRESH_SLOT = f"""
cd {ADMIN}/kdamonds
echo 1 > nr_kdamonds
echo $1 > 0/contexts/nr_contexts
[ $1 = 0 ] || echo $2 > 0/contexts/0/schemes/nr_schemes
"""
LOOK = f"""
from pathlib import Path
from damon_exporter.kernel.damon_sysfs import DamonTree
from damon_exporter.kernel.ownership import survey
print(survey(DamonTree(Path("{ADMIN}")), slots_made=1).holder.name)
"""


@pytest.mark.parametrize(("contexts", "schemes"), [("0", "0"), ("1", "0"), ("1", "1")])
def test_what_an_exporter_leaves_that_is_killed_before_it_writes_its_token_is_recognised(
    free: Guest, contexts: str, schemes: str
) -> None:
    free.run(["sh", "-ec", FRESH_SLOT, "sh", contexts, schemes])
    assert free.python(LOOK).stdout == "UNFINISHED\n"
    free.run(f"echo 0 > {SIZE_FILE}")


def test_sigkill_at_any_moment_of_start_and_stop_is_healed_by_the_next_start(free: Guest) -> None:
    before = tree(free)
    moments = random.Random(free.kernel.release)
    for _ in range(KILLS // 2):
        starting = free.spawn(command(free, NODE), uid0_nocaps=True)
        while "serving" not in starting.stderr():  # it touches nothing before
            free.sleep(0.1)
        free.sleep(moments.uniform(0.0, 1.0))
        starting.kill(signal.SIGKILL)
        starting.wait()
        stopping = _watching_node(start(free, NODE)).process
        stopping.kill(signal.SIGTERM)
        free.sleep(moments.uniform(0.0, 0.6))
        stopping.kill(signal.SIGKILL)
        stopping.wait()
    _watching_node(start(free, NODE)).terminate()
    assert tree(free) == before


def _watching_node(running: Exporter) -> Exporter:
    """Wait until it runs its monitor, whatever an earlier run has left."""
    running.wait_for(lambda m: m.get("damon_monitored_bytes", monitor="node"), "node is watched after a kill", 60)
    assert running.guest.get(SIZE_FILE) == b"1\n"
    return running
