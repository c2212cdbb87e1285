"""Variables, what they choose, and panels that stand on more than one dashboard."""

from dashboards.grafana import queries
from dashboards.grafana.panels import Json, Panel, Query, heatmap, lines, table, text, variable

CLUSTER = 'cluster=~"$cluster"'
# One value is compared, not matched: an address of IPv6, and what processes call themselves, may look like a regular
# expression.
HOST = f'{CLUSTER}, job="$job", instance="$instance"'
MONITOR = f'{HOST}, monitor="$monitor"'
MONITORS = f'{HOST}, monitor=~"$monitor"'
"""Where several may be chosen."""
TARGET = f'{MONITOR}, target="$target"'

DEFINITION = """\
**Working set** here is what was *touched within a stated time*: bytes whose idle age is at most one minute, five
minutes, an hour. It compares between hosts and between intervals.

`damon_working_set_bytes` is what was accessed in *one aggregation interval*, as `damo report wss` has it. It grows with
that interval, so compare it only with itself.

Neither is `container_memory_working_set_bytes`, which is usage less inactive page cache, whatever was touched.
"""

WAKES = (
    "For every idle age T: what reclaiming memory that has been idle for longer would free, and how many bytes of it "
    "a second are touched again, each of which would have to come back: the mean over the dashboard's time range, as "
    "far as it was observed. Choose the lowest T that brings back no more than you can bear. Of physical memory, what "
    "is free looks idle and counts as freed, too: Kinds of memory, on the dashboard of nodes, says how much that is."
)


def cluster(metric: str) -> Json:
    """Which clusters, of those that a metric tells of; where there is no such label, all of it."""
    return variable("cluster", f"label_values({metric}, cluster)", "Cluster", multi=True)


def host() -> list[Json]:
    """Cluster, job, node."""
    info = "damon_exporter_build_info"
    return [
        cluster(info),
        variable("job", f"label_values({info}{{{CLUSTER}}}, job)", "Job"),
        variable("instance", f'label_values({info}{{{CLUSTER}, job="$job"}}, instance)', "Node"),
    ]


def monitor(*, several: bool = False) -> Json:
    """One monitor of the node, or several."""
    return variable("monitor", f"label_values(damon_monitor_up{{{HOST}}}, monitor)", "Monitor", multi=several)


def target() -> Json:
    """One target of the monitor."""
    return variable("target", f"label_values(damon_monitored_bytes{{{MONITOR}}}, target)", "Target")


def definition() -> Panel:
    """What working set means."""
    return text("What is a working set?", "The word has several meanings; these are ours.", DEFINITION)


def by_address(where: str) -> Panel:
    """Address by time."""
    return heatmap(
        "Heat by address",
        "Share of samples that found an access, by part of the address space: bins of equal size from the lowest "
        "address (0) up, with gaps left out.",
        queries.heat(where),
        cells="percentunit",
        layout="ge",
        value="heat",
        color={"scheme": "Turbo", "min": 0, "max": 1},
    )


def by_idle_age(where: str) -> Panel:
    """Idle age by time."""
    return heatmap(
        "Memory by idle age",
        "Bytes by the time since an access was last seen. What climbs is left alone, what falls was touched.",
        queries.bytes_by_idle_age(where),
        cells="bytes",
        rows="s",
        layout="auto",
        value="bytes",
        color={"scheme": "Blues"},
        width=12,
    )


def bands(where: str) -> Panel:
    """Bands stacked."""
    return lines(
        "Memory by how often it is accessed",
        "Mean bytes of each band of access ratio. The bands sum to what is monitored.",
        "bytes",
        queries.mean_bands(where),
        stacked=True,
    )


def horizons(where: str, *more: Query, title: str = "Working set") -> Panel:
    """What was touched within each horizon."""
    within = (Query(queries.touched(where, name), f"touched within {name}") for name in queries.HORIZONS)
    return lines(
        title, "Bytes that were touched within a stated time, from the histogram of idle ages.", "bytes", *within, *more
    )


def what_if(where: str) -> Panel:
    """What reclaiming at each age would free and bring back."""
    return table(
        "What if memory were reclaimed at idle age T?",
        WAKES,
        {
            "Freed": (Query(queries.freed(where), form="table", instant=True), "bytes"),
            "Coming back": (Query(queries.coming_back(where), form="table", instant=True), "Bps"),
        },
        by=("le", "cluster", "monitor", "target"),
        width=12,
    )
