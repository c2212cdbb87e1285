"""Panels that stand on more than one dashboard."""

from dashboards.grafana import queries
from dashboards.grafana.panels import Panel, Query, heatmap, lines, table, text

DEFINITION = """\
**Working set** here is what was *touched within a stated time*: bytes whose idle age is at most one minute, five
minutes, an hour. It compares between hosts and between intervals.

`damon_working_set_bytes` is what was accessed in *one aggregation interval*, as `damo report wss` has it. It grows with
that interval, so compare it only with itself.

Neither is `container_memory_working_set_bytes`, which is usage less inactive page cache, whatever was touched.
"""

WAKES = (
    "For every idle age T: what reclaiming memory that has been idle for longer would free, and how many bytes of it "
    "a second are touched again, each of which would have to come back. Choose the lowest T that brings back no more "
    "than you can bear."
)


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
        color={"scheme": "Turbo", "scale": "exponential", "exponent": 0.5, "min": 0, "max": 1},
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
        color={"scheme": "Blues", "scale": "exponential", "exponent": 0.5},
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
    within = (Query(queries.touched(where, le), f"touched within {name}") for name, le in queries.HORIZONS.items())
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
        by=("le", "monitor", "target"),
        width=12,
        height=10,
    )
