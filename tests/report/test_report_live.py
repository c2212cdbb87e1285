"""`damon-exporter report` of what runs now, on a fake kernel, and on a terminal."""

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from damo_itself import changing_snapshots
from driving import everything
from reporting import one_monitor
from running import COMMAND, NODE, SECONDS, ConfigFlag, path_flags, run

from damon_exporter.testing.fake_kernel import FakeKernel

MIB = 1 << 20
HOT, IDLE = (1 << 30, (1 << 30) + 48 * MIB, 1.0), (2 << 30, (2 << 30) + 16 * MIB, 0.0)


@contextmanager
def on_a_terminal(*arguments: str, **environment: str) -> Iterator[tuple["subprocess.Popen[bytes]", Callable[[], str]]]:
    """Run with a terminal of its own; what is yielded reads what has come to be shown on it."""
    ours, theirs = pty.openpty()
    given = {**{key: value for key, value in os.environ.items() if key != "NO_COLOR"}, "TERM": "xterm", **environment}
    with subprocess.Popen([*COMMAND, *arguments], stdout=theirs, stderr=theirs, env=given) as process:
        os.close(theirs)
        try:
            yield process, lambda: os.read(ours, 65536).decode()
        finally:
            process.kill()
            os.close(ours)


def all_shown(read: Callable[[], str]) -> str:
    shown = ""
    while True:
        try:
            shown += read()
        except OSError:  # EIO: the other side has closed it
            return shown


def test_a_process_is_reported_as_it_is_now_and_its_monitor_goes_with_the_report(kernel: FakeKernel) -> None:
    kernel.add_process(42, "busy", memory=[HOT, IDLE])
    before = everything(kernel)
    ended = run("report", "access", *path_flags(kernel.paths), "--pid", "42", "--duration", "500ms", "--json")
    assert ended.returncode == 0, ended.stderr
    (target,) = json.loads(ended.stdout)["targets"]
    assert (target["monitor"], target["operations"], target["name"]) == ("recorded", "vaddr", "busy")
    assert target["snapshot"]["working_set_bytes"] == 48 * MIB
    assert everything(kernel) == before


def test_a_configured_monitor_is_reported_by_its_name(kernel: FakeKernel, config: ConfigFlag) -> None:
    flags = (*path_flags(kernel.paths), config(NODE), "--monitor", "node", "--duration", "300ms")
    ended = run(*flags[:4], "report", "wss", *flags[4:])
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("# target_id\t0\n# <percentile> <wss>\n# avr:\t")


def test_snapshots_are_left_out_at_the_start_and_not_of_every_report(kernel: FakeKernel) -> None:
    flags = ["--pid", "42", "--duration", "500ms", "--watch", "--json", "--exclude-samples", "12"]
    with watching(kernel, "wss", *flags) as process:
        counted = [_snapshots(process) for _ in range(4)]
    assert counted[0] == 0
    assert counted[-1] > 0


def _snapshots(process: "subprocess.Popen[str]") -> int:
    assert process.stdout
    return int(json.loads(process.stdout.readline())["targets"][0]["snapshots"])


def test_what_came_before_a_watched_process_ended_is_reported(kernel: FakeKernel) -> None:
    with watching(kernel, "access", "--pid", "42", "--duration", "1h", "--watch") as process:
        while not (kernel.paths.sysfs / "kernel/mm/damon/admin/kdamonds/0").exists():
            time.sleep(0.05)
        time.sleep(1)  # ten snapshots
        kernel.end_process(42)
        out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "total size:" in out


@contextmanager
def watching(kernel: FakeKernel, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Report a process 42 again and again."""
    kernel.add_process(42, "busy", memory=[HOT, IDLE])
    command = [*COMMAND, "report", arguments[0], *path_flags(kernel.paths), *arguments[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS)


def test_what_there_is_not_ends_with_1_and_the_reason(kernel: FakeKernel) -> None:
    ended = run("report", "access", *path_flags(kernel.paths), "--pid", "41")
    assert ended.returncode == 1
    assert ended.stderr == "damon-exporter: there is no process 41 (any more): give the pid of one that runs\n"


def test_watching_reports_again_and_again_without_starting_anew(kernel: FakeKernel) -> None:
    before = everything(kernel)
    with watching(kernel, "access", "--pid", "42", "--duration", "500ms", "--watch", "--json") as process:
        assert process.stdout
        ages = [max(_ages(process.stdout.readline())) for _ in range(3)]
    assert process.returncode == 0
    assert ages == sorted(set(ages))
    assert everything(kernel) == before


def _ages(line: str) -> list[float]:
    return [region["age_seconds"] for region in json.loads(line)["targets"][0]["snapshot"]["regions"]]


@pytest.mark.parametrize(("terminal", "clear"), [("xterm", "\033[H\033[2J"), ("dumb", "")])
def test_watching_clears_the_screen_of_a_terminal_that_has_one(kernel: FakeKernel, terminal: str, clear: str) -> None:
    kernel.add_process(42, "busy", memory=[HOT, IDLE])
    flags = ["report", "access", *path_flags(kernel.paths), "--pid", "42", "--duration", "500ms", "--watch"]
    with on_a_terminal(*flags, TERM=terminal) as (process, read):
        shown = ""
        while shown.count("total size:") < 2:
            shown += read()
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
    assert shown.count(f"{clear}# monitor recorded") >= 2
    assert ("\033" in shown) is (terminal == "xterm")
    assert "\033[3J" not in shown  # would take away what was on the terminal before


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)], ids=["colours", "NO_COLOR"])
def test_a_terminal_is_told_how_far_it_is_and_gets_colours(tmp_path: Path, no_color: str, coloured: bool) -> None:
    file = one_monitor(tmp_path / "r", changing_snapshots(17, targets=1)[:30])
    with on_a_terminal("report", "access", "-i", str(file), NO_COLOR=no_color) as (process, read):
        shown = all_shown(read)
        assert process.wait(SECONDS) == 0
    clear = r"\r\033\[K"
    said = rf"{clear}\d+ snapshots read.*{clear}target 1 of 1{clear}# monitor made"
    assert re.match(said, shown, re.DOTALL)
    assert ("\033[48;5;" in shown) is coloured
