"""One target, or one container: what it needs of what it has."""

from dashboards.grafana import shared
from dashboards.grafana.node import WHERE, variables
from dashboards.grafana.panels import Json, Panel, Query, bars, dashboard, lines, table, variable

CONTAINER = 'namespace=~"$namespace", container=~"$container", container!=""'
INFO = f'damon_target_info{{{WHERE}, container!=""}}'
BY = "(namespace, pod, container)"
HEADROOM = 1.2
"""What is suggested as a request beyond the working set."""


def target() -> Json:
    """The dashboard."""
    containers = [
        variable("namespace", "label_values(damon_cgroup_idle_age_seconds_bucket, namespace)", "Namespace", multi=True),
        variable(
            "container",
            'label_values(damon_cgroup_idle_age_seconds_bucket{namespace=~"$namespace"}, container)',
            "Container",
            multi=True,
        ),
    ]
    return dashboard(
        "damon-target",
        "DAMON / Target and container",
        "What processes and containers touch, of what they have and may have.",
        [*variables(), *containers],
        [_usage(), shared.definition()],
        [shared.by_address(WHERE)],
        [shared.by_idle_age(WHERE), shared.what_if(WHERE)],
        [shared.bands(WHERE), _snapshot()],
        "Containers of all nodes (attribution)",
        [_rightsizing()],
        [_cold(), _needed()],
    )


def _of_container(metric: str) -> str:
    """What others know of the container that the target is: nothing where they are not there."""
    return (
        f"max by {BY} ({metric}) * on {BY} group_right () max by (monitor, target, namespace, pod, container) ({INFO})"
    )


def _usage() -> Panel:
    return shared.horizons(
        WHERE,
        Query(f"damon_target_resident_bytes{{{WHERE}}}", "resident"),
        Query(_of_container('container_memory_working_set_bytes{container!=""}'), "usage as cAdvisor has it"),
        Query(_of_container('kube_pod_container_resource_limits{resource="memory"}'), "limit"),
        Query(_of_container('kube_pod_container_resource_requests{resource="memory"}'), "request"),
        title="Working set, usage and limit",
    )


def _snapshot() -> Panel:
    return lines(
        "Regions and snapshots",
        "How finely DAMON looks, and how often it reports.",
        "short",
        Query(f"damon_regions{{{WHERE}}}", "regions"),
        Query(f"rate(damon_snapshots_total{{{WHERE}}}[$__rate_interval])", "snapshots a second"),
    )


def _needs(le: str, time_range: str) -> str:
    touched = f'damon_cgroup_idle_age_seconds_bucket{{{CONTAINER}, le="{le}"}}'
    return f"max by {BY} (quantile_over_time(0.99, {touched}[{time_range}]))"


def _rightsizing() -> Panel:
    def asked(query: str) -> Query:
        return Query(query, form="table", instant=True)

    def configured(kind: str) -> str:
        return f'max by {BY} (kube_pod_container_resource_{kind}{{{CONTAINER}, resource="memory"}})'

    charged = f'max by {BY} (damon_cgroup_idle_age_seconds_bucket{{{CONTAINER}, le="+Inf"}})'
    return table(
        "Rightsizing",
        f"What a container touched within five minutes, the highest but for 1 % of a week, and {HEADROOM} times as "
        "much as a suggestion, beside what it asks for and what is charged to it.",
        {
            "Working set, p99 of a week": (asked(_needs("300.0", "7d")), "bytes"),
            "Suggested request": (asked(f"{HEADROOM} * {_needs('300.0', '7d')}"), "bytes"),
            "Request": (asked(configured("requests")), "bytes"),
            "Limit": (asked(configured("limits")), "bytes"),
            "Charged": (asked(charged), "bytes"),
        },
        by=("namespace", "pod", "container"),
    )


def _cold() -> Panel:
    everything = f'max by {BY} (damon_cgroup_idle_age_seconds_bucket{{{CONTAINER}, le="+Inf"}})'
    touched = f'max by {BY} (damon_cgroup_idle_age_seconds_bucket{{{CONTAINER}, le="3600.0"}})'
    return bars(
        "Cold for an hour",
        "Bytes charged to a container that it has not touched for an hour.",
        "bytes",
        Query(f"topk(10, {everything} - {touched})", "{{namespace}}/{{pod}} {{container}}", instant=True),
    )


def _needed() -> Panel:
    return lines(
        "Touched within five minutes",
        "Working set of each container.",
        "bytes",
        Query(
            f'max by {BY} (damon_cgroup_idle_age_seconds_bucket{{{CONTAINER}, le="300.0"}})',
            "{{namespace}}/{{pod}} {{container}}",
        ),
    )
