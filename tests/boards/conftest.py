"""One Prometheus, and one Alertmanager, for all tests of dashboards, rules and alerts."""

from collections.abc import Iterator

import pytest
from prometheus_server import PrometheusServer

from boards.alertmanager import Alertmanager, alertmanager
from boards.observatory import observatory


@pytest.fixture(scope="session")
def alerted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    with alertmanager(tmp_path_factory.mktemp("alertmanager")) as started:
        yield started


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, alerted: Alertmanager) -> Iterator[PrometheusServer]:
    folder = tmp_path_factory.mktemp("observatory")
    with observatory(folder, alerted.address) as started:
        yield started
