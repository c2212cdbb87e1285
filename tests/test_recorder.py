"""`damon-exporter record` as users run it: what it takes, when it ends, and what it says when there is nothing."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from driving import everything, run_somebodys, stage_somebodys, wait_for
from running import COMMAND, NODE, QUICK, SECONDS, ConfigFlag, Running, path_flags, run

from damon_exporter import recorder
from damon_exporter.config.loading import check
from damon_exporter.config.reading import parse
from damon_exporter.sources.recording import Recording, RecordingError, read_recording
from damon_exporter.testing.fake_kernel import FakeKernel

Start = Callable[..., FakeKernel]

MIB = 1 << 20


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recording.damon"


def record(kernel: FakeKernel, file: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Record to the end."""
    return run("record", "-o", str(file), *path_flags(kernel.paths), *arguments)


@contextmanager
def recording(kernel: FakeKernel, file: Path, *arguments: str, code: int = 0) -> Iterator["subprocess.Popen[str]"]:
    """Record while the block runs, and until the recording ends by itself, with this code."""
    command = [*COMMAND, "record", "-o", str(file), *path_flags(kernel.paths), *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
            assert process.wait(SECONDS) == code, process.stderr and process.stderr.read()
        finally:
            process.kill()


def seconds_of(recorded: Recording) -> float:
    """From the end of the first snapshot to the end of the last."""
    return (recorded.snapshots[-1].end_ns - recorded.snapshots[0].end_ns) / 1e9


def monitor_of(recorded: Recording) -> tuple[str, str, dict[int, str]]:
    """Name, operations and targets of the only monitor."""
    (monitor,) = recorded.monitors.values()
    return monitor.name, monitor.operations, dict(monitor.targets)


def test_a_tree_that_somebody_has_left_is_not_thrown_away_before_it_has_settled(
    kernel: FakeKernel, file: Path, config: Callable[[str], str]
) -> None:
    stage_somebodys(kernel)
    before = everything(kernel)
    flag = config("kernel: {takeover: [idle_sysfs], settle: 1h}")
    with recording(kernel, file, flag, code=1) as process:
        time.sleep(3)
        process.terminate()
    assert everything(kernel) == before


# A process


def test_a_process_is_recorded_at_once_for_as_long_as_asked_from_the_first_snapshot_on(
    kernel: FakeKernel, file: Path
) -> None:
    kernel.add_process(42, "busy")
    before = everything(kernel)
    ended = record(kernel, file, "--pid", "42", "--duration", "2s")
    assert ended.returncode == 0, ended.stderr
    recorded = read_recording(file)
    assert monitor_of(recorded) == ("recorded", "vaddr", {0: "busy"})
    assert 1.5 < seconds_of(recorded) < 10
    assert everything(kernel) == before


def test_the_recording_of_a_process_ends_with_it_and_is_kept(kernel: FakeKernel, file: Path) -> None:
    kernel.add_process(42, "busy")
    with recording(kernel, file, "--pid", "42"):
        wait_for(lambda: is_on(kernel))
        time.sleep(0.5)
        kernel.remove_process(42)
    assert monitor_of(read_recording(file)) == ("recorded", "vaddr", {0: "busy"})


@pytest.mark.parametrize(
    ("pid", "sentence"),
    [
        (41, "there is no process 41 (any more): give the pid of one that runs"),
        (42, "process 42, a zombie or kernel thread, has no memory: give the pid of one that runs"),
        (2, "process 2, a zombie or kernel thread, has no memory: give the pid of one that runs"),
    ],
    ids=["missing", "zombie", "kernel thread"],
)
def test_a_process_without_memory_ends_with_1_and_a_sentence_at_once(
    kernel: FakeKernel, file: Path, pid: int, sentence: str
) -> None:
    kernel.add_process(42, "ended")
    kernel.end_process(42)
    ended = record(kernel, file, "--pid", str(pid))
    assert (ended.returncode, ended.stderr) == (1, f"damon-exporter: {sentence}\n")
    assert not file.exists()


# A command


def test_a_command_is_recorded_until_it_ends(kernel: FakeKernel, file: Path, tmp_path: Path) -> None:
    """The fake kernel does not know real processes: it sleeps over turning on until it has been told of this one."""
    kernel.delay("*/kdamonds/0/state", "write", 60, count=1)
    told = tmp_path / "pid"
    with recording(kernel, file, "--", "sh", "-c", f"echo $$ > {told}; exec sleep 1000"):
        wait_for(lambda: told.exists() and told.read_text())
        pid = int(told.read_text())
        kernel.add_process(pid, "sleep")
        kernel.clear_faults()
        wait_for(lambda: is_on(kernel))
        time.sleep(0.5)
        os.kill(pid, signal.SIGTERM)
        kernel.remove_process(pid)
    assert monitor_of(read_recording(file)) == ("recorded", "vaddr", {0: "sh"})
    assert not Path(f"/proc/{pid}").exists()


def test_a_command_that_cannot_be_started_ends_with_1_and_the_reason(kernel: FakeKernel, file: Path) -> None:
    ended = record(kernel, file, "--", "/nowhere/masim")
    assert ended.returncode == 1
    assert "nothing was recorded: recorded: cannot start /nowhere/masim: No such file or directory" in ended.stderr


# A monitor


def test_a_configured_monitor_is_recorded_at_once(kernel: FakeKernel, file: Path, config: ConfigFlag) -> None:
    two = NODE.replace("[{", "[{name: other, operations: paddr}, {")
    ended = record(kernel, file, config(two), "--monitor", "node", "--duration", "1s")
    assert ended.returncode == 0, ended.stderr
    assert monitor_of(read_recording(file)) == ("node", "paddr", {0: "physical"})


def test_a_monitor_that_pauses_and_has_schemes_is_recorded_without_either(
    kernel: FakeKernel, file: Path, config: ConfigFlag
) -> None:
    pausing = NODE.replace("name: node,", "name: node, pause: true, schemes: [{name: s, action: stat}],")
    assert pausing != NODE
    ended = record(kernel, file, config(pausing), "--monitor", "node", "--duration", "1s")
    assert ended.returncode == 0, ended.stderr


def test_all_that_runs_is_recorded_if_nothing_is_chosen(kernel: FakeKernel, file: Path, config: ConfigFlag) -> None:
    two = NODE.replace("[{", "[{name: other, operations: paddr}, {")
    ended = record(kernel, file, config(two), "--duration", "1s")
    assert ended.returncode == 0, ended.stderr
    assert {monitor.name for monitor in read_recording(file).monitors.values()} == {"node", "other"}


def test_a_monitor_of_a_serving_exporter_is_recorded_by_its_slot_and_goes_on(
    kernel: FakeKernel, file: Path, config: ConfigFlag
) -> None:
    with Running(*path_flags(kernel.paths), config(QUICK)) as serving:
        serving.wait_for(lambda: serving.value("damon_snapshots_total", monitor="node"))
        pid = kernel.read("0/pid")
        ended = record(kernel, file, "--monitor", "sysfs0", "--duration", "1s")
        assert ended.returncode == 0, ended.stderr
        assert serving.value("damon_monitor_up", monitor="node") == 1
        assert kernel.read("0/pid") == pid
    name, operations, _ = monitor_of(read_recording(file))
    assert (name, operations) == ("sysfs0", "paddr")


# Nothing to record


def test_what_is_being_waited_for_is_said_and_how_a_running_kdamond_is_recorded(kernel: FakeKernel, file: Path) -> None:
    run_somebodys(kernel)
    with recording(kernel, file, "--monitor", "databases", code=1) as waiting:
        assert waiting.stderr
        assert "nothing has been recorded yet: no monitor 'databases' runs here" in (line := waiting.stderr.readline())
        assert "try --monitor sysfs0" in line
        waiting.send_signal(signal.SIGINT)
        assert "nothing was recorded: no monitor 'databases' runs here" in waiting.stderr.read()
    assert not file.exists()


def test_a_recording_for_some_time_is_given_up_with_the_reason_if_nothing_is_reported(
    fake_kernel: Start, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=("damon_stat",))
    monkeypatch.setattr(recorder, "LEAST_PATIENCE", 1.0)
    take = recorder.Take(check(parse(NODE)), "node", seconds=0.5)
    with pytest.raises(RecordingError, match=r"damon_stat holds DAMON.* set kernel\.takeover: \[damon_stat\]"):
        recorder.record(take, kernel.paths, file, lambda: False, lambda: None, lambda _: None)
    assert not file.exists()


def is_on(kernel: FakeKernel) -> bool:
    """Does the kdamond of the first slot run?"""
    return kernel.read("nr_kdamonds") != "0" and kernel.read("0/state") == "on"
