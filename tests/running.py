"""The exporter as users run it: a process with flags, asked over HTTP, ended by a signal."""

import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType

from prometheus_client.parser import text_string_to_metric_families

from damon_exporter.kernel.paths import KernelPaths

COMMAND = (sys.executable, "-m", "damon_exporter")
SECONDS = 20.0
NODE = "monitors: [{name: node, operations: paddr, intervals: {sample: 5ms, aggregation: 100ms}}]\n"
QUICK = "kernel: {settle: 0s}\nexport: {publish: 100ms}\n" + NODE
"""A configuration that takes a free tree at once."""

ConfigFlag = Callable[[str], str]
"""The fixture ``config``: writes a configuration and returns the flag that names it."""
SERVING = re.compile(r"serving https?://127\.0\.0\.1:(\d+)/")


def path_flags(paths: KernelPaths) -> list[str]:
    """The flags that name a fake kernel."""
    return [f"--path.sysfs={paths.sysfs}", f"--path.procfs={paths.procfs}", f"--path.tracefs={paths.tracefs}"]


def run(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    command = [*COMMAND, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS, cwd=cwd)


class Running:
    """A serving exporter; leaving the context kills it if it has not ended by then."""

    def __init__(self, *arguments: str, command: Sequence[str] = COMMAND, cwd: Path | None = None) -> None:
        with tempfile.NamedTemporaryFile(delete=False) as log:
            self._log = Path(log.name)
            self.process = subprocess.Popen(
                [*command, "--web.listen-address=127.0.0.1:0", *arguments], stderr=log, cwd=cwd
            )

    @cached_property
    def port(self) -> int:
        """Where it serves; waits until it does."""
        deadline = time.monotonic() + SECONDS
        while not (serving := SERVING.search(self.log)):
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        return int(serving[1])

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    def fetch(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def value(self, name: str, **labels: str) -> float | None:
        """The value of the one series with these labels, others allowed; None if there is none."""
        _, text = self.fetch("/metrics")
        found = [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        assert len(found) <= 1, found
        return found[0] if found else None

    def wait_for(self, condition: Callable[[], object], seconds: float = SECONDS) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log + self.fetch("/")[1]
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; returns its exit code."""
        os.kill(self.process.pid, number)
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.log}") from None

    def __enter__(self) -> "Running":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.ended_with = self.log
        self._log.unlink()
