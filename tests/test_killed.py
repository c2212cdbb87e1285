"""SIGKILL after every single write of a start and of a stop: the next start heals it, and leaves nothing behind."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from driving import SETTLED, Driven, everything, wait_for
from written import WriteLog

from damon_exporter.testing.fake_kernel import FakeKernel

RUNNER = Path(__file__).parent / "start_and_stop.py"
TAKEOVER = "kernel: {settle: 0s, takeover: [damon_stat, damon_reclaim]}\n"
PHYSICAL = "monitors: [{name: node, operations: paddr, ranges: [[1GiB, 2GiB]], intervals: {aggregation: 100ms}}]\n"
PROCESSES = "monitors: [{name: db, operations: vaddr, processes: {match: [{comm: postgres}]}}]\n"
PUBLISH = "export: {publish: 100ms}\n"
BY_TRACE = TAKEOVER + PHYSICAL + PUBLISH
BY_SYSFS = TAKEOVER.replace("}\n", ", source: sysfs}\n") + PROCESSES + PUBLISH
KILLED, DONE = -9, 0


class Runs:
    """Whole lives of an exporter without its web server, each in a process of its own."""

    def __init__(self, runner: "subprocess.Popen[str]", log: WriteLog) -> None:
        self._runner = runner
        self._log = log

    def run(self, kill_after: int) -> int:
        """Start and stop; returns how the process ended."""
        self._log.clear()
        assert self._runner.stdin
        assert self._runner.stdout
        self._runner.stdin.write(f"{kill_after}\n")
        self._runner.stdin.flush()
        return int(self._runner.stdout.readline())


@contextmanager
def runs_of(kernel: FakeKernel, configuration: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    log = WriteLog(kernel, folder / "log", monkeypatch)
    config = folder / "config.yaml"
    config.write_text(configuration)
    roots = [str(kernel.sysfs), str(kernel.procfs), str(kernel.tracefs)]
    with subprocess.Popen(
        [sys.executable, str(RUNNER), str(config), *roots], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as runner:
        yield Runs(runner, log)


def heal(kernel: FakeKernel, module: str, configuration: str) -> None:
    """A whole life of the next exporter, which runs its monitor if it may stop the module."""

    def has_healed() -> bool:
        roster = next_one.look()
        return bool(next_one.own) or (module in roster.blocked and kernel.read("nr_kdamonds") == "0")

    with Driven(kernel.paths, configuration, sysfs_source=configuration == BY_SYSFS) as next_one:
        wait_for(has_healed)  # at first the helper of the killed one may still hold the lock


@pytest.mark.parametrize(
    ("name", "module", "configuration", "stride"),
    [
        ("7.3", "damon_stat", BY_TRACE, 1),
        ("6.12", "damon_reclaim", BY_TRACE, 4),
        ("6.12", "damon_reclaim", BY_SYSFS, 3),
    ],
    ids=["7.3", "6.12", "6.12 by sysfs"],
)
def test_the_next_start_heals_whatever_a_killed_one_has_left(
    fake_kernel: Callable[..., FakeKernel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    module: str,
    configuration: str,
    stride: int,
) -> None:
    kernel = fake_kernel(kernel=name, enabled=[module])
    for pid in (42, 43):
        kernel.add_process(pid, "postgres")
    before = everything(kernel)
    with runs_of(kernel, configuration, tmp_path, monkeypatch) as runs:
        writes, ended = 0, KILLED
        while ended == KILLED:
            ended = runs.run(writes)
            for instance in (kernel.tracefs / "instances").iterdir():
                instance.rmdir()  # the tests of the trace ring show that the next start takes it over
            heal(kernel, module, SETTLED if writes % 2 else configuration)
            assert everything(kernel) == before, f"killed after {writes} writes"
            writes += stride
    assert ended == DONE
    assert writes > 30
