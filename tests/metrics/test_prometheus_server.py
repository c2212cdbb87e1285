"""What a real Prometheus makes of a scrape, in both formats."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from example_state import HOSTILE_NAME, NODE, PHYSICAL, STATE
from prometheus_server import Series, prometheus

from damon_exporter.escaping import printable
from damon_exporter.state import Band, Heatmap, NodeState
from damon_exporter.web.app import make_app
from damon_exporter.web.server import Server

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
QUERIES = re.findall(r"```promql\n(.*?)\n```", DOCUMENT.read_text(), re.DOTALL)
FORMATS = {"openmetrics": "OpenMetricsText1.0.0", "classic": "PrometheusText0.0.4"}
SCRAPES = 4
HEAT = next(query for query in QUERIES if "heatmap" in query)

Query = Callable[[str], Series]


def state_after(seconds: float) -> NodeState:
    """The example with counters that have counted: the second bin of two has been accessed half of the time."""
    physical = replace(
        PHYSICAL,
        observed_seconds=seconds,
        bands=(Band("idle", 8_589_934_591 - 4096, 1e6 * seconds), Band("hot", 4096, 4096 * seconds)),
        heatmap=Heatmap((0.0, seconds / 2), 4096.0),
    )
    return replace(STATE, monitors=(replace(NODE, targets=(physical,)), *STATE.monitors[1:]))


@pytest.fixture(scope="module")
def query(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Query]:
    """Asks a Prometheus that has scraped the example a few times, once a second, in each format."""
    began = time.monotonic()
    with Server(["127.0.0.1:0"], make_app(lambda: state_after(time.monotonic() - began))) as server:
        jobs = [
            {"job_name": name, "scrape_protocols": [protocol], "static_configs": [{"targets": [str(server.bound[0])]}]}
            for name, protocol in FORMATS.items()
        ]
        with prometheus(tmp_path_factory.mktemp("prometheus"), jobs) as started:
            started.wait_for(f"count(count_over_time(up[1m]) >= {SCRAPES}) == {len(FORMATS)}")
            yield started.query


def values(series: Series) -> list[float]:
    return [float(one["value"][1]) for one in series]


def test_both_formats_are_scraped_without_complaint(query: Query) -> None:
    assert values(query("min_over_time(up[1m])")) == [1, 1]


def test_both_formats_give_the_same_series(query: Query) -> None:
    counts = values(query('count by (job) ({__name__=~"damon_.*"})'))

    assert counts[0] == counts[1] > 100


def test_the_bands_sum_to_the_monitored_bytes(query: Query) -> None:
    sums = values(query('sum by (job) (damon_access_band_bytes{monitor="node"})'))

    assert sums == values(query('damon_monitored_bytes{monitor="node"}')) == [PHYSICAL.monitored_bytes] * 2


def test_a_hostile_name_arrives_in_print(query: Query) -> None:
    targets = {one["metric"]["target"] for one in query('damon_regions{monitor="databases"}')}

    assert targets == {printable(HOSTILE_NAME)}


def test_the_gauge_histogram_is_known_as_one(query: Query) -> None:
    assert {one["metric"]["le"] for one in query("damon_idle_age_seconds_bucket")} == {"1.0", "60.0", "3600.0", "+Inf"}


def test_heat_is_the_share_of_time_in_which_the_bin_was_accessed(query: Query) -> None:
    heat = query(HEAT)

    assert {one["metric"]["bin"]: pytest.approx(float(one["value"][1]), abs=0.01) for one in heat} == {"0": 0, "1": 0.5}


@pytest.mark.parametrize("promql", [q for q in QUERIES if ">" not in q])
def test_every_documented_query_has_an_answer(query: Query, promql: str) -> None:
    assert query(promql)


@pytest.mark.parametrize("promql", [q for q in QUERIES if ">" in q])
def test_every_documented_alarm_is_understood(query: Query, promql: str) -> None:
    assert isinstance(query(promql), list)
