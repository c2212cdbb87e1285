"""A real receiver of OTLP that names as Prometheus does. Debian's Prometheus is built without its own."""

import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from debian_tools import debian_program
from prometheus_server import PrometheusServer, daemon, free_address

PATH = "/opentelemetry/v1/metrics"


@contextmanager
def victoria_metrics(folder: Path) -> Iterator[PrometheusServer]:
    """Receive, and answer queries about what has come at once."""
    address = free_address()
    command = [
        str(debian_program("victoria-metrics", "/usr/bin/victoria-metrics")),
        f"-storageDataPath={folder}/victoria-metrics",
        f"-httpListenAddr={address}",
        "-opentelemetry.usePrometheusNaming",
        "-opentelemetry.promoteAllResourceAttributes=false",  # as Prometheus does, which makes job and instance of two
        "-opentelemetry.promoteResourceAttributes=service.name",
        "-opentelemetry.promoteScopeMetadata=false",
        "-search.latencyOffset=0s",
        "-search.disableCache",
        "-inmemoryDataFlushInterval=1s",
    ]
    with daemon(command, folder / "victoria-metrics.log"):
        _wait_until_ready(address)
        yield PrometheusServer(address)


def _wait_until_ready(address: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"http://{address}/-/ready", timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError("VictoriaMetrics is not ready after 30 s")
