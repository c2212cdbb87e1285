"""What becomes of Prometheus' families in OTLP, and what Prometheus makes of that again."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from example_state import NODE, PHYSICAL, STATE
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import Metric as OtlpMetric
from opentelemetry.sdk.metrics.export import MetricsData, NumberDataPoint, Sum
from opentelemetry.sdk.resources import Resource

from damon_exporter import __version__
from damon_exporter.config.loading import check
from damon_exporter.metrics.catalog import METRICS, Kind, Metric
from damon_exporter.metrics.collected import Collected
from damon_exporter.metrics.otlp import Adapter, number_of_points, resource
from damon_exporter.metrics.prometheus import families
from damon_exporter.state import NodeState, Owner, TargetState

DOCUMENT = Path(__file__).parents[2] / "docs/otlp.md"
STARTED = 1_789_999_900.0
SECOND = 1_000_000_000
BEGUN, NOW = int(STARTED) * SECOND, 1_790_000_000 * SECOND
UNITS = {"By": "bytes", "s": "seconds"}
"""Of Prometheus' table, what we use; a unit that is not in it is put into the name as it stands."""
TYPES = {
    Kind.GAUGE: "Gauge",
    Kind.COUNTER: "monotonic Sum",
    Kind.INFO: "Sum",
    Kind.HISTOGRAM: "Sum",
    Kind.GAUGE_HISTOGRAM: "Gauge",
}


class Series(NamedTuple):
    """As a query names it."""

    name: str
    labels: frozenset[tuple[str, str]]


def translated(metric: OtlpMetric) -> str:
    """The name that Prometheus 3 stores, by the rules of its translation with escaping and suffixes."""
    words = re.findall(r"[a-zA-Z0-9:]+", metric.name)
    unit = "" if "{" in (metric.unit or "") else metric.unit or ""
    suffix = UNITS.get(unit, re.sub(r"[^a-zA-Z0-9]+", "_", unit).strip("_"))
    if suffix and suffix not in words:
        words.append(suffix)
    if isinstance(metric.data, Sum) and metric.data.is_monotonic:
        words = [word for word in words if word != "total"] + ["total"]
    return "_".join(words)


def metrics_of(data: MetricsData) -> list[OtlpMetric]:
    return list(data.resource_metrics[0].scope_metrics[0].metrics)


def adapted(state: NodeState = STATE) -> list[OtlpMetric]:
    return metrics_of(Adapter(Resource({}), STARTED).metrics(Collected()(state), NOW))


def points(metrics: list[OtlpMetric]) -> Iterator[tuple[Series, NumberDataPoint]]:
    for metric in metrics:
        for point in metric.data.data_points:
            assert isinstance(point, NumberDataPoint)
            labels = {name: str(value) for name, value in (point.attributes or {}).items() if value != ""}
            yield Series(translated(metric), frozenset(labels.items())), point


def test_prometheus_translates_back_to_the_series_and_values_of_a_scrape() -> None:
    scraped = {
        Series(sample.name, frozenset((k, v) for k, v in sample.labels.items() if v)): sample.value
        for family in families(STATE)
        for sample in family.samples
    }

    pushed = {series: point.value for series, point in points(adapted()) if series.name.startswith("damon_")}

    assert pushed == scraped


def test_nothing_is_pushed_twice() -> None:
    all_series = [series for series, _ in points(adapted())]

    assert len(set(all_series)) == len(all_series)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_has_the_type_of_otlp_that_counts_as_it_does(metric: Metric) -> None:
    parts = {
        Kind.HISTOGRAM: ("_bucket", "_count", "_sum"),
        Kind.GAUGE_HISTOGRAM: ("_bucket", "_gcount", "_gsum"),
    }.get(metric.kind, ("",))
    limited = replace(STATE, max_series=150)
    by_name = {translated(one): one for one in (*adapted(limited), *adapted())}

    for part in parts:
        data = by_name[metric.name + part].data
        monotonic = "monotonic " if isinstance(data, Sum) and data.is_monotonic else ""
        assert monotonic + type(data).__name__ == TYPES[metric.kind]


def test_units_are_those_of_ucum() -> None:
    units = {metric.name: metric.unit for metric in adapted()}

    assert units["damon.monitored"] == "By"
    assert units["damon.observed"] == units["process.cpu"] == "s"
    assert units["damon.regions"] == units["damon.access_band_byte_seconds"] == ""


def test_the_document_says_what_becomes_of_a_metric() -> None:
    rows = re.findall(r"\| \w+ `(damon_\w+)` \| (\w+) `(damon[.]\w+)`.*? \| (?:`(\w+)`|none)", DOCUMENT.read_text())
    pushed = {(translated(one), type(one.data).__name__, one.name, one.unit) for one in adapted()}

    assert len(rows) == 4
    assert set(rows) <= pushed


def test_the_configuration_in_the_document_is_good() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)

    assert check(yaml.safe_load(block)).otlp is not None


def test_it_can_be_encoded_with_every_value_of_64_bits() -> None:
    node = replace(NODE, schemes=(replace(NODE.schemes[0], goals=(("user_input", 2**64 - 1),)),))
    data = Adapter(Resource({}), STARTED).metrics(families(replace(STATE, monitors=(node,))), NOW)

    encoded = encode_metrics(data).resource_metrics[0].scope_metrics[0].metrics

    (target,) = (one for one in encoded if one.name == "damon.scheme_goal_target_value")
    assert target.gauge.data_points[0].as_double == 2.0**64


def with_target(target: TargetState) -> NodeState:
    return replace(STATE, monitors=(replace(NODE, targets=(target,)),))


def since(data: MetricsData, name: str, **labels: str) -> list[int]:
    """Since when the series of a name count, in seconds after the start."""
    return [
        (point.start_time_unix_nano - BEGUN) // SECOND
        for series, point in points(metrics_of(data))
        if series.name == name and labels.items() <= set(series.labels)
    ]


def test_a_counter_counts_since_the_start_and_anew_when_it_has_fallen() -> None:
    adapter = Adapter(Resource({}), STARTED)
    counts = [600, 700, 5, 6]

    found = []
    for n, count in enumerate(counts, start=1):
        data = adapter.metrics(families(with_target(replace(PHYSICAL, snapshots=count))), BEGUN + n * 10 * SECOND)
        found += since(data, "damon_snapshots_total")

    assert found == [0, 0, 20, 20]


def test_a_counter_that_comes_later_counts_since_it_was_not_there() -> None:
    adapter = Adapter(Resource({}), STARTED)
    adapter.metrics(families(with_target(PHYSICAL)), BEGUN + 10 * SECOND)
    both = replace(NODE, targets=(PHYSICAL, replace(PHYSICAL, name="new")))

    data = adapter.metrics(families(replace(STATE, monitors=(both,))), BEGUN + 20 * SECOND)

    assert since(data, "damon_snapshots_total", target="new") == [10]
    assert since(data, "damon_snapshots_total", target="physical") == [0]
    assert set(since(data, "damon_reaccess_idle_age_seconds_bucket", target="new")) == {10}


def test_a_counter_that_goes_and_comes_again_counts_since_it_was_not_there() -> None:
    adapter = Adapter(Resource({}), STARTED)
    adapter.metrics(families(STATE), BEGUN + 10 * SECOND)
    adapter.metrics([], BEGUN + 20 * SECOND)

    data = adapter.metrics(families(STATE), BEGUN + 30 * SECOND)

    assert set(since(data, "damon_snapshots_total")) == {20}


def test_every_point_is_counted() -> None:
    data = Adapter(Resource({}), STARTED).metrics(families(STATE), NOW)

    assert number_of_points(data) == sum(len(family.samples) for family in families(STATE))


def test_the_resource_is_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("K8S_NODE_NAME", raising=False)
    monkeypatch.setattr("socket.gethostname", lambda: "host-1")

    attributes = resource().attributes

    assert attributes["service.name"] == "damon-exporter"
    assert attributes["service.version"] == __version__
    assert attributes["service.instance.id"] == attributes["host.name"] == "host-1"
    assert "k8s.node.name" not in attributes


def test_in_a_pod_the_node_is_told_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8S_NODE_NAME", "node-1")

    attributes = resource().attributes

    assert attributes["k8s.node.name"] == attributes["host.name"] == attributes["service.instance.id"] == "node-1"


def test_what_the_environment_says_of_the_resource_goes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "memory")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=a,deployment.environment.name=test")

    attributes = resource().attributes

    assert attributes["service.name"] == "memory"
    assert attributes["service.instance.id"] == "a"
    assert attributes["deployment.environment.name"] == "test"


def test_a_label_that_is_empty_stays_one_series() -> None:
    owner = Owner(cgroup="/a")
    state = with_target(replace(PHYSICAL, owner=owner))

    ((_, point),) = [found for found in points(adapted(state)) if found[0].name == "damon_target_info"]

    assert point.attributes == {
        "monitor": "node",
        "target": "physical",
        "cgroup": "/a",
        "namespace": "",
        "pod": "",
        "container": "",
    }
