"""A cluster of exporters, what Kubernetes tells of it, and a Prometheus that has looked at all of it."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from moving_state import moving_state
from prometheus_server import PrometheusServer, prometheus
from running import COMMAND, Running

from damon_exporter.web.app import make_app
from damon_exporter.web.messages import Request, Response
from damon_exporter.web.server import Server

RULES = sorted((Path(__file__).parents[2] / "deploy/k8s/rules").glob("*.yml"))
KUBERNETES = Path(__file__).with_name("kubernetes.prom")
FULL = "n3"
"""The node with more series than it may export."""
NODES = {"n1": 1.0, "n2": 1.7, FULL: 0.5}
"""Nodes, and how large what they use is."""
DEMO_CONFIGURATION = "export: {heatmap: {processes: true}}\n"
HURRY = {r"(?m)^( +for): \w+$": r"\1: 0s", r"(?m)^( +interval): \w+$": r"\1: 1s", r"offset 6[mh]": "offset 6s"}
"""Nobody waits for five minutes, or six hours, to see whether an expression has an answer."""
LAST_RECORDED = (
    f"count(instance:damon_touched_bytes:deriv6h) > {len(NODES)}",
    'workload:damon_touched_bytes:deriv6h{origin="attribution"}',
    'workload:damon_touched_bytes:deriv6h{origin="processes"}',
)
"""What rules make of what other rules have made, for all nodes and the demo."""
SETTLED = 25
"""Seconds after which every query of a dashboard has an answer: the demo's first counters, ten scrapes, the rules."""


@contextmanager
def observatory(folder: Path, alertmanager: str | None = None) -> Iterator[PrometheusServer]:
    """Yield the Prometheus once it has seen enough, and its rules have recorded all that they record."""
    with ExitStack() as stack:
        nodes = {name: stack.enter_context(_node(name, size)) for name, size in NODES.items()}
        kubernetes = stack.enter_context(Server(["127.0.0.1:0"], _kubernetes))
        config = folder / "demo.yaml"
        config.write_text(DEMO_CONFIGURATION)
        demo = stack.enter_context(Running(f"--config.file={config}", command=(*COMMAND, "demo")))
        scraped = [
            _job("demo", [_target(f"127.0.0.1:{demo.port}", "demo")]),
            _job("damon-exporter", [_target(address, name, cluster="test") for name, address in nodes.items()]),
            _job("kubernetes", [_target(str(kubernetes.bound[0]), "kubernetes", cluster="test")]),
        ]
        started = stack.enter_context(prometheus(folder, scraped, list(_hurried_rules(folder)), alertmanager))
        started.wait_for('count(rate(damon_heatmap_access_seconds_total{job="demo"}[5s]) > 0)', SETTLED)
        started.wait_for(f'count_over_time(up{{job="demo"}}[1m]) >= {SETTLED // 2}', 2 * SETTLED)
        for last in LAST_RECORDED:
            started.wait_for(last, SETTLED)
        yield started


def _hurried_rules(folder: Path) -> Iterator[Path]:
    for path in RULES:
        text = path.read_text()
        for patient, hurried in HURRY.items():
            text = re.sub(patient, hurried, text)
        (folder / path.name).write_text(text)
        yield folder / path.name


@contextmanager
def _node(name: str, size: float) -> Iterator[str]:
    began = time.monotonic() - 30 * size
    with Server(
        ["127.0.0.1:0"], make_app(lambda: moving_state(time.monotonic() - began, size, dropped=name == FULL))
    ) as server:
        yield str(server.bound[0])


def _kubernetes(_: Request) -> Response:
    return Response(HTTPStatus.OK, "text/plain; version=0.0.4", KUBERNETES.read_bytes())


def _job(name: str, targets: list[dict[str, Any]]) -> dict[str, Any]:
    return {"job_name": name, "honor_labels": True, "static_configs": targets}


def _target(address: str, instance: str, **labels: str) -> dict[str, Any]:
    return {"targets": [address], "labels": {"instance": instance, **labels}}
