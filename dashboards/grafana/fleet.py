"""All nodes, from recording rules only: however many there are, a query looks at few series."""

from dashboards.grafana.panels import Json, Panel, Query, bars, dashboard, lines, stat, variable

CLUSTER = 'cluster=~"$cluster"'
WORKLOAD = "workload:damon_idle_age_bytes:sum"
NODE = "instance:damon_idle_age_bytes:max"
NAME = "{{namespace}} {{container}} {{cgroup}}"
EACH_WORKLOAD = "(cluster, namespace, container, cgroup)"

MEMORY = (
    "Memory of containers and services, so without what is free. Reclaiming it costs what comes back: see the what-if "
    "table of a node."
)


def fleet() -> Json:
    """The dashboard."""
    cluster = variable("cluster", f"label_values({NODE}, cluster)", "Cluster", multi=True)
    return dashboard(
        "damon-fleet",
        "DAMON / Fleet",
        "The memory of all nodes and workloads.",
        [cluster],
        [
            stat(
                "Nodes",
                "Nodes whose physical memory is watched.",
                "short",
                Query(f'count({NODE}{{{CLUSTER}, le="+Inf"}})'),
            ),
            *(_reclaimable(name, le) for name, le in (("1 min", "60.0"), ("5 min", "300.0"), ("30 min", "1800.0"))),
            stat(
                "CPU",
                "What kdamonds use on all nodes, in CPUs.",
                "short",
                Query(f"sum(instance:damon_kdamond_cpu:rate5m{{{CLUSTER}}})"),
            ),
            stat(
                "Applied",
                "What schemes did on all nodes.",
                "Bps",
                Query(f"sum(instance:damon_scheme_applied_bytes:rate5m{{{CLUSTER}}})"),
            ),
        ],
        "Workloads",
        [
            _top(
                "Most cold memory",
                f"Not touched for five minutes. {MEMORY}",
                "bytes",
                _idle(WORKLOAD, "300.0", EACH_WORKLOAD),
                NAME,
            ),
            _top(
                "Fastest growing working sets",
                "By how much a second what is touched within five minutes has grown over six hours.",
                "Bps",
                f"max by {EACH_WORKLOAD} (workload:damon_working_set_bytes:deriv6h{{{CLUSTER}}})",
                NAME,
            ),
        ],
        "Nodes",
        [
            _top(
                "Most idle memory",
                "Physical memory that was not touched for five minutes; what is free is idle, too.",
                "bytes",
                _idle(NODE, "300.0", "(cluster, job, instance)"),
                "{{instance}}",
            ),
            _top(
                "Fastest growing working sets",
                "By how much a second what is touched within five minutes has grown over six hours.",
                "Bps",
                f"instance:damon_working_set_bytes:deriv6h{{{CLUSTER}}}",
                "{{instance}}",
            ),
        ],
        [_distribution(), _coming_back()],
        [_actions(), _cost()],
    )


def _idle(record: str, le: str, by: str) -> str:
    """Bytes that were not touched within the bound; 0 where rounding or a race would make it less.

    The maximum, as attribution and a monitor of its processes may both tell of one workload.
    """
    everything = f'max by {by} ({record}{{{CLUSTER}, le="+Inf"}})'
    touched = f'max by {by} ({record}{{{CLUSTER}, le="{le}"}})'
    return f"clamp_min({everything} - {touched}, 0)"


def _reclaimable(name: str, le: str) -> Panel:
    return stat(
        f"Reclaimable at {name}",
        f"Not touched for {name}. {MEMORY}",
        "bytes",
        Query(f"sum({_idle(WORKLOAD, le, EACH_WORKLOAD)})"),
    )


def _top(title: str, description: str, unit: str, expr: str, legend: str) -> Panel:
    return bars(title, description, unit, Query(f"topk(10, {expr})", legend, instant=True))


def _distribution() -> Panel:
    touched = f'{NODE}{{{CLUSTER}, le="300.0"}}'
    return lines(
        "Distribution of working sets",
        "Of what nodes touch within five minutes: the median, and what 10, 90 and 99 % of them stay below.",
        "bytes",
        *(Query(f"quantile({quantile}, {touched})", f"p{quantile * 100:g}") for quantile in (0.1, 0.5, 0.9, 0.99)),
    )


def _coming_back() -> Panel:
    name = "instance:damon_reaccess_bytes:rate5m"
    whole = f'sum({name}{{{CLUSTER}, le="+Inf"}})'
    each = f'sum by (le) ({name}{{{CLUSTER}, le!="+Inf"}})'
    return lines(
        "What would come back",
        "Bytes a second that all nodes touch again after they had been idle for longer than so many seconds.",
        "Bps",
        Query(f"-({each} - on () group_left {whole})", "{{le}} s"),
    )


def _actions() -> Panel:
    return lines(
        "Applied by schemes",
        "What schemes of all nodes did, by action.",
        "Bps",
        Query(f"sum by (action) (instance:damon_scheme_applied_bytes:rate5m{{{CLUSTER}}})", "{{action}}"),
    )


def _cost() -> Panel:
    cpu = f"instance:damon_kdamond_cpu:rate5m{{{CLUSTER}}}"
    return lines(
        "What watching costs",
        "CPU of kdamonds: the mean node, and the one that pays most.",
        "percentunit",
        Query(f"avg({cpu})", "mean"),
        Query(f"max({cpu})", "most"),
    )
