"""Fixtures for all tests, and the guard that keeps them away from this machine's own DAMON."""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from booted import kernels_booted
from hypothesis import settings
from kernel_pool import KernelPool

from damon_exporter.testing.fake_kernel import FakeKernel

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")

GUARD = Path(__file__).parent / "guard"
sys.path.insert(0, str(GUARD))
import kernel_guard  # noqa: E402 - found only through the line above, as in the child processes

guard_log = pytest.StashKey[Path]()
kernel_before = pytest.StashKey[kernel_guard.Snapshot]()


def pytest_configure(config: pytest.Config) -> None:
    """Guard this process and, by its environment, every Python that it starts."""
    if not _is_worker(config):
        handle, os.environ[kernel_guard.LOG_VARIABLE] = tempfile.mkstemp(prefix="damon-guard-")
        os.close(handle)
        config.pluginmanager.register(AtOnce(config))
    config.stash[guard_log] = Path(os.environ[kernel_guard.LOG_VARIABLE])  # one for all workers
    config.stash[kernels_booted] = []
    config.stash[kernel_before] = kernel_guard.Snapshot.take()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(GUARD), os.environ.get("PYTHONPATH"))))
    kernel_guard.install()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if anything reached for the real kernel, whatever became of the exception."""
    if _violations(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if _is_worker(session.config):
        session.config.workeroutput["kernels_booted"] = session.config.stash[kernels_booted]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of xdist has to say at the end."""
    node.config.stash[kernels_booted] += getattr(node, "workeroutput", {}).get("kernels_booted", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for violation in _violations(config):
        terminalreporter.write_line(f"REAL KERNEL TOUCHED: {violation}", red=True)
    for line in sorted(set(config.stash[kernels_booted])):
        terminalreporter.write_line(f"real kernel {line}", bold=True)
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.write_line(f"second try for {report.nodeid}: {_cause(report)}", yellow=True)


class AtOnce:
    """Names what goes wrong when it does: a run that is ended from outside shows nothing else of it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._started = time.monotonic()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One line for a failure, also for one that gets a second try."""
        if report.outcome in ("passed", "skipped"):
            return
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        cause = next(iter(_cause(report).splitlines()), "")
        after = time.monotonic() - self._started
        terminal.write_line(f"{after:.0f} s: {report.outcome} in {report.when}: {report.nodeid}: {cause}")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _is_worker(config):
        config.stash[guard_log].unlink(missing_ok=True)


def _is_worker(config: pytest.Config) -> bool:
    """Is this one of the processes that xdist shares the tests out to?"""
    return hasattr(config, "workerinput")


def _cause(report: Any) -> str:
    """What made a test fail that was tried again: nothing else of its first try is shown."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return f"{crash.path}:{crash.lineno}: {crash.message}" if crash else str(report.longrepr)


def _violations(config: pytest.Config) -> list[str]:
    found = config.stash[guard_log].read_text().splitlines()
    if kernel_guard.Snapshot.take() != config.stash[kernel_before]:
        found.append("folders or nr_kdamonds below /sys/kernel/mm/damon/admin are not what they were")
    return found


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo what a command that ran in this process has set up: its level, and its stderr, which is closed."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.addLevelName(logging.WARNING, "WARNING")


@pytest.fixture(scope="session")
def kernel_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KernelPool]:
    pool = KernelPool(tmp_path_factory.mktemp("kernels"))
    with pool.running:
        yield pool


@pytest.fixture
def fake_kernel(kernel_pool: KernelPool) -> Iterator[Callable[..., FakeKernel]]:
    """A factory of fake kernels as they are after boot: ``fake_kernel(kernel="6.12", cpus=4)``."""
    yield kernel_pool.take
    kernel_pool.take_back()


@pytest.fixture
def kernel(request: pytest.FixtureRequest, fake_kernel: Callable[..., FakeKernel]) -> FakeKernel:
    """A 7.3, or both kernels one after the other where ``driving.on_both`` asks for it."""
    return fake_kernel(kernel=getattr(request, "param", "7.3"))


@pytest.fixture(scope="session")
def damo(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run damo on a recording; the answer is what it printed."""
    from damo_itself import damo_at

    return damo_at(tmp_path_factory.mktemp("home"))


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], str]:
    """Makes a configuration file and returns the flag that names it."""

    def write(text: str) -> str:
        file = tmp_path / "config.yaml"
        file.write_text(text)
        return f"--config.file={file}"

    return write
