"""From the published state to Prometheus' metric families.

Families are built from nothing for every state: a target that has gone leaves no series behind.
"""

import platform
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

from damon_exporter import __version__
from damon_exporter.metrics.catalog import METRICS, Kind, Metric
from damon_exporter.state import CONTROL_BLOCKED_REASONS, Histogram, MonitorState, NodeState, TargetState


def families(state: NodeState) -> list[Family]:
    """Every metric of the catalogue that the state has a value for, in the catalogue's order."""
    table = _Table()
    _add_exporter(table, state)
    for monitor in state.monitors:
        _add_monitor(table, monitor)
        for target in monitor.targets:
            _add_target(table, monitor.name, target)
    return table.families()


def _add_target(table: "_Table", monitor: str, target: TargetState) -> None:
    def add(name: str, value: float | Histogram, *more_labels: str) -> None:
        table.add(name, value, monitor, target.name, *more_labels)

    add("damon_monitored_bytes", target.monitored_bytes)
    add("damon_regions", target.regions)
    add("damon_working_set_bytes", target.working_set_bytes)
    for percentile, size in target.working_set_percentiles.items():
        add("damon_working_set_percentile_bytes", size, percentile)
    add("damon_working_set_distribution_bytes", target.working_set_distribution)
    for band in target.bands or ():
        add("damon_access_band_bytes", band.bytes, band.name)
        add("damon_access_band_byte_seconds_total", band.byte_seconds, band.name)
    add("damon_observed_seconds_total", target.observed_seconds)
    if target.idle_age is not None:
        add("damon_idle_age_seconds", target.idle_age)
    add("damon_estimated_access_bytes_total", target.estimated_access_bytes)
    if target.heatmap is not None:
        for number, seconds in enumerate(target.heatmap.access_seconds):
            add("damon_heatmap_access_seconds_total", seconds, str(number))
        add("damon_heatmap_bin_bytes", target.heatmap.bin_bytes)
    add("damon_snapshots_total", target.snapshots)
    add("damon_last_snapshot_timestamp_seconds", target.last_snapshot_timestamp)


def _add_monitor(table: "_Table", monitor: MonitorState) -> None:
    def add(name: str, value: float, *more_labels: str) -> None:
        table.add(name, value, monitor.name, *more_labels)

    add("damon_monitor_info", 1, monitor.operations, monitor.source, monitor.owner)
    add("damon_monitor_up", monitor.up)
    if monitor.intervals is not None:
        add("damon_sample_interval_seconds", monitor.intervals.sample_us / 1e6)
        add("damon_aggregation_interval_seconds", monitor.intervals.aggregation_us / 1e6)
    if monitor.cpu_seconds is not None:
        add("damon_kdamond_cpu_seconds_total", monitor.cpu_seconds)
    add("damon_monitor_restarts_total", monitor.restarts)
    add("damon_targets", monitor.nr_targets)


def _add_exporter(table: "_Table", state: NodeState) -> None:
    for reason in CONTROL_BLOCKED_REASONS:
        table.add("damon_control_blocked", state.control_blocked.get(reason, False), reason)
    table.add("damon_exporter_build_info", 1, __version__, platform.python_version(), state.kernel_release)
    for feature, there in state.features.items():
        table.add("damon_exporter_kernel_feature", there, feature)
    for operation, count in state.errors.items():
        table.add("damon_exporter_errors_total", count, operation)
    for source, up in state.sources_up.items():
        table.add("damon_exporter_source_up", up, source)
    table.add("damon_exporter_trace_events_total", state.trace.events)
    table.add("damon_exporter_trace_events_lost_total", state.trace.lost)
    table.add("damon_exporter_trace_buffer_bytes", state.trace.buffer_bytes)
    table.add("damon_exporter_snapshots_incomplete_total", state.snapshots_incomplete)
    table.add("damon_exporter_publish_duration_seconds", state.publish_duration_seconds)
    # A state is published only by an exporter whose configuration was good.
    table.add("damon_exporter_config_last_reload_successful", 1)
    table.add("damon_exporter_config_last_reload_success_timestamp_seconds", state.config_loaded_timestamp)


class _Table:
    """The catalogue's families, being filled."""

    def __init__(self) -> None:
        self._families = {metric.name: (metric, _empty_family(metric)) for metric in METRICS}

    def add(self, name: str, value: float | Histogram, *labels: str) -> None:
        """Add one series, its label values in the catalogue's order; ValueError if one is missing."""
        metric, family = self._families[name]
        texts = [_encodable(text) for _, text in zip(metric.labels, labels, strict=True)]
        match family:
            case InfoMetricFamily():
                family.add_metric(texts, {})
            case HistogramMetricFamily() | GaugeHistogramMetricFamily() if isinstance(value, Histogram):
                family.add_metric(texts, _buckets(value), value.sum)
            case GaugeMetricFamily() | CounterMetricFamily() if not isinstance(value, Histogram):
                family.add_metric(texts, value)
            case _:
                raise TypeError(f"{name} is a {metric.kind}: {value!r} is no value for it")

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


def _encodable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 has no bytes for, written out as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
