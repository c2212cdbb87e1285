"""From the published state to Prometheus' metric families.

Families are built from nothing for every state: a target that has gone leaves no series behind.
"""

from collections.abc import Callable
from itertools import accumulate

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.utils import floatToGoString

from damon_exporter.escaping import printable
from damon_exporter.metrics.catalog import METRICS, Kind, Metric
from damon_exporter.metrics.points import Point, points
from damon_exporter.metrics.series_limit import within_limit
from damon_exporter.state import Histogram, NodeState


def families(state: NodeState) -> list[Family]:
    """Every metric of the catalogue that the state has a value for, in the catalogue's order, within its limit."""
    kept, dropped = within_limit(state)
    table = _Table()
    for point in points(kept):
        table.add(point)
    for metric, count in dropped.items():
        table.add(Point("damon_exporter_series_dropped", (metric,), count))
    return table.families()


class _Table:
    """The catalogue's families, being filled."""

    def __init__(self) -> None:
        self._families = {metric.name: (metric, _empty_family(metric)) for metric in METRICS}

    def add(self, point: Point) -> None:
        """Add one series; ValueError if a label value is missing."""
        metric, family = self._families[point.name]
        texts = [printable(text) for _, text in zip(metric.labels, point.labels, strict=True)]
        value = point.value
        match family:
            case InfoMetricFamily():
                family.add_metric(texts, {})
            case HistogramMetricFamily() | GaugeHistogramMetricFamily() if isinstance(value, Histogram):
                family.add_metric(texts, _buckets(value), value.sum)
            case GaugeMetricFamily() | CounterMetricFamily() if not isinstance(value, Histogram):
                family.add_metric(texts, value)
            case _:
                raise TypeError(f"{point.name} is a {metric.kind}: {value!r} is no value for it")

    def families(self) -> list[Family]:
        """The families that have series."""
        return [family for _, family in self._families.values() if family.samples]


_canonical: Callable[[float], str] = floatToGoString

_FAMILIES: dict[Kind, Callable[..., Family]] = {
    Kind.GAUGE: GaugeMetricFamily,
    Kind.COUNTER: CounterMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
    Kind.GAUGE_HISTOGRAM: GaugeHistogramMetricFamily,
}


def _empty_family(metric: Metric) -> Family:
    if metric.kind is Kind.INFO:  # has no unit
        return InfoMetricFamily(metric.name.removesuffix("_info"), metric.help, labels=metric.labels)
    return _FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels, unit=metric.unit)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative counts under the canonical form of each bound, the last of which is +Inf."""
    bounds = [_canonical(bound) for bound in (*histogram.bounds, float("inf"))]
    return list(zip(bounds, accumulate(histogram.counts), strict=True))
