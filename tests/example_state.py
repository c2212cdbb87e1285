"""A published state made by hand, in which every metric of the catalogue has a value."""

from dataclasses import replace

from damon_exporter.analysis.snapshot import Intervals
from damon_exporter.state import (
    Attribution,
    Band,
    CgroupState,
    Heatmap,
    Histogram,
    MonitorState,
    NodeState,
    Owner,
    Pushed,
    SchemeState,
    TargetState,
    TraceState,
)

MIB = 2**20
GIB = 2**30
HOSTILE_NAME = 'po"st\\gr\nes <b>&\udcff'
"""What a process may call itself: quotes, backslash, newline, markup, and a byte that is no UTF-8."""

PHYSICAL = TargetState(
    name="physical",
    monitored_bytes=8_589_934_591,  # odd: a float printed short would lose the last digit
    regions=812,
    working_set_bytes=123_456_789,
    working_set_percentiles={"0": 90 * MIB, "50": 100 * MIB, "99": 9_007_199_254_740_991, "100": 2**53 - 1},
    working_set_distribution=Histogram((1.0 * MIB, 4.0 * MIB, 2.0**44), (0, 2, 598, 0), 60_000_000_000),
    observed_seconds=60.000000125,
    estimated_access_bytes=987_654_321_012_345,
    snapshots=600,
    counting_since=1_789_999_940.5,
    last_snapshot_timestamp=1_790_000_000.25,
    bands=(
        Band("idle", 8_466_477_802, 5.0798866812e11),
        Band("cold", 100_000_001, 6_000_000_060.5),
        Band("warm", 0, 0.0),
        Band("hot", 23_456_788, 1_407_407_280.0),
    ),
    idle_age=Histogram((1.0, 60.0, 3600.0), (123_456_789, 1_000_000_000, 7_000_000_001, 466_477_801), 3.5e12),
    heatmap=Heatmap((0.0, 59.5, 1e-07), 2_863_311_530.3333335),
    reaccess_idle_age=Histogram((1.0, 60.0, 3600.0), (8_000_000_000, 500_000_000, 4 * MIB, 1), 2.5e9),
)

POSTGRES = replace(
    PHYSICAL,
    name=HOSTILE_NAME,
    monitored_bytes=192 * MIB,
    working_set_bytes=64 * MIB,
    working_set_percentiles={"50": 64 * MIB},
    bands=(Band("idle", 128 * MIB, 0.5), Band("hot", 64 * MIB, 0.25)),
    idle_age=Histogram((1.0, 60.0, 3600.0), (64 * MIB, 0, 128 * MIB, 0), 1.0e10),
    heatmap=None,
    resident_bytes=96 * MIB,
    owner=Owner(cgroup=r"/system.slice/post\x2dgres.service"),
)

CART = Owner(namespace="shop", pod="cart-7d9c", container="server")

ATTRIBUTION = Attribution(
    bands=("idle", "cold", "warm", "hot"),
    kinds={
        "hole": (4_095, 0, 0, 0),
        "free": (8_000_000_000, 0, 0, 0),
        "anon": (466_473_707, 100_000_001, 0, 20_000_000),
        "file": (0, 0, 0, 3_456_788),
    },
    cgroups=(
        CgroupState(
            CART, (300 * MIB, 64 * MIB, 0, 16 * MIB), Histogram((1.0, 60.0), (80 * MIB, 0, 300 * MIB), 1e12), 2.5e6
        ),
        CgroupState(Owner(cgroup="/system.slice/po\udcffst"), (100 * MIB, 0, 0, 1 * MIB), None, 1.25e6),
    ),
    unknown_bytes=12 * MIB,
    samples_total=983_040,
    seconds_total=4.5,
)

SCHEMES = (
    SchemeState(
        name="proactive-reclaim",
        action="pageout",
        counters={
            "nr_tried": 5_123,
            "sz_tried": 12_884_901_888,
            "nr_applied": 4_100,
            "sz_applied": 10_737_418_240,
            "sz_ops_filter_passed": 10_800_000_000,
            "qt_exceeds": 12,
            "nr_snapshots": 600,
        },
        effective_quota_bytes=134_217_728,
        active=False,
        goals=(("some_mem_psi_us", 10_000), ("user_input", 5)),
    ),
    # as an old kernel tells of it, and nothing yet
    SchemeState(name="cold <1>", action="stat", counters=None),
)

NODE = MonitorState(
    name="node",
    operations="paddr",
    source="tracepoint",
    owner="exporter",
    up=True,
    reason="",
    restarts=1,
    targets=(PHYSICAL,),
    intervals=Intervals(sample_us=5_000, aggregation_us=100_000),
    cpu_seconds=1.25,
    nr_targets=1,
    last_snapshot_age_seconds=0.08,
    attribution=ATTRIBUTION,
    node_band_bytes={
        "0": {"idle": 8_000_000_000, "cold": 100_000_001, "warm": 0, "hot": 3_456_788},
        "1": {"idle": 466_477_802, "cold": 0, "warm": 0, "hot": 20_000_000},
    },
    schemes=SCHEMES,
)

DATABASES = replace(
    NODE,
    schemes=(),
    name="databases",
    operations="vaddr",
    targets=(POSTGRES,),
    restarts=0,
    nr_targets=3,
    targets_dropped=2,
    attribution=None,
    node_band_bytes={},
)

UNKNOWN_INTERVALS = replace(
    NODE,
    schemes=(),
    name="damon_stat",
    owner="module",
    targets=(replace(PHYSICAL, bands=None, idle_age=None, heatmap=None),),
    intervals=None,
    cpu_seconds=None,
    attribution=None,
    node_band_bytes={},
)

DOWN = MonitorState(
    name="bench",
    operations="vaddr",
    source="sysfs",
    owner="exporter",
    up=False,
    reason="no process is called <masim>; start it or change processes.match",
    restarts=0,
    targets=(),
)

STATE = NodeState(
    ready=True,
    reasons=("DAMON_STAT holds DAMON & is observed; set kernel.takeover: [damon_stat] to stop it",),
    monitors=(NODE, DATABASES, UNKNOWN_INTERVALS, DOWN),
    control_blocked={"damon_stat": True},
    features={"tracepoint": True, "refresh_ms": False},
    errors={"commit": 0, "update": 3},
    sources_up={"tracepoint": True, "sysfs": False},
    trace=TraceState(events=123_456_789, lost=17, buffer_bytes=524_288),
    snapshots_incomplete=2,
    publish_duration_seconds=0.0125,
    started=1_789_999_900.0,
    config_loaded_timestamp=1_789_999_940.0,
    kernel_release="7.3.4+deb14-cloud-amd64",
    pod_labels={("shop", "cart-7d9c"): {"app": "cart", "app.kubernetes.io/version": "2.1"}},
    unnamed_containers=1,
    pushed=Pushed(last_success_timestamp=1_790_000_000.5, dropped_points=204),
)

RECORDING = replace(
    STATE,
    monitors=(replace(NODE, source="recording", owner="recording", attribution=None, node_band_bytes={}),),
    pod_labels={},
    unnamed_containers=0,
    recording="zigzag <7.3>.json_compressed",
)
