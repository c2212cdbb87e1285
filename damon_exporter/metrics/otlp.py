"""From Prometheus' metric families to OTLP's metrics, under names that Prometheus translates back to its own.

Series, labels and values are those of a scrape. Histograms go bucket by bucket: OTLP has no gauge histogram, and of its
own histogram Prometheus makes other labels than of a scrape, `le="60"` for `le="60.0"`, which queries join on.
"""

import os
import socket
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

from damon_exporter import __version__

NODE_VARIABLE = "K8S_NODE_NAME"
"""The environment variable that names the node, as in a pod the host's name is the pod's."""

UNITS = {"bytes": "By", "seconds": "s"}
"""UCUM's names of Prometheus' units. Others stay in the name: `By.s` would be put behind it as it is."""

_CUMULATIVE = AggregationTemporality.CUMULATIVE


def resource() -> Resource:
    """Return who we are by semantic conventions; `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` go before."""
    node = os.environ.get(NODE_VARIABLE)
    host = node or socket.gethostname()
    ours = {
        "service.name": "damon-exporter",
        "service.version": __version__,
        "service.instance.id": host,  # one exporter per host; a restart must make no new series
        "host.name": host,
        **({"k8s.node.name": node} if node else {}),
    }
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


@dataclass(frozen=True, slots=True)
class _Begun:
    """A series that counts: since when (Unix time, ns), and how far it has come."""

    since: int
    value: float


class Adapter:
    """Makes OTLP's metrics of families, one time after the other.

    A series that counts is said to count since ``started`` (Unix time, s); one that is new, or has fallen, since the
    time before. Of those that have gone nothing is kept.
    """

    def __init__(self, resource: Resource, started: float) -> None:
        self._resource = resource
        self._before = int(started * 1e9)
        self._begun: dict[Hashable, _Begun] = {}

    def metrics(self, families: Iterable[Family], now: int) -> MetricsData:
        """Return all families as they were at ``now`` (Unix time, ns)."""
        timeline = _Timeline(now, self._before, self._begun)
        metrics = [metric for family in families for metric in _of_family(family, timeline)]
        self._before, self._begun = now, timeline.begun
        scope = ScopeMetrics(InstrumentationScope("damon_exporter", __version__), metrics, schema_url="")
        return MetricsData([ResourceMetrics(self._resource, [scope], schema_url=self._resource.schema_url)])


def number_of_points(data: MetricsData) -> int:
    """Return how many data points there are in all."""
    return sum(
        len(metric.data.data_points)
        for resource_metrics in data.resource_metrics
        for scope_metrics in resource_metrics.scope_metrics
        for metric in scope_metrics.metrics
    )


class _Timeline:
    """When each series of one conversion began; ``begun`` is what the next has to know of it."""

    def __init__(self, now: int, before: int, begun: Mapping[Hashable, _Begun]) -> None:
        self.now = now
        self.begun: dict[Hashable, _Begun] = {}
        self._before = before
        self._begun_before = begun

    def shown(self, samples: Iterable[Sample]) -> list[NumberDataPoint]:
        """Return points of what is now so."""
        return [NumberDataPoint(sample.labels, 0, self.now, float(sample.value)) for sample in samples]

    def counted(self, samples: Iterable[Sample]) -> list[NumberDataPoint]:
        """Return points of what has added up."""
        return [NumberDataPoint(one.labels, self._since(one), self.now, float(one.value)) for one in samples]

    def _since(self, sample: Sample) -> int:
        key = (sample.name, *sample.labels.values())  # a family's labels are always in the same order
        known = self._begun_before.get(key)
        since = known.since if known and known.value <= sample.value else self._before
        self.begun[key] = _Begun(since, sample.value)
        return since


def otlp_name(family: str, unit: str) -> str:
    """Return a name without the unit that is told beside it, and with Prometheus' namespace as OTLP's."""
    stem = family.removesuffix(f"_{unit}") if unit in UNITS else family
    return stem.replace("_", ".", 1)


def _of_family(family: Family, timeline: _Timeline) -> Iterable[Metric]:
    match family.type:
        case "counter":
            yield _metric(family, Sum(timeline.counted(family.samples), _CUMULATIVE, is_monotonic=True))
        case "info":
            yield _part(family, family.samples[0].name, Sum(timeline.shown(family.samples), _CUMULATIVE, False))
        case "histogram":
            for name, samples in _by_name(family):
                yield _part(family, name, Sum(timeline.counted(samples), _CUMULATIVE, is_monotonic=False))
        case "gaugehistogram":
            for name, samples in _by_name(family):
                yield _part(family, name, Gauge(timeline.shown(samples)))
        case _:
            yield _metric(family, Gauge(timeline.shown(family.samples)))


def _metric(family: Family, data: Sum | Gauge) -> Metric:
    """Return a metric with its unit; that of ``process_*`` is in the name alone."""
    unit = family.unit or next((unit for unit in UNITS if family.name.endswith(f"_{unit}")), "")
    return Metric(otlp_name(family.name, unit), family.documentation, UNITS.get(unit, ""), data)


def _part(family: Family, name: str, data: Sum | Gauge) -> Metric:
    """Return samples under the whole name that they have in a scrape, and without a unit, which would go behind it."""
    return Metric(name, family.documentation, "", data)


def _by_name(family: Family) -> Iterable[tuple[str, list[Sample]]]:
    samples: dict[str, list[Sample]] = {}
    for sample in family.samples:
        samples.setdefault(sample.name, []).append(sample)
    return samples.items()
