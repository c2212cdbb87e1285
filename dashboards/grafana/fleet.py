"""All nodes, from recording rules only: however many there are, a query looks at few series."""

from dashboards.grafana.panels import Json, Panel, Query, bars, dashboard, lines, stat
from dashboards.grafana.queries import HORIZONS
from dashboards.grafana.shared import CLUSTER, cluster

NODE = "instance:damon_idle_bytes:max"
NAME = "{{namespace}} {{container}} {{cgroup}}"
EACH_WORKLOAD = "(cluster, namespace, container, cgroup)"

MEMORY = (
    "Memory of containers and services, so without what is free. Reclaiming it costs what comes back: see the what-if "
    "table of a node."
)


def fleet() -> Json:
    """The dashboard."""
    return dashboard(
        "damon-fleet",
        "DAMON / Fleet",
        "The memory of all nodes and workloads.",
        [cluster(NODE)],
        [
            stat(
                "Nodes",
                "Nodes whose physical memory is watched.",
                "short",
                Query(f"count(count by (cluster, instance) ({NODE}{{{CLUSTER}}}))"),
            ),
            *(_reclaimable(horizon) for horizon in ("1 min", "5 min", "30 min")),
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
                _idle("5 min"),
                NAME,
            ),
            _top(
                "Fastest growing working sets",
                "By how much a second what each pod touches within five minutes has grown over six hours, on average.",
                "Bps",
                f"max by {EACH_WORKLOAD} (workload:damon_touched_bytes:deriv6h{{{CLUSTER}}})",
                NAME,
            ),
        ],
        "Nodes",
        [
            _top(
                "Most idle memory",
                "Physical memory that was not touched for five minutes; what is free is idle, too.",
                "bytes",
                f'{NODE}{{{CLUSTER}, le="{HORIZONS["5 min"]}"}}',
                "{{instance}}",
            ),
            _top(
                "Fastest growing working sets",
                "By how much a second what is touched within five minutes has grown over six hours.",
                "Bps",
                f"instance:damon_touched_bytes:deriv6h{{{CLUSTER}}}",
                "{{instance}}",
            ),
        ],
        [_distribution(), _coming_back()],
        [_actions(), _cost()],
    )


def _idle(horizon: str) -> str:
    """Bytes of workloads that were not touched within one of `HORIZONS`.

    The maximum, as attribution and a monitor of its processes may both tell of one workload.
    """
    le = HORIZONS[horizon]
    return f'max by {EACH_WORKLOAD} (workload:damon_idle_bytes:sum{{{CLUSTER}, le="{le}"}})'


def _reclaimable(horizon: str) -> Panel:
    return stat(
        f"Reclaimable at {horizon}",
        f"Not touched for {horizon}. {MEMORY}",
        "bytes",
        Query(f"sum({_idle(horizon)})"),
    )


def _top(title: str, description: str, unit: str, expr: str, legend: str) -> Panel:
    return bars(title, description, unit, Query(f"topk(10, {expr})", legend, instant=True))


def _distribution() -> Panel:
    touched = f'instance:damon_touched_bytes:max{{{CLUSTER}, le="{HORIZONS["5 min"]}"}}'
    return lines(
        "Distribution of working sets",
        "Of what nodes touch within five minutes: the median, and what 10, 90 and 99 % of them stay below.",
        "bytes",
        *(Query(f"quantile({quantile}, {touched})", f"p{quantile * 100:g}") for quantile in (0.1, 0.5, 0.9, 0.99)),
    )


def _coming_back() -> Panel:
    return lines(
        "What would come back",
        "Bytes a second that all nodes touch again after they had been idle for longer than so many seconds.",
        "Bps",
        Query(f"sum by (le) (instance:damon_reaccess_bytes:rate5m{{{CLUSTER}}})", "{{le}} s"),
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
