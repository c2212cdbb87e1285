"""How much time command lines and expressions that somebody made for it may take, and who waits for it."""

import random
import time
from itertools import pairwise
from pathlib import Path

import pytest

from damon_exporter.command_lines import MOST_SECONDS, CommandLines
from damon_exporter.config import Processes
from damon_exporter.containers.named import no_pod
from damon_exporter.kernel import procfs
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.matching import ProcessFinder
from damon_exporter.patterns import CommandPattern

SLOW = "(?:[ab]*a[ab]{10}){%d}c"
"""Takes some 10 ms for each of the lines below."""

ORDINARY = 999
HOSTILE = range(100, 130)


@pytest.fixture
def crowded(tmp_path: Path) -> KernelPaths:
    """A host on which a user has started processes with long lines, before an ordinary one."""
    chance = random.Random(1)
    for pid in (*HOSTILE, ORDINARY):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / f"{pid}/stat").write_text(f"{pid} (a) S 1" + " 0" * 48 + "\n")
        (tmp_path / f"{pid}/cgroup").write_text("0::/\n")
        line = "redis-server" if pid == ORDINARY else "".join(chance.choices("ab", k=4090))
        (tmp_path / f"{pid}/cmdline").write_text(line)
    return KernelPaths(tmp_path / "sys", tmp_path)


def test_a_look_takes_no_longer_than_it_may_and_ordinary_processes_do_not_wait(
    crowded: KernelPaths, caplog: pytest.LogCaptureFixture
) -> None:
    entries = [{"cmdline": SLOW % times} for times in range(40, 80)]
    finder = ProcessFinder(Processes.model_validate({"match": [*entries, {"cmdline": "redis-.*"}]}), crowded, no_pod)
    for _ in range(3):
        began = time.thread_time()
        assert [process.pid for process in finder.find().taken] == [ORDINARY]
        assert time.thread_time() - began < MOST_SECONDS + 0.5
    assert [record.message.partition(" s ")[0] for record in caplog.records] == ["command lines take longer than 0.5"]


def test_every_line_has_its_turn_and_none_is_judged_twice(
    crowded: KernelPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("damon_exporter.command_lines.MOST_SECONDS", 1e-9)  # enough to begin with one
    lines, pattern = CommandLines(crowded.procfs), CommandPattern("[ab]+")
    processes = list(procfs.processes(crowded.procfs))
    fitting = []
    for _ in range(len(processes) + 2):
        lines.begin()
        fitting.append(sum(lines.fits(pattern, process) for process in processes))
        lines.end()
    assert fitting == sorted(fitting)
    assert max(after - before for before, after in pairwise(fitting)) == 1
    assert fitting[-1] == len(HOSTILE)


def test_who_was_found_to_match_does_so_until_there_is_time_to_look_at_his_new_line(
    crowded: KernelPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, pattern = CommandLines(crowded.procfs), CommandPattern("redis-.*")
    process = procfs.process(crowded.procfs, ORDINARY)
    assert process

    def look() -> bool:
        lines.begin()
        try:
            return lines.fits(pattern, process)
        finally:
            lines.end()

    assert look()
    (crowded.procfs / f"{ORDINARY}/cmdline").write_text("memcached")
    monkeypatch.setattr("damon_exporter.command_lines.MOST_SECONDS", 0.0)
    assert look()
    monkeypatch.undo()
    assert not look()
