"""Beside DAMON_STAT and damo: observed, never touched, and taken over only when allowed."""

from collections.abc import Callable

import pytest

from .exporter import ADMIN, DAMON_STAT, SIZE_FILE, Metrics, command, exporter, exporter_in_pod, free_damon, tree
from .guest import Guest

QUICK = "kernel: {settle: 1s}\n"


@pytest.fixture
def damon_stat(guest_73: Guest) -> Guest:
    """The guest as it comes up, untouched if this is the first test on it: DAMON_STAT runs."""
    guest_73.run(f"grep -q Y {DAMON_STAT} || echo Y > {DAMON_STAT}")
    return guest_73


def _rises(name: str, **labels: str) -> Callable[[Metrics], bool]:
    """A condition that holds once a counter has risen since the first look."""
    first: list[float] = []

    def risen(metrics: Metrics) -> bool:
        value = metrics.get(name, **labels)
        if value is not None:
            first.append(value)
        return len(first) > 1 and first[-1] > first[0]

    return risen


def test_damon_stat_is_observed_without_any_configuration(damon_stat: Guest) -> None:
    with exporter(damon_stat) as watching:
        metrics = watching.wait_for(_rises("damon_snapshots_total", monitor="damon_stat"), "snapshots count up", 90)
        assert metrics.value("damon_monitor_info", monitor="damon_stat", owner="module", source="tracepoint") == 1
        assert metrics.value("damon_control_blocked", reason="damon_stat") == 1
        assert metrics.value("damon_monitor_up", monitor="node") == 0
        assert damon_stat.get(SIZE_FILE) == b"0\n"
        assert "takeover: [damon_stat]" in watching.fetch("/")
    assert damon_stat.get(SIZE_FILE) == b"0\n"
    assert damon_stat.get(DAMON_STAT) == b"Y\n"


def test_a_pod_that_may_only_observe_sees_damon_stat(damon_stat: Guest) -> None:
    with exporter_in_pod(damon_stat, "kernel: {control: never}\nmonitors: []\n", "observe-only") as watching:
        metrics = watching.wait_for(_rises("damon_snapshots_total", monitor="damon_stat"), "snapshots count up", 90)
        bands = metrics.all("damon_access_band_bytes", monitor="damon_stat", target="physical")
        assert sum(bands.values()) == metrics.value("damon_monitored_bytes", monitor="damon_stat") > 0


def test_doctor_explains_why_the_default_monitor_does_not_run(damon_stat: Guest) -> None:
    told = damon_stat.run("python -m damon_exporter doctor", uid0_nocaps=True).stdout
    assert "damon_stat holds DAMON" in told
    assert "kernel.takeover: [damon_stat]" in " ".join(told.split())
    assert "NO ] monitor node" in told


def test_damon_stat_is_taken_over_when_allowed_and_runs_again_afterwards(damon_stat: Guest) -> None:
    with exporter_in_pod(damon_stat, "kernel: {settle: 1s, takeover: [damon_stat]}\n", "takeover") as watching:
        watching.wait_for(_rises("damon_snapshots_total", monitor="node"), "node reports", 60)
        assert damon_stat.get(DAMON_STAT) == b"N\n"
    assert damon_stat.get(DAMON_STAT) == b"Y\n"
    assert damon_stat.get(SIZE_FILE) == b"0\n"


def test_damos_kdamond_is_observed_untouched_and_ours_follows_when_it_has_gone(free: Guest) -> None:
    free.run("damo start paddr", env={"HOME": "/tmp"}, timeout=90)
    before = tree(free)
    with exporter(free, QUICK) as watching:
        watching.wait_for(_rises("damon_snapshots_total", monitor="sysfs0"), "damo's kdamond is observed")
        assert watching.metrics().value("damon_control_blocked", reason="foreign_kdamond") == 1
        assert tree(free).replace("damon_exporter\n", "") == before
        free.run("damo stop", env={"HOME": "/tmp"}, timeout=90)
        off = tree(free)
        watching.watch(6)
        assert tree(free) == off
        free.run(f"echo 0 > {SIZE_FILE}")
        watching.wait_for(lambda m: m.get("damon_working_set_bytes", monitor="node"), "ours runs")
    assert free.get(SIZE_FILE) == b"0\n"


def test_an_idle_tree_is_used_only_when_allowed(free: Guest) -> None:
    slot = f"{ADMIN}/kdamonds/0"
    free.run(f"echo 2 > {SIZE_FILE}; echo 1 > {slot}/contexts/nr_contexts; echo paddr > {slot}/contexts/0/operations")
    with exporter(free, "kernel: {settle: 1s, takeover: [idle_sysfs]}\n") as watching:
        watching.wait_for(lambda m: m.get("damon_working_set_bytes", monitor="node"), "ours runs")
    assert free.get(SIZE_FILE) == b"0\n"


def test_damo_report_access_works_beside_ours_and_ours_goes_on(free: Guest) -> None:
    # damo finds out what the kernel can do when it first runs, which it can only while DAMON is free.
    free.run(f"damo start paddr && damo stop && echo 0 > {SIZE_FILE}", env={"HOME": "/tmp"}, timeout=120)
    with exporter(free, QUICK) as watching:
        watching.wait_for(lambda m: m.get("damon_working_set_bytes", monitor="node"), "ours runs")
        pid = free.run("cat /sys/kernel/mm/damon/admin/kdamonds/0/pid").stdout
        report = free.run("damo report access", env={"HOME": "/tmp"}, timeout=120).stdout
        assert "total size" in report
        watching.wait_for(_rises("damon_snapshots_total", monitor="node"), "ours goes on")
        assert free.run("cat /sys/kernel/mm/damon/admin/kdamonds/0/pid").stdout == pid
        watching.wait_for(lambda m: m.get("damon_monitor_info", monitor="node", owner="exporter"), "it is ours still")
        assert watching.metrics().value("damon_monitor_up", monitor="node") == 1


def test_a_second_exporter_observes_and_says_why(guest_612: Guest) -> None:
    free_damon(guest_612)
    with exporter(guest_612, QUICK) as first, exporter(guest_612, QUICK, port=10556) as second:
        first.wait_for(lambda m: m.get("damon_working_set_bytes", monitor="node"), "the first runs node")
        second.wait_for(lambda m: m.value("damon_control_blocked", reason="foreign_kdamond"), "the second is kept out")
        landing = second.fetch("/")
        assert "another damon-exporter" in landing
        assert second.metrics().value("damon_exporter_source_up", source="tracepoint") == 0
    assert guest_612.get(SIZE_FILE) == b"0\n"


def test_the_configuration_can_be_checked_without_touching_anything(guest_612: Guest) -> None:
    before = tree(guest_612)
    bad = guest_612.run(
        [
            *list(command(guest_612, "monitors: [{name: a, operations: paddr, intervals: {agregation: 1s}}]")),
            "--config.check",
        ],
        uid0_nocaps=True,
        check=False,
    )
    assert bad.returncode == 2
    assert "did you mean aggregation?" in bad.stderr
    assert "Traceback" not in bad.stderr
    assert tree(guest_612) == before
