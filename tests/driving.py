"""A supervisor driven by hand against a fake kernel: every look is a call, and the time is what the test says."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from damon_exporter.config.loading import check
from damon_exporter.config.reading import parse
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.roster import Roster, Waiting, Watched
from damon_exporter.supervisor import Supervisor
from damon_exporter.testing.fake_kernel import FakeKernel

SETTLED = "kernel: {settle: 0s}\n"
PHYSICAL = SETTLED + "monitors: [{name: node, operations: paddr, intervals: {sample: 5ms, aggregation: 100ms}}]\n"

on_both = pytest.mark.parametrize("kernel", ["6.12", "7.3"], indirect=True)
"""The test runs on both kernels: they differ in what it looks at."""


class Driven:
    """Control as an exporter has it, without its threads. Leaving the context ends it as SIGTERM does."""

    def __init__(self, paths: KernelPaths, configuration: str = PHYSICAL, *, sysfs_source: bool = False) -> None:
        self.supervisor = Supervisor(check(parse(configuration)), paths, sysfs_source, on_failure=lambda: None)
        self.now = 1000.0

    def __enter__(self) -> "Driven":
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.end()

    def look(self, after: float = 2.0) -> Roster:
        """Look once, so many seconds after the look before."""
        self.now += after
        self.supervisor.tick(self.now)
        return self.supervisor.roster

    def look_for(self, seconds: float, every: float = 2.0) -> Roster:
        """Look again and again for a while."""
        end = self.now + seconds
        while self.now < end:
            self.look(every)
        return self.supervisor.roster

    @property
    def own(self) -> dict[str, Watched]:
        """Our monitors that run."""
        return {kdamond.name: kdamond for kdamond in self.supervisor.roster.watched if kdamond.owner == "exporter"}

    @property
    def waiting(self) -> dict[str, str]:
        """Our monitors that do not run, and why."""
        return {waiting.name: waiting.reason for waiting in self.supervisor.roster.waiting}

    def describe(self, name: str) -> Watched | Waiting:
        """What the roster says of one monitor."""
        roster = self.supervisor.roster
        return next(found for found in (*roster.watched, *roster.waiting) if found.name == name)


def everything(kernel: FakeKernel) -> dict[str, str]:
    """What all of DAMON's files show, but those that the kernel counts up by itself, and the trace instances."""
    shown = {str(path): path.read_text() for path in _files(kernel)}
    return shown | {str(folder): "" for folder in (kernel.tracefs / "instances").iterdir()}


def _files(kernel: FakeKernel) -> Iterator[Path]:
    yield from (path for path in kernel.kdamonds.rglob("*") if path.is_file() and "stats" not in path.parts)
    yield from kernel.sysfs.glob("module/*/parameters/enabled")


def run_somebodys(kernel: FakeKernel, slots: int = 1) -> int:
    """Another tool makes the tree its own and turns on a kdamond of physical memory; returns its pid."""
    stage_somebodys(kernel, slots)
    kernel.write("0/state", "on")
    return int(kernel.read("0/pid"))


def stage_somebodys(kernel: FakeKernel, slots: int = 1) -> None:
    """Another tool makes the tree its own, and leaves its kdamond off."""
    kernel.write("nr_kdamonds", slots)
    restage(kernel)


def restage(kernel: FakeKernel, index: int = 0) -> None:
    """Another tool stages a kdamond of physical memory in a slot that is there."""
    context = f"{index}/contexts/0"
    kernel.write(f"{index}/contexts/nr_contexts", 1)
    kernel.write(f"{context}/operations", "paddr")
    kernel.write(f"{context}/targets/nr_targets", 1)
    kernel.write(f"{context}/targets/0/regions/nr_regions", 1)
    kernel.write(f"{context}/targets/0/regions/0/start", 1 << 30)
    kernel.write(f"{context}/targets/0/regions/0/end", 2 << 30)


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something has become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
