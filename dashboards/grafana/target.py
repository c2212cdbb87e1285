"""One target, or one container: what it needs of what it has."""

from dashboards.grafana import shared
from dashboards.grafana.panels import Json, Panel, Query, bars, dashboard, lines, table, variable
from dashboards.grafana.queries import HORIZONS
from dashboards.grafana.shared import CLUSTER, TARGET

NAMESPACE = f'{CLUSTER}, namespace="$namespace"'
CONTAINER = f'{NAMESPACE}, container=~"$container", container!=""'
INFO = f'damon_target_info{{{TARGET}, container!=""}}'
LABELS = ("cluster", "namespace", "pod", "container")
BY = f"({', '.join(LABELS)})"
EACH = "{{namespace}}/{{pod}} {{container}}"
HEADROOM = 1.2
"""What is suggested as a request beyond the working set."""


def target() -> Json:
    """The dashboard."""
    known = "damon_cgroup_standard_error_bytes"  # one series for each container
    containers = [
        variable("namespace", f'label_values({known}{{{CLUSTER}, container!=""}}, namespace)', "Namespace"),
        variable("container", f"label_values({known}{{{NAMESPACE}}}, container)", "Container", multi=True),
    ]
    return dashboard(
        "damon-target",
        "DAMON / Target and container",
        "What processes and containers touch, of what they have and may have.",
        [*shared.host(), shared.monitor(), shared.target(), *containers],
        [_usage(), shared.definition()],
        [shared.by_address(TARGET)],
        [shared.by_idle_age(TARGET), shared.what_if(TARGET)],
        [shared.bands(TARGET), _snapshot()],
        "Containers of a namespace, on all nodes (attribution)",
        [_rightsizing()],
        [_cold(), _needed()],
    )


def _of_container(metric: str) -> str:
    """What others know of the container that the target is: nothing where they are not there."""
    info = f"max by (monitor, target, {', '.join(LABELS)}) ({INFO})"
    return f"max by {BY} ({metric}) * on {BY} group_right () {info}"


def _usage() -> Panel:
    return shared.horizons(
        TARGET,
        Query(f"damon_target_resident_bytes{{{TARGET}}}", "resident"),
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
        Query(f"damon_regions{{{TARGET}}}", "regions"),
        Query(f"rate(damon_snapshots_total{{{TARGET}}}[$__rate_interval])", "snapshots a second"),
    )


def _charged(le: str = "+Inf") -> str:
    """Bytes charged to each container that were touched within a bound of idle age."""
    return f'max by {BY} (damon_cgroup_idle_age_seconds_bucket{{{CONTAINER}, le="{le}"}})'


def _rightsizing() -> Panel:
    def asked(query: str) -> Query:
        return Query(query, form="table", instant=True)

    def configured(kind: str) -> str:
        return f'max by {BY} (kube_pod_container_resource_{kind}{{{CONTAINER}, resource="memory"}})'

    week = f'quantile_over_time(0.99, container:damon_touched_bytes:max{{{CONTAINER}, le="{HORIZONS["5 min"]}"}}[7d])'
    needed = f"max by {BY} ({week}) and {_charged()}"  # of containers that are still there
    return table(
        "Rightsizing",
        f"What a container touched within five minutes, the highest but for 1 % of a week, and {HEADROOM} times as "
        "much as a suggestion, beside what it asks for and what is charged to it.",
        {
            "Working set, p99 of a week": (asked(needed), "bytes"),
            "Suggested request": (asked(f"{HEADROOM} * ({needed})"), "bytes"),
            "Request": (asked(configured("requests")), "bytes"),
            "Limit": (asked(configured("limits")), "bytes"),
            "Charged": (asked(_charged()), "bytes"),
        },
        by=LABELS,
    )


def _cold() -> Panel:
    everything = f'damon_cgroup_idle_age_seconds_bucket{{{CONTAINER}, le="+Inf"}}'
    touched = f'damon_cgroup_idle_age_seconds_bucket{{{CONTAINER}, le="{HORIZONS["1 h"]}"}}'
    return bars(
        "Cold for an hour",
        "Bytes charged to a container that it has not touched for an hour.",
        "bytes",
        Query(f"topk(10, max by {BY} ({everything} - ignoring (le) {touched}))", EACH, instant=True),
    )


def _needed() -> Panel:
    return lines(
        "Touched within five minutes",
        "Working set of the ten containers that have the largest.",
        "bytes",
        Query(f"topk(10, {_charged(HORIZONS['5 min'])})", EACH),
    )
