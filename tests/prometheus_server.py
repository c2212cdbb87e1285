"""A real Prometheus on a loopback port, for as long as a test needs it."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from debian_tools import debian_program

Series = list[dict[str, Any]]


@dataclass(frozen=True)
class PrometheusServer:
    """Where it listens, and its API."""

    address: str

    def get(self, path: str, **parameters: str | float) -> Any:
        """The data that the API answers below /api/v1; AssertionError with its words if it refuses."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.SERVICE_UNAVAILABLE:
                raise  # it is not ready yet
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, promql: str) -> Series:
        """The resulting vector of an instant query."""
        result: Series = self.get("query", query=promql)["result"]
        return result

    def query_range(self, promql: str, start: float, end: float, step: float) -> Series:
        """The resulting matrix."""
        result: Series = self.get("query_range", query=promql, start=start, end=end, step=step)["result"]
        return result

    def wait_for(self, promql: str, seconds: float = 30) -> None:
        """Wait until a query has an answer."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(OSError):
                if self.query(promql):
                    return
            time.sleep(0.2)
        raise AssertionError(f"no answer within {seconds} s: {promql}")


@contextmanager
def prometheus(
    folder: Path, jobs: list[dict[str, Any]], rules: Sequence[Path] = (), alertmanager: str | None = None
) -> Iterator[PrometheusServer]:
    """Scrape and evaluate every second. ``alertmanager`` is the address of one that is told of alerts."""
    configuration: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "scrape_configs": jobs,
        "rule_files": [str(path) for path in rules],
    }
    if alertmanager:
        configuration["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
    address = free_address()
    command = [
        str(debian_program("prometheus", "/usr/bin/prometheus")),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}",
    ]
    with daemon(command, folder / "prometheus.log"):
        yield PrometheusServer(address)


@contextmanager
def daemon(command: Sequence[str], log: Path) -> Iterator[None]:
    """Run it until the context is left; what it said is shown if the context fails."""
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield
        except BaseException:
            print(log.read_text())
            raise
        finally:
            process.terminate()


def free_address() -> str:
    """A loopback address that nobody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"
