"""What arrives by OTLP in a real receiver is what a real Prometheus scrapes: series by series, value by value."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import wait_for
from example_state import STATE
from prometheus_server import PrometheusServer, prometheus
from running import COMMAND, Running
from victoria_metrics import PATH, victoria_metrics

from damon_exporter.metrics.catalog import METRICS, Kind
from damon_exporter.metrics.collected import Collected
from damon_exporter.published import Published
from damon_exporter.push import Push
from damon_exporter.web.app import make_app
from damon_exporter.web.server import Server

SCRAPED, FROZEN, DEMO = 'job="scraped"', 'service_name="frozen"', 'service_name="damon-exporter"'
WHOSE = frozenset({"job", "instance", "service_name"})
PARTS = {
    Kind.HISTOGRAM: ("_bucket", "_count", "_sum"),
    Kind.GAUGE_HISTOGRAM: ("_bucket", "_gcount", "_gsum"),
}

Values = dict[frozenset[tuple[str, str]], float]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """What is pushed to."""
    with victoria_metrics(tmp_path_factory.mktemp("store")) as store:
        yield store


def values(server: PrometheusServer, whose: str) -> Values:
    """The last value of every series, by its name and labels, of a job or service: ``job="a"``."""
    return {
        frozenset((name, value) for name, value in one["metric"].items() if name not in WHOSE): float(one["value"][1])
        for one in server.query(f'{{__name__=~"(damon|process)_.*", {whose}}}')
    }


def scrape_of(address: str) -> list[dict[str, object]]:
    return [{"job_name": "scraped", "static_configs": [{"targets": [address]}]}]


def test_a_frozen_state_with_everything_arrives_both_ways_alike(
    store: PrometheusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "frozen")
    published, collected = Published(STATE), Collected()
    push = Push(f"http://{store.address}{PATH}", 1, published, collected, lambda: None)
    with (
        Server(["127.0.0.1:0"], make_app(published, collected=collected)) as web,
        prometheus(tmp_path, scrape_of(str(web.bound[0]))) as scraping,
        push,
    ):
        scraping.wait_for('up{job="scraped"} == 1')
        wait_for(lambda: collected.pushed and collected.pushed.last_success_timestamp)
        scraping.wait_for('count_over_time(up{job="scraped"}[1m]) >= 2')
        scraped = values(scraping, SCRAPED)
        wait_for(lambda: len(values(store, FROZEN)) == len(scraped))
        assert values(store, FROZEN) == scraped
    names = {dict(series)["__name__"] for series in scraped}
    assert names >= {
        metric.name + part
        for metric in METRICS
        for part in PARTS.get(metric.kind, ("",))
        if metric.name != "damon_exporter_series_dropped"
    }


def test_every_series_of_the_demo_arrives_both_ways(store: PrometheusServer, tmp_path: Path) -> None:
    file = tmp_path / "damon.yml"
    file.write_text(f"otlp: {{endpoint: 'http://{store.address}{PATH}', interval: 1s}}")
    with (
        Running(f"--config.file={file}", command=(*COMMAND, "demo")) as demo,
        prometheus(tmp_path, scrape_of(f"127.0.0.1:{demo.port}")) as scraping,
    ):
        scraping.wait_for('damon_reaccess_idle_age_seconds_count{job="scraped"}')
        expected = "damon_exporter_otlp_last_success_timestamp_seconds"
        scraping.wait_for(f'{expected}{{job="scraped"}} > 0')
        wait_for(lambda: values(scraping, SCRAPED).keys() == values(store, DEMO).keys())
        assert len(values(scraping, SCRAPED)) > 100
        assert demo.stop() == 0
