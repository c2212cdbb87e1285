"""What has been published: immutable, swapped as a whole, and all that a scrape looks at."""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
class TargetState:
    """The numbers of one target. What the intervals are needed for is None while nothing tells them."""

    name: str
    monitored_bytes: int
    regions: int
    working_set_bytes: int
    working_set_percentiles: Mapping[str, int]
    working_set_distribution: Histogram
    observed_seconds: float
    estimated_access_bytes: int
    snapshots: int
    last_snapshot_timestamp: float
    bands: tuple[Band, ...] | None
    idle_age: Histogram | None
    heatmap: Heatmap | None


@dataclass(frozen=True, slots=True)
class MonitorState:
    """One kdamond that we run or watch, or one that we were asked to run and cannot (``up`` False, ``reason``)."""

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
    last_snapshot_age_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TraceState:
    """What the trace buffer has delivered."""

    events: int = 0
    lost: int = 0
    buffer_bytes: int = 0


@dataclass(frozen=True, slots=True)
class NodeState:
    """Everything that the exporter knows about this host at one moment.

    ``ready`` is False only while a kdamond that should report does not; ``reasons`` are sentences for people:
    why nothing is watched, why control is blocked, and what cures it.
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
    config_loaded_timestamp: float = 0.0
    kernel_release: str = ""
    recording: str | None = None
