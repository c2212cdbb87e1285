"""`damon-exporter demo` as a user starts it, with the recording that is shipped."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from debian_tools import debian_program
from running import COMMAND, Running

import damon_exporter
from damon_exporter.analysis.snapshot import Snapshot
from damon_exporter.sources.recording import Recording, read_recording

SHIPPED = Path(damon_exporter.__file__).parent / "recordings/demo.damon"


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """The demo's address."""
    command = [
        sys.executable,
        "-m",
        "damon_exporter",
        "demo",
        "--web.listen-address",
        "127.0.0.1:0",
        "--log.format",
        "json",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = re.search(r"http://127.0.0.1:\d+", json.loads(process.stderr.readline())["msg"])
        assert found
        time.sleep(5)  # enough of the recording for every metric to be there
        yield found[0]
        process.terminate()
        assert process.wait(10) == 0


def _page(address: str, path: str) -> str:
    with urllib.request.urlopen(address + path, timeout=10) as answer:
        return answer.read().decode()


def test_every_page_says_that_it_is_a_recording(demo: str) -> None:
    assert "This is a recording, not this host" in _page(demo, "/")
    assert "recording" in _page(demo, "/-/ready")
    owners = re.findall(r'damon_monitor_info\{.*owner="(.*?)".*source="(.*?)".*\} 1.0', _page(demo, "/metrics"))
    assert set(owners) == {("recording", "recording")}


def test_promtool_has_nothing_to_say_about_the_metrics(demo: str) -> None:
    promtool = debian_program("promtool", "/usr/bin/promtool")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=_page(demo, "/metrics"), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_damaged_recording_is_played_and_the_damage_is_an_error_in_the_log(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.damon"
    damaged.write_bytes(SHIPPED.read_bytes()[: SHIPPED.stat().st_size * 9 // 10])
    with Running(str(damaged), command=(*COMMAND, "demo")) as running:
        running.wait_for(lambda: running.value("damon_snapshots_total", monitor="node"))
        ready = running.fetch("/-/ready")[1]
        assert running.stop() == 0
    (error,) = [line for line in running.ended_with.splitlines() if "level=error" in line]
    told = f"{damaged} is damaged at snapshot"
    assert told in error
    assert re.search(r"byte \d+: the compressed data end early", error)
    assert told in ready


def test_the_recording_is_small_whole_and_described_beside_it() -> None:
    recording = read_recording(SHIPPED)
    assert recording.damage is None
    assert SHIPPED.stat().st_size <= 1 << 20
    described = SHIPPED.with_suffix(".md").read_text()
    assert recording.origin.kernel_release in described
    assert recording.origin.workload in described
    assert "damon_exporter record" in described


def test_the_recorded_process_changes_what_it_uses() -> None:
    recording = read_recording(SHIPPED)
    process = next(number for number, monitor in recording.monitors.items() if monitor.operations == "vaddr")
    sizes = [_accessed(snapshot) for snapshot in _of(recording, process)]
    assert np.percentile(sizes, 95) > 3 * np.percentile(sizes, 5)


def _of(recording: Recording, kdamond: int) -> list[Snapshot]:
    return [snapshot for snapshot in recording if snapshot.kdamond == kdamond]


def _accessed(snapshot: Snapshot) -> int:
    return int(snapshot.regions.sizes[snapshot.regions.nr_accesses > 0].sum())
