"""One node: where its memory is hot, how old it is, and what watching costs."""

from dashboards.grafana import queries, shared
from dashboards.grafana.panels import Json, Panel, Query, dashboard, lines, stat, variable

# A target is compared, not matched: what processes call themselves may look like a regular expression.
WHERE = 'job=~"$job", instance=~"$instance", monitor=~"$monitor", target="$target"'
HOST = 'job=~"$job", instance=~"$instance"'
MONITOR = 'job=~"$job", instance=~"$instance", monitor=~"$monitor"'

UP = [{"options": {"0": {"text": "down"}, "1": {"text": "up"}}, "type": "value"}]


def variables() -> list[Json]:
    """Job, node, monitor, target."""
    return [
        variable("job", "label_values(damon_exporter_build_info, job)", "Job"),
        variable("instance", 'label_values(damon_exporter_build_info{job=~"$job"}, instance)', "Node"),
        variable("monitor", f"label_values(damon_monitor_up{{{HOST}}}, monitor)", "Monitor"),
        variable("target", f"label_values(damon_monitored_bytes{{{MONITOR}}}, target)", "Target"),
    ]


def node() -> Json:
    """The dashboard."""
    return dashboard(
        "damon-node",
        "DAMON / Node",
        "How the memory of one node is used, as DAMON sees it.",
        variables(),
        [
            stat(
                "Monitor", "Whether the monitor reports.", "short", Query(f"damon_monitor_up{{{MONITOR}}}"), mappings=UP
            ),
            stat("Monitored", "Size of all regions.", "bytes", Query(f"damon_monitored_bytes{{{WHERE}}}")),
            *(_touched(name, le) for name, le in (("1 min", "60.0"), ("5 min", "300.0"), ("1 h", "3600.0"))),
            stat(
                "Bandwidth",
                "Estimate that DAMON_STAT makes: every sample that found an access is one touch of the whole region.",
                "Bps",
                Query(f"rate(damon_estimated_access_bytes_total{{{WHERE}}}[$__rate_interval])"),
            ),
        ],
        "Where and how often",
        [shared.by_address(WHERE)],
        [shared.bands(WHERE), _percentiles()],
        "How long ago",
        [shared.by_idle_age(WHERE), shared.what_if(WHERE)],
        [shared.horizons(WHERE), _bandwidth()],
        "Whose it is (attribution)",
        [_kinds(), _nodes()],
        "What watching costs, and what is missing",
        [_cost(), _losses(), shared.definition()],
    )


def _touched(name: str, le: str) -> Panel:
    return stat(
        f"Touched within {name}",
        "Working set over that time, from the histogram of idle ages.",
        "bytes",
        Query(queries.touched(WHERE, le)),
    )


def _percentiles() -> Panel:
    return lines(
        "Working set per aggregation, and its percentiles",
        "What was accessed in one aggregation interval, as damo has it, and its percentiles over the last five "
        "minutes. Compare only equal intervals.",
        "bytes",
        Query(f"damon_working_set_bytes{{{WHERE}}}", "last"),
        Query(f"damon_working_set_percentile_bytes{{{WHERE}}}", "p{{percentile}}"),
    )


def _bandwidth() -> Panel:
    return lines(
        "Estimated bandwidth",
        "Region size times accesses, a second: a lower bound, as a page is looked at once per sample.",
        "Bps",
        Query(f"rate(damon_estimated_access_bytes_total{{{WHERE}}}[$__rate_interval])", "{{monitor}} {{target}}"),
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
