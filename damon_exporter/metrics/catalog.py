"""The one table of metrics: names, kinds, labels and meaning, as users and dashboards may rely on them."""

from dataclasses import dataclass
from enum import StrEnum

_UNITS = ("byte_seconds", "bytes", "seconds")


class Kind(StrEnum):
    """The types of the exposition formats; the classic text format has no info and no gauge histogram."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE_HISTOGRAM = "gauge histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    ``name`` is the name that queries use, with ``_total`` and ``_info``; histograms add their suffixes to it.
    ``labels`` is the whole, fixed label tuple. ``help`` says what a value means and when there is none.
    ``source`` names where the number is read or made.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    source: str

    @property
    def unit(self) -> str:
        """The base unit, which is the last part of the name, or empty for what is merely counted."""
        stem = self.name.removesuffix("_total")
        return next((unit for unit in _UNITS if stem.endswith(f"_{unit}")), "")


@dataclass(frozen=True, slots=True)
class Section:
    """Metrics that are about the same thing, under the heading that the reference gives them."""

    title: str
    metrics: tuple[Metric, ...]


_TARGET = ("monitor", "target")
_MONITOR = ("monitor",)
_SNAPSHOT = "snapshots"
_TRACE = "the exporter's own tracefs instance"
_SELF = "the exporter itself"
_PROC_SELF = "/proc/self"
_OWNER = ("cgroup", "namespace", "pod", "container")
_SCHEME = ("monitor", "scheme", "action")
_STATS = "sysfs schemes/N/stats, damos_stat_after_apply_interval, or module parameters"
_PAGES = "snapshots, /proc/kpageflags and /proc/kpagecgroup"

ACCESS_PATTERN = Section(
    "Access pattern",
    (
        Metric(
            "damon_monitored_bytes",
            Kind.GAUGE,
            _TARGET,
            "Size of all regions of the last snapshot.",
            _SNAPSHOT,
        ),
        Metric("damon_regions", Kind.GAUGE, _TARGET, "Number of regions in the last snapshot.", _SNAPSHOT),
        Metric(
            "damon_working_set_bytes",
            Kind.GAUGE,
            _TARGET,
            "Bytes of the regions in which at least one sample of the last aggregation interval found an "
            "access. Grows with that interval: compare only equal intervals; for a working set over a stated "
            "horizon use damon_idle_age_seconds. This is not container_memory_working_set_bytes.",
            _SNAPSHOT,
        ),
        Metric(
            "damon_working_set_percentile_bytes",
            Kind.GAUGE,
            (*_TARGET, "percentile"),
            "Percentiles, over the snapshots of the configured window (5 minutes unless changed), of "
            "damon_working_set_bytes: percentiles over time, not over bytes. 100 is the peak.",
            _SNAPSHOT,
        ),
        Metric(
            "damon_working_set_distribution_bytes",
            Kind.HISTOGRAM,
            _TARGET,
            "Distribution of damon_working_set_bytes, one observation per snapshot, with the same bounds on "
            "every host, for quantiles over many hosts.",
            _SNAPSHOT,
        ),
        Metric(
            "damon_access_band_bytes",
            Kind.GAUGE,
            (*_TARGET, "band"),
            "Bytes of the last snapshot per band of access ratio, which is nr_accesses / the most that one "
            "aggregation interval can count. The bands sum to damon_monitored_bytes. Absent while nothing "
            "tells the intervals.",
            _SNAPSHOT,
        ),
        Metric(
            "damon_access_band_byte_seconds_total",
            Kind.COUNTER,
            (*_TARGET, "band"),
            "Integral of damon_access_band_bytes over observed time (damon_observed_seconds_total).",
            _SNAPSHOT,
        ),
        Metric(
            "damon_observed_seconds_total",
            Kind.COUNTER,
            _TARGET,
            "Time that snapshots cover. A gap of more than two aggregation intervals between snapshots is "
            "not observed and adds nothing.",
            _SNAPSHOT,
        ),
        Metric(
            "damon_idle_age_seconds",
            Kind.GAUGE_HISTOGRAM,
            _TARGET,
            "Bytes of the last snapshot by the time since an access was last seen; one observation is one "
            "byte. Regions accessed in the last aggregation interval count as 0, others as (age + 1) x "
            "aggregation interval, so buckets below one aggregation interval cannot be told apart. A gauge: "
            "query it without rate(). Absent while nothing tells the intervals.",
            _SNAPSHOT,
        ),
        Metric(
            "damon_reaccess_idle_age_seconds",
            Kind.HISTOGRAM,
            _TARGET,
            "Bytes that were seen accessed again, by the idle age they had in the snapshot before; one observation is "
            "one byte. What reclaiming at an idle age would bring back: the rate of all bytes less that of the bucket. "
            "Where no more than a tenth of the samples found an access, only regions that had been idle as a whole "
            "count, as DAMON merges such regions with idle ones. A region counts whole, so this is an upper bound. "
            "Only consecutive snapshots are compared: absent as long as there were none.",
            _SNAPSHOT,
        ),
        Metric(
            "damon_estimated_access_bytes_total",
            Kind.COUNTER,
            _TARGET,
            "Sum of region size x nr_accesses over all snapshots. Its rate is the bandwidth estimate that "
            "DAMON_STAT makes: every sample that found an access counts as one touch of the whole region.",
            _SNAPSHOT,
        ),
        Metric(
            "damon_heatmap_access_seconds_total",
            Kind.COUNTER,
            (*_TARGET, "bin"),
            "Integral of the bin's byte-weighted mean access ratio over observed time. Bins are numbered "
            "from 0 over the monitored address space with gaps left out, and are all of one size. Heat, from "
            "0 to 1, is the rate of this / the rate of damon_observed_seconds_total.",
            _SNAPSHOT,
        ),
        Metric(
            "damon_heatmap_bin_bytes",
            Kind.GAUGE,
            _TARGET,
            "Bytes that one bin of the heatmap covers. Addresses are not exported.",
            _SNAPSHOT,
        ),
        Metric("damon_snapshots_total", Kind.COUNTER, _TARGET, "Snapshots taken in.", _SNAPSHOT),
        Metric(
            "damon_last_snapshot_timestamp_seconds",
            Kind.GAUGE,
            _TARGET,
            "When the last snapshot ended, in seconds since the epoch.",
            _SNAPSHOT,
        ),
        Metric(
            "damon_target_resident_bytes",
            Kind.GAUGE,
            _TARGET,
            "Pages of the target's processes that are in memory, also of those that have just joined and whose regions "
            "come with the next update. damon_monitored_bytes is the span of the regions and counts unmapped holes and "
            "what is not resident too. Processes that share pages count them each. "
            "Absent for physical memory and for other people's targets.",
            "/proc/PID/statm",
        ),
    ),
)

MONITOR = Section(
    "Monitor",
    (
        Metric(
            "damon_monitor_info",
            Kind.INFO,
            (*_MONITOR, "operations", "source", "owner"),
            "A kdamond that is watched: its operations set (paddr, vaddr, fvaddr), where its snapshots come "
            "from (tracepoint, sysfs, recording) and whose it is (exporter, module, foreign, recording).",
            "sysfs kdamonds/N, module parameters, or the recording",
        ),
        Metric(
            "damon_monitor_up",
            Kind.GAUGE,
            _MONITOR,
            "1 if the kdamond runs and no report of it is overdue, 0 otherwise; the landing page says why.",
            "sysfs kdamonds/N/state or module parameters, and snapshots",
        ),
        Metric(
            "damon_sample_interval_seconds",
            Kind.GAUGE,
            _MONITOR,
            "Sampling interval in force. Absent while nothing tells it.",
            "sysfs, module parameters, or damon_monitor_intervals_tune",
        ),
        Metric(
            "damon_aggregation_interval_seconds",
            Kind.GAUGE,
            _MONITOR,
            "Aggregation interval in force: the time that one snapshot covers. Absent while nothing tells it.",
            "sysfs, module parameters, or damon_monitor_intervals_tune",
        ),
        Metric(
            "damon_kdamond_cpu_seconds_total",
            Kind.COUNTER,
            _MONITOR,
            "CPU time of the kdamond's kernel thread: what watching costs. Absent while its pid is unknown.",
            "/proc/PID/stat of the kdamond",
        ),
        Metric(
            "damon_monitor_restarts_total",
            Kind.COUNTER,
            _MONITOR,
            "How often the kdamond was started again after its first start.",
            _SELF,
        ),
        Metric(
            "damon_targets",
            Kind.GAUGE,
            _MONITOR,
            "DAMON targets: the processes that the kdamond watches, of which several may share one target label; "
            "1 for physical memory.",
            _SELF,
        ),
        Metric(
            "damon_targets_dropped",
            Kind.GAUGE,
            _MONITOR,
            "Processes that match but are left out by processes.limit or processes.min_rss. Absent for monitors "
            "that do not match processes, and while nobody looks for them as DAMON is not free, or an error is "
            "waited out.",
            _SELF,
        ),
        Metric(
            "damon_target_info",
            Kind.INFO,
            (*_TARGET, *_OWNER),
            "Whose memory a target is, as far as all of its processes agree: what is unknown or differs is empty. "
            "Join it on (instance, monitor, target) with group_left. Absent for physical memory and for other people's "
            "targets.",
            "/proc/PID/cgroup, the kubelet, names in /var/log/containers",
        ),
        Metric(
            "damon_control_blocked",
            Kind.GAUGE,
            ("reason",),
            "1 for every reason for which no kdamond of the exporter's own can be started now.",
            "sysfs, module parameters",
        ),
    ),
)

SCHEMES = Section(
    "Schemes",
    (
        Metric(
            "damon_scheme_tried_regions_total",
            Kind.COUNTER,
            _SCHEME,
            "Regions that the scheme's access pattern and core filters let through, summed over every time that it was "
            "applied: the same region counts each time.",
            _STATS,
        ),
        Metric(
            "damon_scheme_tried_bytes_total",
            Kind.COUNTER,
            _SCHEME,
            "Bytes of those regions; its increase over an interval / that of damon_scheme_snapshots_total is, for one "
            "target, the mean of what fits the pattern.",
            _STATS,
        ),
        Metric(
            "damon_scheme_applied_regions_total",
            Kind.COUNTER,
            _SCHEME,
            "Regions that the action was applied to. Always 0 for stat.",
            _STATS,
        ),
        Metric(
            "damon_scheme_applied_bytes_total",
            Kind.COUNTER,
            _SCHEME,
            "Bytes that the action was applied to. For physical memory these are the pages really acted on. For "
            "processes it is the length of every range for which madvise() succeeded, whatever of it was resident, "
            "and it counts again each time: compare with damon_target_resident_bytes. Always 0 for stat.",
            _STATS,
        ),
        Metric(
            "damon_scheme_filter_passed_bytes_total",
            Kind.COUNTER,
            _SCHEME,
            "Bytes of the pages that passed the scheme's ops_filters; a whole folio counts even if only a part of it "
            "lies in the region. 0 without ops_filters, and for actions that use madvise(). Absent before 6.14.",
            _STATS,
        ),
        Metric(
            "damon_scheme_quota_exceeded_total",
            Kind.COUNTER,
            _SCHEME,
            "Reset intervals whose quota was used up; counted when the next one begins.",
            _STATS,
        ),
        Metric(
            "damon_scheme_snapshots_total",
            Kind.COUNTER,
            _SCHEME,
            "How often all regions of a target were tried, once for each target of the kdamond. Absent before 7.0.",
            _STATS,
        ),
        Metric(
            "damon_scheme_effective_quota_bytes",
            Kind.GAUGE,
            _SCHEME,
            "Bytes that may be tried in a reset interval: the least of size, what time allows by experience, and what "
            "the goals are tuned to. Absent without a quota, before 6.9, and while nothing tells it.",
            "sysfs schemes/N/quotas/effective_bytes, damos_esz",
        ),
        Metric(
            "damon_scheme_active",
            Kind.GAUGE,
            _SCHEME,
            "1 if the scheme's watermarks let it act, 0 if they hold it back, worked out from MemFree and MemTotal by "
            "the kernel's own rule: the kernel shows no such thing, and may be one watermark interval behind. Absent "
            "while free memory lies between mid and high and nothing tells whether the scheme was active before.",
            "sysfs schemes/N/watermarks or module parameters, /proc/meminfo",
        ),
        Metric(
            "damon_scheme_goal_target_value",
            Kind.GAUGE,
            (*_SCHEME, "goal", "metric"),
            "The value that a goal's metric is tuned towards, as the kernel counts it: microseconds of stall per reset "
            "interval (some_mem_psi_us), 1/10000 (metrics in _bp), or whatever the user feeds (user_input). goal is "
            "its number, from 0.",
            "sysfs schemes/N/quotas/goals",
        ),
    ),
)

ATTRIBUTION = Section(
    "Attribution",
    (
        Metric(
            "damon_page_kind_band_bytes",
            Kind.GAUGE,
            (*_MONITOR, "kind", "band"),
            "Bytes of physical memory by kind of page and band of access ratio, estimated from the pages that the "
            "last pass drew. A page is of the first that fits of hole, free, hugetlb, slab, anon, shmem, file, other. "
            "Free memory looks idle to DAMON; here it is told apart. The kinds sum to the damon_monitored_bytes of the "
            "snapshot that the pass looked at. avg_over_time() smooths the differences between passes.",
            _PAGES,
        ),
        Metric(
            "damon_cgroup_access_band_bytes",
            Kind.GAUGE,
            (*_MONITOR, *_OWNER, "band"),
            "Bytes of physical memory charged to the cgroup, and to those below it that no glob matches by themselves, "
            "per band of access ratio, estimated from the pages that the last pass drew. cgroup is empty where pod and "
            "container are known, so that a container's restart makes no new series. avg_over_time() smooths the "
            "differences between passes.",
            _PAGES,
        ),
        Metric(
            "damon_cgroup_idle_age_seconds",
            Kind.GAUGE_HISTOGRAM,
            (*_MONITOR, *_OWNER),
            "Bytes of damon_cgroup_access_band_bytes by the time since an access was last seen, from the same pages; "
            "one observation is one byte. A gauge: query it without rate(). Absent while nothing tells the intervals.",
            _PAGES,
        ),
        Metric(
            "damon_cgroup_standard_error_bytes",
            Kind.GAUGE,
            (*_MONITOR, *_OWNER),
            "Standard error of the cgroup's bytes of the last pass, summed over the bands, from the differences "
            "between clusters of drawn pages; at least the bytes that one cluster stands for, which is memory / 4096 "
            "unless configured otherwise. About 19 of 20 passes lie within twice as much of the truth, fewer for a "
            "cgroup that is hardly larger than that. The mean of n passes has 1 / sqrt(n) of it.",
            _PAGES,
        ),
        Metric(
            "damon_attribution_unknown_bytes",
            Kind.GAUGE,
            _MONITOR,
            "Bytes of the last pass charged to cgroups that have gone, that no glob of attribution.cgroups matches, or "
            "that attribution.limit leaves out.",
            _PAGES,
        ),
        Metric(
            "damon_numa_access_band_bytes",
            Kind.GAUGE,
            (*_MONITOR, "numa_node", "band"),
            "Bytes of the last snapshot per NUMA node and band of access ratio, by address: not sampled, so that it is "
            "there without attribution, too. numa_node is empty for memory whose node nothing tells. Absent while "
            "nothing tells the intervals.",
            "snapshots and sysfs devices/system/node",
        ),
        Metric("damon_attribution_samples_total", Kind.COUNTER, _MONITOR, "Pages that passes have drawn.", _SELF),
        Metric("damon_attribution_seconds_total", Kind.COUNTER, _MONITOR, "Time that passes have taken.", _SELF),
    ),
)

PODS = Section(
    "Pods",
    (
        Metric(
            "damon_pod_label_info",
            Kind.INFO,
            ("namespace", "pod", "label", "value"),
            "A label of a pod, of those that kubernetes.pod_labels names. Choose one label and join it on (instance, "
            "namespace, pod) with group_left(value). The metric's own labels are fixed, where kube-state-metrics makes "
            "one of each label's name.",
            "the kubelet",
        ),
        Metric(
            "damon_containers_unnamed",
            Kind.GAUGE,
            (),
            "Containers that were met and whose pod nothing names.",
            "the kubelet, names in /var/log/containers",
        ),
    ),
)

EXPORTER = Section(
    "Exporter",
    (
        Metric(
            "damon_exporter_build_info",
            Kind.INFO,
            ("version", "python", "kernel"),
            "Versions of the exporter, of Python and of the kernel that is watched.",
            _SELF,
        ),
        Metric(
            "damon_exporter_kernel_feature",
            Kind.GAUGE,
            ("feature",),
            "1 if this kernel, with the exporter's permissions, has the feature.",
            "files probed every few seconds",
        ),
        Metric(
            "damon_exporter_errors_total",
            Kind.COUNTER,
            ("operation",),
            "Operations on the kernel that failed; the log says why.",
            _SELF,
        ),
        Metric(
            "damon_exporter_source_up",
            Kind.GAUGE,
            ("source",),
            "1 if the source of snapshots works, 0 if it was tried and does not.",
            _SELF,
        ),
        Metric("damon_exporter_trace_events_total", Kind.COUNTER, (), "Trace events read and decoded.", _TRACE),
        Metric(
            "damon_exporter_trace_events_lost_total",
            Kind.COUNTER,
            (),
            "Trace events that the kernel overwrote before they were read.",
            _TRACE,
        ),
        Metric(
            "damon_exporter_trace_buffer_bytes",
            Kind.GAUGE,
            (),
            "Kernel memory that the trace buffers of all CPUs take.",
            _TRACE,
        ),
        Metric(
            "damon_exporter_snapshots_incomplete_total",
            Kind.COUNTER,
            (),
            "Snapshots dropped because some of their regions were missing or impossible.",
            _SNAPSHOT,
        ),
        Metric(
            "damon_exporter_series_dropped",
            Kind.GAUGE,
            ("metric",),
            "Samples of the metric that are left out so that a scrape holds no more than export.max_series, not "
            "counting process_*: heatmaps first, then damon_target_info, damon_pod_label_info, cgroups, kinds of page, "
            "NUMA nodes, whole targets; of each the smallest first, pods by name. Absent for metrics that are whole.",
            _SELF,
        ),
        Metric(
            "damon_exporter_publish_duration_seconds",
            Kind.GAUGE,
            (),
            "Time that making the published state took, the last time.",
            _SELF,
        ),
        Metric(
            "damon_exporter_config_last_reload_successful",
            Kind.GAUGE,
            (),
            "1 if the configuration was good when it was last read; it is read at start.",
            _SELF,
        ),
        Metric(
            "damon_exporter_config_last_reload_success_timestamp_seconds",
            Kind.GAUGE,
            (),
            "When a good configuration was last read, in seconds since the epoch.",
            _SELF,
        ),
        Metric(
            "damon_exporter_otlp_last_success_timestamp_seconds",
            Kind.GAUGE,
            (),
            "When a receiver of OTLP last took a whole push, in seconds since the epoch; 0 before the first. Absent "
            "unless otlp is configured.",
            _SELF,
        ),
        Metric(
            "damon_exporter_otlp_dropped_points_total",
            Kind.COUNTER,
            (),
            "Data points of pushes that were given up, or not made as the receiver asks to be left alone, and those "
            "that it rejected. The next push has the newest value of each. Absent unless otlp is configured.",
            _SELF,
        ),
    ),
)

PROCESS = Section(
    "Process",
    (
        Metric(
            "process_virtual_memory_bytes",
            Kind.GAUGE,
            (),
            "Virtual memory size in bytes.",
            _PROC_SELF,
        ),
        Metric(
            "process_resident_memory_bytes",
            Kind.GAUGE,
            (),
            "Resident memory size in bytes.",
            _PROC_SELF,
        ),
        Metric(
            "process_start_time_seconds",
            Kind.GAUGE,
            (),
            "Start time of the process since unix epoch in seconds.",
            _PROC_SELF,
        ),
        Metric(
            "process_cpu_seconds_total",
            Kind.COUNTER,
            (),
            "Total user and system CPU time spent in seconds.",
            _PROC_SELF,
        ),
        Metric("process_open_fds", Kind.GAUGE, (), "Number of open file descriptors.", _PROC_SELF),
        Metric("process_max_fds", Kind.GAUGE, (), "Maximum number of open file descriptors.", _PROC_SELF),
    ),
)

SECTIONS = (ACCESS_PATTERN, MONITOR, SCHEMES, ATTRIBUTION, PODS, EXPORTER, PROCESS)

METRICS: tuple[Metric, ...] = tuple(metric for section in SECTIONS for metric in section.metrics)
"""Everything that `/metrics` can show, in the order in which it does."""
