"""From the published state to points: every number of it under a name and labels of the catalogue, in no format."""

import platform
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from damon_exporter import __version__
from damon_exporter.state import (
    CONTROL_BLOCKED_REASONS,
    Attribution,
    CgroupState,
    Heatmap,
    Histogram,
    MonitorState,
    NodeState,
    Owner,
    SchemeState,
    TargetState,
)


class Point(NamedTuple):
    """One series of one metric, its label values in the catalogue's order."""

    name: str
    labels: tuple[str, ...]
    value: float | Histogram

    @property
    def samples(self) -> int:
        """How many lines it takes: a histogram has one for each bucket, their count and their sum."""
        return len(self.value.counts) + 2 if isinstance(self.value, Histogram) else 1


def points(state: NodeState) -> Iterator[Point]:
    """Everything that the state has a value for."""
    yield from _exporter(state)
    for pod, labels in state.pod_labels.items():
        yield from pod_label_points(pod, labels)
    for monitor in state.monitors:
        yield from _monitor(monitor)
        yield from node_points(monitor)
        for target in monitor.targets:
            yield from target_points(monitor.name, target)
        if monitor.attribution is not None:
            yield from kind_points(monitor.name, monitor.attribution)
            yield from _attribution(monitor.name, monitor.attribution)
            for cgroup in monitor.attribution.cgroups:
                yield from cgroup_points(monitor.name, monitor.attribution.bands, cgroup)


def target_points(monitor: str, target: TargetState) -> Iterator[Point]:
    """Everything about one target."""
    labels = (monitor, target.name)
    yield Point("damon_monitored_bytes", labels, target.monitored_bytes)
    yield Point("damon_regions", labels, target.regions)
    yield Point("damon_working_set_bytes", labels, target.working_set_bytes)
    for percentile, size in target.working_set_percentiles.items():
        yield Point("damon_working_set_percentile_bytes", (*labels, percentile), size)
    yield Point("damon_working_set_distribution_bytes", labels, target.working_set_distribution)
    for band in target.bands or ():
        yield Point("damon_access_band_bytes", (*labels, band.name), band.bytes)
        yield Point("damon_access_band_byte_seconds_total", (*labels, band.name), band.byte_seconds)
    yield Point("damon_observed_seconds_total", labels, target.observed_seconds)
    if target.idle_age is not None:
        yield Point("damon_idle_age_seconds", labels, target.idle_age)
    if target.reaccess_idle_age is not None:
        yield Point("damon_reaccess_idle_age_seconds", labels, target.reaccess_idle_age)
    yield Point("damon_estimated_access_bytes_total", labels, target.estimated_access_bytes)
    if target.heatmap is not None:
        yield from heatmap_points(labels, target.heatmap)
    yield Point("damon_snapshots_total", labels, target.snapshots)
    yield Point("damon_last_snapshot_timestamp_seconds", labels, target.last_snapshot_timestamp)
    if target.resident_bytes is not None:
        yield Point("damon_target_resident_bytes", labels, target.resident_bytes)
    if target.owner is not None:
        yield target_info(labels, target.owner)


def heatmap_points(target: tuple[str, str], heatmap: Heatmap) -> Iterator[Point]:
    """The heatmap of one target, which stands under its monitor's and its own name."""
    for number, seconds in enumerate(heatmap.access_seconds):
        yield Point("damon_heatmap_access_seconds_total", (*target, str(number)), seconds)
    yield Point("damon_heatmap_bin_bytes", target, heatmap.bin_bytes)


def target_info(target: tuple[str, str], owner: Owner) -> Point:
    """Whose memory one target is."""
    return Point("damon_target_info", (*target, *_labels(owner)), 1)


def cgroup_points(monitor: str, bands: tuple[str, ...], cgroup: CgroupState) -> Iterator[Point]:
    """Everything about one cgroup, or one container's cgroups."""
    labels = (monitor, *_labels(cgroup.owner))
    for band, size in zip(bands, cgroup.band_bytes, strict=True):
        yield Point("damon_cgroup_access_band_bytes", (*labels, band), size)
    if cgroup.idle_age is not None:
        yield Point("damon_cgroup_idle_age_seconds", labels, cgroup.idle_age)
    yield Point("damon_cgroup_standard_error_bytes", labels, cgroup.standard_error_bytes)


def kind_points(monitor: str, attribution: Attribution) -> Iterator[Point]:
    """What a monitor's memory is made of."""
    for kind, sizes in attribution.kinds.items():
        for band, size in zip(attribution.bands, sizes, strict=True):
            yield Point("damon_page_kind_band_bytes", (monitor, kind, band), size)


def node_points(monitor: MonitorState) -> Iterator[Point]:
    """Where a monitor's memory lies."""
    for node, sizes in monitor.node_band_bytes.items():
        for band, size in sizes.items():
            yield Point("damon_numa_access_band_bytes", (monitor.name, node, band), size)


def pod_label_points(pod: tuple[str, str], labels: Mapping[str, str]) -> Iterator[Point]:
    """The labels of one pod, which is given by its namespace and its name."""
    for label, value in labels.items():
        yield Point("damon_pod_label_info", (*pod, label, value), 1)


def _labels(owner: Owner) -> tuple[str, str, str, str]:
    return owner.cgroup, owner.namespace, owner.pod, owner.container


def _monitor(monitor: MonitorState) -> Iterator[Point]:
    labels = (monitor.name,)
    yield Point("damon_monitor_info", (*labels, monitor.operations, monitor.source, monitor.owner), 1)
    yield Point("damon_monitor_up", labels, monitor.up)
    if monitor.intervals is not None:
        yield Point("damon_sample_interval_seconds", labels, monitor.intervals.sample_us / 1e6)
        yield Point("damon_aggregation_interval_seconds", labels, monitor.intervals.aggregation_us / 1e6)
    if monitor.cpu_seconds is not None:
        yield Point("damon_kdamond_cpu_seconds_total", labels, monitor.cpu_seconds)
    yield Point("damon_monitor_restarts_total", labels, monitor.restarts)
    yield Point("damon_targets", labels, monitor.nr_targets)
    if monitor.targets_dropped is not None:
        yield Point("damon_targets_dropped", labels, monitor.targets_dropped)
    for scheme in monitor.schemes:
        yield from scheme_points(monitor.name, scheme)


SCHEME_COUNTERS = {
    "nr_tried": "damon_scheme_tried_regions_total",
    "sz_tried": "damon_scheme_tried_bytes_total",
    "nr_applied": "damon_scheme_applied_regions_total",
    "sz_applied": "damon_scheme_applied_bytes_total",
    "sz_ops_filter_passed": "damon_scheme_filter_passed_bytes_total",
    "qt_exceeds": "damon_scheme_quota_exceeded_total",
    "nr_snapshots": "damon_scheme_snapshots_total",
}
"""By the kernel's names."""


def scheme_points(monitor: str, scheme: SchemeState) -> Iterator[Point]:
    """Everything about one scheme."""
    labels = (monitor, scheme.name, scheme.action)
    for counter, total in (scheme.counters or {}).items():
        yield Point(SCHEME_COUNTERS[counter], labels, total)
    if scheme.effective_quota_bytes is not None:
        yield Point("damon_scheme_effective_quota_bytes", labels, scheme.effective_quota_bytes)
    if scheme.active is not None:
        yield Point("damon_scheme_active", labels, scheme.active)
    for number, (metric, value) in enumerate(scheme.goals):
        yield Point("damon_scheme_goal_target_value", (*labels, str(number), metric), value)


def _attribution(monitor: str, attribution: Attribution) -> Iterator[Point]:
    if attribution.unknown_bytes is not None:
        yield Point("damon_attribution_unknown_bytes", (monitor,), attribution.unknown_bytes)
    yield Point("damon_attribution_samples_total", (monitor,), attribution.samples_total)
    yield Point("damon_attribution_seconds_total", (monitor,), attribution.seconds_total)


def _exporter(state: NodeState) -> Iterator[Point]:
    for reason in CONTROL_BLOCKED_REASONS:
        yield Point("damon_control_blocked", (reason,), state.control_blocked.get(reason, False))
    yield Point("damon_containers_unnamed", (), state.unnamed_containers)
    yield Point("damon_exporter_build_info", (__version__, platform.python_version(), state.kernel_release), 1)
    for feature, there in state.features.items():
        yield Point("damon_exporter_kernel_feature", (feature,), there)
    for operation, count in state.errors.items():
        yield Point("damon_exporter_errors_total", (operation,), count)
    for source, up in state.sources_up.items():
        yield Point("damon_exporter_source_up", (source,), up)
    yield Point("damon_exporter_trace_events_total", (), state.trace.events)
    yield Point("damon_exporter_trace_events_lost_total", (), state.trace.lost)
    yield Point("damon_exporter_trace_buffer_bytes", (), state.trace.buffer_bytes)
    yield Point("damon_exporter_snapshots_incomplete_total", (), state.snapshots_incomplete)
    yield Point("damon_exporter_publish_duration_seconds", (), state.publish_duration_seconds)
    yield Point("damon_exporter_config_last_reload_successful", (), not state.config_reload_failed)
    yield Point("damon_exporter_config_last_reload_success_timestamp_seconds", (), state.config_loaded_timestamp)
    if state.pushed is not None:
        yield Point("damon_exporter_otlp_last_success_timestamp_seconds", (), state.pushed.last_success_timestamp)
        yield Point("damon_exporter_otlp_dropped_points_total", (), state.pushed.dropped_points)
