"""What whoever has started the exporter is told by datagrams, as systemd would hear it."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import NODE, QUICK, ConfigFlag, Running, path_flags

from damon_exporter.sd_notify import Notifier
from damon_exporter.testing.fake_kernel import FakeKernel

WATCHDOG_SECONDS = 1.0


class Ear:
    """A service manager's socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def hears(self, seconds: float = 20.0) -> list[str]:
        """The next message, by its lines."""
        self._socket.settimeout(seconds)
        return self._socket.recv(4096).decode().split("\n")

    def hears_of(self, assignment: str, seconds: float = 20.0) -> list[str]:
        """The next message that says so."""
        deadline = time.monotonic() + seconds
        while assignment not in (message := self.hears(max(deadline - time.monotonic(), 0.01))):
            pass
        return message

    def is_quiet(self, seconds: float) -> bool:
        """Is nothing said for so long?"""
        try:
            self.hears(seconds)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def ear(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ear]:
    ear = Ear(str(tmp_path / "notify") if request.param == "path" else f"@damon-exporter-test-{os.getpid()}")
    yield ear
    ear.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ear]:
    """Starts what is started in this test with a watchdog."""
    ear = Ear(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", ear.address)
    monkeypatch.setenv("WATCHDOG_USEC", str(round(WATCHDOG_SECONDS * 1e6)))
    yield ear
    ear.close()


def test_a_start_a_reload_and_a_stop_are_told(ear: Ear) -> None:
    notifier = Notifier(ear.address)
    with notifier.started():
        assert ear.hears() == ["READY=1"]
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        with notifier.reloading():
            reloading, since = ear.hears()
        assert (reloading, ear.hears()) == ("RELOADING=1", ["READY=1"])
        assert before <= int(since.removeprefix("MONOTONIC_USEC=")) <= before + 10_000_000
    assert ear.hears() == ["STOPPING=1"]


def test_a_reload_that_a_stop_breaks_off_is_not_told_to_be_over(ear: Ear) -> None:
    notifier = Notifier(ear.address)
    with notifier.reloading():
        assert ear.hears()[0] == "RELOADING=1"
        with notifier.started():
            assert ear.hears() == ["READY=1"]
        assert ear.hears() == ["STOPPING=1"]
    assert ear.is_quiet(0.1)


def test_a_status_cannot_smuggle_in_another_message(ear: Ear) -> None:
    Notifier(ear.address).alive("all\nREADY=1")
    assert ear.hears() == ["WATCHDOG=1", "STATUS=all READY=1"]


def test_nobody_who_listens_is_no_reason_to_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Notifier(None).started(), Notifier(str(tmp_path / "nobody")).started():
        assert "cannot be told READY=1" in caplog.text


@pytest.mark.parametrize(
    ("watchdog", "pid", "beat"),
    [
        ("4000000", "", 2.0),
        ("4000000", "ours", 2.0),
        ("180000000", "", 10.0),
        ("4000000", "1", None),
        ("0", "", None),
    ],
)
def test_the_watchdog_is_put_off_at_least_twice_before_it_bites_if_it_is_ours(
    watchdog: str, pid: str, beat: float | None
) -> None:
    named = str(os.getpid()) if pid == "ours" else pid
    variables = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": watchdog, "WATCHDOG_PID": named, "PATH": "/bin"}
    assert Notifier.from_environment(variables).beat_seconds == beat
    assert variables == {"PATH": "/bin"}


# A whole exporter


def test_an_exporter_tells_how_it_goes_from_start_to_stop(kernel: FakeKernel, config: ConfigFlag, manager: Ear) -> None:
    with Running(*path_flags(kernel.paths), config(QUICK)) as running:
        assert manager.hears() == ["READY=1"]
        assert running.fetch("/-/healthy")[0] == 200
        running.wait_for(lambda: running.value("damon_monitor_up", monitor="node"))
        manager.hears_of("STATUS=1 of 1 monitors report")
        os.kill(running.process.pid, signal.SIGHUP)
        manager.hears_of("RELOADING=1")
        manager.hears_of("READY=1")
        assert "configuration reloaded" in running.log
        os.kill(running.process.pid, signal.SIGTERM)
        manager.hears_of("STOPPING=1")
        assert running.process.wait(20) == 0
    assert manager.is_quiet(0.1)


def test_a_refused_reload_is_over_too(kernel: FakeKernel, config: ConfigFlag, manager: Ear) -> None:
    with Running(*path_flags(kernel.paths), config(QUICK)) as running:
        manager.hears_of("READY=1")
        config("monitors: 1")
        os.kill(running.process.pid, signal.SIGHUP)
        manager.hears_of("RELOADING=1")
        manager.hears_of("READY=1")
        assert "reload failed" in running.log


def test_a_long_reload_does_not_trip_the_watchdog_and_who_asks_meanwhile_has_the_file_read_again(
    kernel: FakeKernel, config: ConfigFlag, manager: Ear
) -> None:
    with Running(*path_flags(kernel.paths), config(QUICK)) as running:
        running.wait_for(lambda: running.value("damon_snapshots_total", monitor="node"))
        kernel.delay("*/kdamonds/0/state", "write", 3 * WATCHDOG_SECONDS, count=1)
        config(QUICK.replace("aggregation: 100ms", "aggregation: 200ms"))
        os.kill(running.process.pid, signal.SIGHUP)
        manager.hears_of("RELOADING=1")
        for _ in range(4):
            assert "WATCHDOG=1" in manager.hears(WATCHDOG_SECONDS)
        config(QUICK)
        os.kill(running.process.pid, signal.SIGHUP)
        for assignment in ("READY=1", "RELOADING=1", "READY=1"):
            manager.hears_of(assignment)
        assert kernel.read("0/contexts/0/monitoring_attrs/intervals/aggr_us") == "100000"


def test_a_sampler_that_hangs_trips_the_watchdog(kernel: FakeKernel, config: ConfigFlag, manager: Ear) -> None:
    with Running(*path_flags(kernel.paths), config(QUICK)) as running:
        running.wait_for(lambda: running.value("damon_snapshots_total", monitor="node"))
        manager.hears_of("WATCHDOG=1")
        kernel.delay("*/trace_pipe_raw", "read", 600)
        try:
            deadline = time.monotonic() + 10 * WATCHDOG_SECONDS
            while not manager.is_quiet(2 * WATCHDOG_SECONDS):
                assert time.monotonic() < deadline
            assert running.fetch("/-/healthy")[0] == 200
        finally:
            kernel.clear_faults()  # a read that waits there outlives SIGKILL
        manager.hears_of("WATCHDOG=1")


def test_a_kdamond_that_is_stuck_does_not_trip_the_watchdog(
    kernel: FakeKernel, config: ConfigFlag, manager: Ear
) -> None:
    kernel.delay("*/kdamonds/0/state", "write", 600, count=1)
    with Running(*path_flags(kernel.paths), config(QUICK)) as running:
        manager.hears_of("READY=1")
        running.wait_for(lambda: kernel.read("nr_kdamonds") == "1")
        for _ in range(6):
            assert "WATCHDOG=1" in manager.hears(WATCHDOG_SECONDS)
        kernel.clear_faults()


def test_what_the_exporter_starts_cannot_speak_for_it(
    kernel: FakeKernel, config: ConfigFlag, manager: Ear, tmp_path: Path
) -> None:
    told = tmp_path / "environment"
    command = f'["sh", "-c", "env > {told}.new && mv {told}.new {told}; exec sleep 60"]'
    commanded = QUICK.replace(NODE, f"monitors: [{{name: bench, operations: vaddr, command: {command}}}]")
    with Running(*path_flags(kernel.paths), config(commanded)) as running:
        manager.hears_of("READY=1")
        running.wait_for(told.exists)
        assert "PATH=" in told.read_text()
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & {
            line.partition("=")[0] for line in told.read_text().split("\n")
        }
