"""Shipped alerts on their way from an exporter to whoever is on duty."""

import time

import pytest
from prometheus_server import PrometheusServer

from boards.alertmanager import Alert, Alertmanager

pytestmark = pytest.mark.xdist_group("boards")

LABELS = {
    "alertname": "DamonMonitorDown",
    "cluster": "test",
    "instance": "n2",
    "job": "damon-exporter",
    "monitor": "bench",
    "severity": "warning",
}
SUMMARY = "Monitor bench on n2 reports nothing"
RUNBOOK = "docs/runbooks/DamonMonitorDown.md"


def the_alert(alerts: list[Alert]) -> Alert | None:
    return next((alert for alert in alerts if alert["labels"] == LABELS), None)


def test_a_monitor_that_is_down_reaches_the_alertmanager_and_its_receiver(
    server: PrometheusServer, alerted: Alertmanager
) -> None:
    assert server.query("ALERTS{alertname='DamonMonitorDown', alertstate='firing'}")
    deadline = time.monotonic() + 20
    while not (the_alert(alerted.alerts()) and the_alert(alerted.told)):
        assert time.monotonic() < deadline, alerted
        time.sleep(0.2)

    for alert in (the_alert(alerted.alerts()), the_alert(alerted.told)):
        assert alert
        assert alert["annotations"]["summary"] == SUMMARY
        assert "The landing page of the exporter on n2 says why." in alert["annotations"]["description"]
        assert alert["annotations"]["runbook_url"].endswith(RUNBOOK)
