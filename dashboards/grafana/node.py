"""One node: where its memory is hot, how old it is, and what watching costs."""

from dashboards.grafana import queries, shared
from dashboards.grafana.panels import Json, Panel, Query, dashboard, lines, stat
from dashboards.grafana.shared import HOST, MONITOR, TARGET

UP = [{"options": {"0": {"text": "down"}, "1": {"text": "up"}}, "type": "value"}]


def node() -> Json:
    """The dashboard."""
    return dashboard(
        "damon-node",
        "DAMON / Node",
        "How the memory of one node is used, as DAMON sees it.",
        [*shared.host(), shared.monitor(), shared.target()],
        [
            stat(
                "Monitor", "Whether the monitor reports.", "short", Query(f"damon_monitor_up{{{MONITOR}}}"), mappings=UP
            ),
            stat("Monitored", "Size of all regions.", "bytes", Query(f"damon_monitored_bytes{{{TARGET}}}")),
            *(_touched(horizon) for horizon in ("1 min", "5 min", "1 h")),
            stat(
                "Bandwidth",
                "Estimate that DAMON_STAT makes: every sample that found an access is one touch of the whole region.",
                "Bps",
                Query(f"rate(damon_estimated_access_bytes_total{{{TARGET}}}[$__rate_interval])"),
            ),
        ],
        "Where and how often",
        [shared.by_address(TARGET)],
        [shared.bands(TARGET), _percentiles()],
        "How long ago",
        [shared.by_idle_age(TARGET), shared.what_if(TARGET)],
        [shared.horizons(TARGET), _bandwidth()],
        "Whose it is (attribution)",
        [_kinds(), _nodes()],
        "What watching costs, and what is missing",
        [_cost(), _losses(), shared.definition()],
    )


def _touched(horizon: str) -> Panel:
    return stat(
        f"Touched within {horizon}",
        "Working set over that time, from the histogram of idle ages.",
        "bytes",
        Query(queries.touched(TARGET, horizon)),
    )


def _percentiles() -> Panel:
    return lines(
        "Working set per aggregation, and its percentiles",
        "What was accessed in one aggregation interval, as damo has it, and its percentiles over the last five "
        "minutes. Compare only equal intervals.",
        "bytes",
        Query(f"damon_working_set_bytes{{{TARGET}}}", "last"),
        Query(f"damon_working_set_percentile_bytes{{{TARGET}}}", "p{{percentile}}"),
    )


def _bandwidth() -> Panel:
    return lines(
        "Estimated bandwidth",
        "Region size times accesses, a second: a lower bound, as a page is looked at once per sample.",
        "Bps",
        Query(f"rate(damon_estimated_access_bytes_total{{{TARGET}}}[$__rate_interval])", "{{monitor}} {{target}}"),
    )


def _kinds() -> Panel:
    return lines(
        "Kinds of memory",
        "What memory is made of, sampled from page owners. Free memory looks idle to DAMON; here it is told apart.",
        "bytes",
        Query(f"sum by (kind) (damon_page_kind_band_bytes{{{MONITOR}}})", "{{kind}}"),
        stacked=True,
    )


def _nodes() -> Panel:
    return lines(
        "NUMA nodes",
        "Bytes of each band on each NUMA node: what is hot on a slow one, and cold on a fast one.",
        "bytes",
        Query(f"sum by (numa_node, band) (damon_numa_access_band_bytes{{{MONITOR}}})", "{{numa_node}} {{band}}"),
        stacked=True,
    )


def _cost() -> Panel:
    return lines(
        "CPU",
        "What kdamonds and the exporter use, in CPUs.",
        "percentunit",
        Query(f"rate(damon_kdamond_cpu_seconds_total{{{HOST}}}[$__rate_interval])", "kdamond {{monitor}}"),
        Query(f"rate(process_cpu_seconds_total{{{HOST}}}[$__rate_interval])", "exporter"),
        width=8,
    )


def _losses() -> Panel:
    return lines(
        "Lost and left out",
        "Events that were lost, snapshots that could not be read whole, series left out by export.max_series: all "
        "should be 0.",
        "short",
        Query(f"rate(damon_exporter_trace_events_lost_total{{{HOST}}}[$__rate_interval])", "events lost a second"),
        Query(f"rate(damon_exporter_snapshots_incomplete_total{{{HOST}}}[$__rate_interval])", "incomplete a second"),
        Query(f"sum(damon_exporter_series_dropped{{{HOST}}}) or vector(0)", "series left out"),
        width=8,
    )
