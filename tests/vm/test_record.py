"""`damon-exporter record` on real kernels: what it writes, and that it leaves nothing behind."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import pytest
from made_regions import working_set_bytes

from damon_exporter.sources.recording import Recording, read_recording

from .exporter import MIB, SIZE_FILE, exporter, free_damon
from .guest import Guest
from .test_truth import workload

HOT = "64MiB"
FILE = "/tmp/recording.damon"
NODE = """
kernel: {settle: 0s}
monitors: [{name: node, operations: paddr, intervals: {sample: 10ms, aggregation: 200ms}}]
"""


def _recorded(guest: Guest, folder: Path, *arguments: str) -> Recording:
    """Record for some seconds, as uid 0 without capabilities, and read what was written."""
    command: Sequence[str] = ["python", "-m", "damon_exporter", "record", "-o", FILE, "--duration", "12s", *arguments]
    guest.run(command, uid0_nocaps=True, timeout=90)
    (folder / "recording").write_bytes(guest.get(FILE))
    recording = read_recording(folder / "recording")
    assert recording.damage is None
    assert recording.origin.kernel_release == guest.kernel.release
    return recording


def _settled_working_set(recording: Recording) -> float:
    """The median working set in MiB of the last snapshots, when DAMON has found the borders."""
    return statistics.median(working_set_bytes(snapshot.regions) for snapshot in recording.snapshots[-20:]) / MIB


def test_a_command_is_recorded_and_ended_with_the_recording(guest_73: Guest, tmp_path: Path) -> None:
    free_damon(guest_73)
    recording = _recorded(
        guest_73, tmp_path, "--", "python", "/workloads/hotcold.py", "--hot", HOT, "--comm", "recorded"
    )
    assert [monitor.operations for monitor in recording.monitors.values()] == ["vaddr"]
    assert _settled_working_set(recording) == pytest.approx(64, rel=0.1)
    assert "hotcold" not in guest_73.run("ps").stdout
    assert guest_73.get(SIZE_FILE) == b"0\n"


def test_a_process_is_recorded_by_its_pid(guest_612: Guest, tmp_path: Path) -> None:
    free_damon(guest_612)
    with workload(guest_612, "hotcold", "--hot", HOT) as process:
        recording = _recorded(guest_612, tmp_path, "--pid", str(process.pid))
        assert process.poll() is None
    assert _settled_working_set(recording) == pytest.approx(64, rel=0.1)
    assert guest_612.get(SIZE_FILE) == b"0\n"


def test_a_monitor_of_an_exporter_that_serves_is_recorded_beside_it(guest_73: Guest, tmp_path: Path) -> None:
    free_damon(guest_73)
    with exporter(guest_73, NODE) as serving:
        serving.wait_for(lambda m: m.get("damon_monitored_bytes", monitor="node"), "node is watched")
        recording = _recorded(guest_73, tmp_path, "--monitor", "sysfs0")
        assert serving.metrics().value("damon_monitor_up", monitor="node") == 1
    assert [(monitor.name, monitor.operations) for monitor in recording.monitors.values()] == [("sysfs0", "paddr")]
    assert len(recording) > 20
