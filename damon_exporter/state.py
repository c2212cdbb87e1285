"""What has been published: immutable, swapped as a whole, and all that a scrape looks at."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, field

from damon_exporter.analysis.snapshot import Intervals

CONTROL_BLOCKED_REASONS = (
    "damon_stat",
    "damon_reclaim",
    "damon_lru_sort",
    "foreign_kdamond",
    "permission",
    "unsupported",
    "stuck",
)
"""Every reason for which no kdamond of our own can be started; the keys of `NodeState.control_blocked`."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts per bucket, not cumulative; the last bucket is +Inf, so ``len(counts) == len(bounds) + 1``."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    sum: float


def histograms(bounds: tuple[float, ...], counts: Sequence[Sequence[float]], sums: Sequence[float]) -> list[Histogram]:
    """Return one histogram for each row of counts, with its sum."""
    return [Histogram(bounds, tuple(row), total) for row, total in zip(counts, sums, strict=True)]


@dataclass(frozen=True, slots=True)
class Band:
    """One band of access ratio: bytes in the last snapshot, and their integral over observed time."""

    name: str
    bytes: int
    byte_seconds: float


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Integrals of each bin's mean access ratio over observed time, in seconds."""

    access_seconds: tuple[float, ...]
    bin_bytes: float


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose memory it is, as far as all that is one target or one series agrees; "" is what is unknown or differs."""

    cgroup: str = ""
    namespace: str = ""
    pod: str = ""
    container: str = ""


NOBODYS = Owner()


def common_owner(owners: Collection[Owner]) -> Owner:
    """Return what they agree in."""
    common = [values.pop() if len(values) == 1 else "" for values in map(set, zip(*map(astuple, owners), strict=True))]
    return Owner(*common)


@dataclass(frozen=True, slots=True)
class TargetState:
    """The numbers of one target. What the intervals are needed for is None while nothing tells them.

    ``counting_since`` (Unix time, s) is when one of its counters last began at 0.
    ``resident_bytes`` and ``owner`` are those of processes, None for physical memory and for other people's targets.
    """

    name: str
    monitored_bytes: int
    regions: int
    working_set_bytes: int
    working_set_percentiles: Mapping[str, int]
    working_set_distribution: Histogram
    observed_seconds: float
    estimated_access_bytes: int
    snapshots: int
    counting_since: float
    last_snapshot_timestamp: float
    bands: tuple[Band, ...] | None
    idle_age: Histogram | None
    reaccess_idle_age: Histogram | None
    heatmap: Heatmap | None
    resident_bytes: int | None = None
    owner: Owner | None = None


@dataclass(frozen=True, slots=True)
class CgroupState:
    """What sampling page owners says of one cgroup, or of the cgroups of one container.

    ``band_bytes`` are in the order of `Attribution.bands`. The standard error is of their sum.
    """

    owner: Owner
    band_bytes: tuple[int, ...]
    idle_age: Histogram | None
    standard_error_bytes: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """The last pass over a monitor of physical memory: whose and what its bytes are.

    ``kinds`` maps the kind of page to bytes by band, in the order of ``bands``; they sum to the monitored bytes. It is
    empty if it is not asked for. So is ``cgroups``, and then ``unknown_bytes``, of all other cgroups, is None. The
    totals are those of all passes.
    """

    bands: tuple[str, ...]
    kinds: Mapping[str, tuple[int, ...]]
    cgroups: tuple[CgroupState, ...]
    unknown_bytes: int | None
    samples_total: int
    seconds_total: float


@dataclass(frozen=True, slots=True)
class SchemeState:
    """One DAMOS scheme. ``counters`` are totals by the kernel's names of them, None while nothing tells them.

    ``effective_quota_bytes`` is None without a quota, ``active`` while that is not known. ``goals`` are pairs of a
    metric and the value that it shall reach, as the kernel counts it.
    """

    name: str
    action: str
    counters: Mapping[str, int] | None
    effective_quota_bytes: int | None = None
    active: bool | None = None
    goals: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class MonitorState:
    """One kdamond that we run or watch, or one that we were asked to run and cannot (``up`` False, ``reason``).

    ``nr_targets`` are DAMON's own targets, of which several may be one of ``targets``; ``targets_dropped`` are the
    processes that match and are left out, None where nothing is matched. ``node_band_bytes`` maps NUMA nodes to bands.
    """

    name: str
    operations: str
    source: str
    owner: str
    up: bool
    reason: str
    restarts: int
    targets: tuple[TargetState, ...]
    intervals: Intervals | None = None
    cpu_seconds: float | None = None
    nr_targets: int = 0
    targets_dropped: int | None = None
    last_snapshot_age_seconds: float | None = None
    attribution: Attribution | None = None
    node_band_bytes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    schemes: tuple[SchemeState, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceState:
    """What the trace buffer has delivered."""

    events: int = 0
    lost: int = 0
    buffer_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Pushed:
    """How pushing by OTLP goes: when a receiver last took everything (Unix time, s; 0 if never), and what was lost."""

    last_success_timestamp: float = 0.0
    dropped_points: int = 0


@dataclass(frozen=True, slots=True)
class NodeState:
    """Everything that the exporter knows about this host at one moment.

    ``ready`` is False only while a kdamond that should report does not; ``reasons`` are sentences for people:
    why nothing is watched, why control is blocked, and what cures it. ``pod_labels`` maps (namespace, pod) to the
    allowed ones of its labels; ``unnamed_containers`` is how many containers were met whose pod nothing names.
    Counters of schemes count since ``started`` (Unix time, s). ``pushed`` is None unless metrics are pushed, and until
    they are collected: who pushes does so after publishing.
    """

    ready: bool
    reasons: tuple[str, ...]
    monitors: tuple[MonitorState, ...] = ()
    control_blocked: Mapping[str, bool] = field(default_factory=dict)
    features: Mapping[str, bool] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    sources_up: Mapping[str, bool] = field(default_factory=dict)
    trace: TraceState = TraceState()
    snapshots_incomplete: int = 0
    publish_duration_seconds: float = 0.0
    started: float = 0.0
    config_loaded_timestamp: float = 0.0
    config_reload_failed: bool = False
    kernel_release: str = ""
    recording: str | None = None
    max_series: int = 20_000
    pod_labels: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    unnamed_containers: int = 0
    pushed: Pushed | None = None
