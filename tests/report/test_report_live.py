"""`damon-exporter report` of what runs now, on a fake kernel, and on a terminal."""

import json
import os
import pty
import re
import signal
import subprocess
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
    ended = run(*flags[:4], "report", "wss", *flags[4:], "--exclude-samples", "0")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("# target_id\t0\n# <percentile> <wss>\n# avr:\t")


def test_what_there_is_not_ends_with_1_and_the_reason(kernel: FakeKernel) -> None:
    ended = run("report", "access", *path_flags(kernel.paths), "--pid", "41")
    assert ended.returncode == 1
    assert ended.stderr == "damon-exporter: there is no process 41 (any more): give the pid of one that runs\n"


def test_watching_reports_again_and_again_without_starting_anew(kernel: FakeKernel) -> None:
    kernel.add_process(42, "busy", memory=[HOT, IDLE])
    before = everything(kernel)
    flags = ["report", "access", *path_flags(kernel.paths), "--pid", "42", "--duration", "500ms", "--watch", "--json"]
    with subprocess.Popen([*COMMAND, *flags], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        ages = [max(_ages(process.stdout.readline())) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
    assert ages == sorted(set(ages))
    assert everything(kernel) == before


def _ages(line: str) -> list[float]:
    return [region["age_seconds"] for region in json.loads(line)["targets"][0]["snapshot"]["regions"]]


def test_watching_on_a_terminal_clears_its_screen(kernel: FakeKernel) -> None:
    kernel.add_process(42, "busy", memory=[HOT, IDLE])
    flags = ["report", "access", *path_flags(kernel.paths), "--pid", "42", "--duration", "500ms", "--watch"]
    with on_a_terminal(*flags) as (process, read):
        shown = ""
        while shown.count("total size:") < 2:
            shown += read()
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
    assert len(re.findall(r"\033\[H\033\[2J\033\[3J# monitor recorded", shown)) >= 2


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)], ids=["colours", "NO_COLOR"])
def test_a_terminal_is_told_how_far_reading_is_and_gets_colours(tmp_path: Path, no_color: str, coloured: bool) -> None:
    file = one_monitor(tmp_path / "r", changing_snapshots(17, targets=1)[:30])
    with on_a_terminal("report", "access", "-i", str(file), NO_COLOR=no_color) as (process, read):
        shown = all_shown(read)
        assert process.wait(SECONDS) == 0
    assert re.match(r"\r\d+ snapshots read.*\r\033\[K# monitor made", shown, re.DOTALL)
    assert ("\033[48;5;" in shown) is coloured
