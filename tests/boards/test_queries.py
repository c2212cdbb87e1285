"""Every query of dashboards and rules, asked of a Prometheus that watches a demo and a cluster with all features."""

import re
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from example_state import HOSTILE_NAME
from moving_state import BINS
from prometheus_server import PrometheusServer, Series

from boards.expressions import joined_labels, made_labels, selectors
from boards.grafana import ALL, DASHBOARDS, BoardQuery, choices, filled, queries, variables
from boards.observatory import RULES
from damon_exporter.config.model import Export
from damon_exporter.escaping import printable
from damon_exporter.metrics.catalog import METRICS, Kind

pytestmark = pytest.mark.xdist_group("boards")

GROUPS = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
RULES_BY_GROUP = [rule for group in GROUPS for rule in group["rules"]]
RECORDS = {rule["record"] for rule in RULES_BY_GROUP if "record" in rule}
SCRAPED = {"job", "instance", "cluster"}
"""Labels that Prometheus gives to what it scrapes."""
FOREIGN = {
    "up": SCRAPED,
    "container_memory_working_set_bytes": {"namespace", "pod", "container"},
    "kube_pod_container_resource_requests": {"namespace", "pod", "container", "resource"},
    "kube_pod_container_resource_limits": {"namespace", "pod", "container", "resource"},
}
"""Metrics of others: Prometheus, cAdvisor, kube-state-metrics."""

NO_CONTAINER = {
    "Working set, usage and limit: usage as cAdvisor has it",
    "Working set, usage and limit: limit",
    "Working set, usage and limit: request",
}
# neither of physical memory nor of a recording, which has no /proc beside it
NOTHING_RESIDENT = {"Working set, usage and limit: resident", *NO_CONTAINER}
RECORDINGS_HAVE_NO_PAGES = {"Kinds of memory: {{kind}}", "NUMA nodes: {{numa_node}} {{band}}"}
RECORDINGS_HAVE_NO_KDAMOND = {"CPU: kdamond {{monitor}}"}
UNKNOWN_TO_KUBERNETES = {"Rightsizing: Request", "Rightsizing: Limit"}


TRIES = 5


@dataclass(frozen=True)
class View:
    """What somebody has chosen on a dashboard, and which of its queries then have no answer."""

    name: str
    board: str
    chosen: dict[str, str]
    empty: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.board}-{self.name}"


def chosen(
    job: str, instance: str, monitor: str, target: str, namespace: str = "shop", container: str = ALL
) -> dict[str, str]:
    return {
        "job": job,
        "instance": instance,
        "monitor": monitor,
        "target": target,
        "namespace": namespace,
        "container": container,
        "cluster": ALL,
    }


NODE = chosen("damon-exporter", "n1", "node", "physical")
CART = chosen("damon-exporter", "n1", "databases", "cart", "shop", "server")
UNNAMED = chosen("damon-exporter", "n1", "databases", printable(HOSTILE_NAME), "nightly", "job")
DEMO = chosen("demo", "demo", "node", "physical")
DEMO_PROCESS = chosen("demo", "demo", "processes", "service")

VIEWS = (
    View("physical memory", "damon-node", NODE),
    View("processes", "damon-node", CART, RECORDINGS_HAVE_NO_PAGES),  # attribution is of physical memory
    View("demo", "damon-node", DEMO, RECORDINGS_HAVE_NO_PAGES | RECORDINGS_HAVE_NO_KDAMOND),
    View("container with kube-state-metrics", "damon-target", CART),
    View("hostile name, no container", "damon-target", UNNAMED, NO_CONTAINER | UNKNOWN_TO_KUBERNETES),
    View("physical memory", "damon-target", NODE, NOTHING_RESIDENT),
    View("demo", "damon-target", DEMO_PROCESS, NOTHING_RESIDENT),
    View("all schemes", "damon-schemes", NODE),
    View("all clusters", "damon-fleet", NODE),
    View("one cluster", "damon-fleet", {**NODE, "cluster": "test"}),
)  # fmt: skip


def answer(server: PrometheusServer, query: BoardQuery, values: dict[str, str]) -> Series:
    """As Grafana would ask for it."""
    expr = filled(query.expr, values)
    now = time.time()
    return server.query(expr) if query.instant else server.query_range(expr, now - 5, now, 1)


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_every_query_has_an_answer_unless_there_is_nothing_to_tell(server: PrometheusServer, view: View) -> None:
    for _ in range(TRIES):  # a scrape that comes late on a busy machine leaves a gap
        empty = {str(query) for query in queries(view.board) if not answer(server, query, view.chosen)}
        if empty == view.empty:
            break
        time.sleep(2)

    assert empty == view.empty


@pytest.mark.parametrize("board", DASHBOARDS)
def test_every_variable_offers_what_the_views_choose(server: PrometheusServer, board: str) -> None:
    for view in (view for view in VIEWS if view.board == board):
        for variable in variables(board):
            offered = choices(server, variable, view.chosen)
            assert view.chosen[variable["name"]] in (*offered, ALL), variable["name"]
            assert offered, variable["name"]


@pytest.mark.parametrize(
    ("board", "values", "bins"),
    [
        ("damon-node", NODE, BINS),
        ("damon-node", DEMO, Export().heatmap.bins),
        ("damon-target", DEMO_PROCESS, Export().heatmap.bins),
    ],
    ids=["node", "demo", "process of the demo"],
)
def test_a_heatmap_by_address_has_a_row_for_every_bin_named_by_its_number(
    server: PrometheusServer, board: str, values: dict[str, str], bins: int
) -> None:
    (query,) = (query for query in queries(board) if "heatmap_access" in query.expr)
    rows = answer(server, query, values)

    assert query.legend == "{{bin}}"
    assert sorted(row["metric"]["bin"] for row in rows) == sorted(map(str, range(bins)))
    assert all(0 <= float(value) <= 1.01 for row in rows for _, value in row["values"])


@pytest.mark.parametrize("record", sorted(RECORDS))
def test_every_recording_rule_records(server: PrometheusServer, record: str) -> None:
    assert server.query(record)


def test_no_rule_fails(server: PrometheusServer) -> None:
    evaluated = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]

    assert len(evaluated) == len(RULES_BY_GROUP)
    assert [(rule["name"], rule.get("lastError")) for rule in evaluated if rule["health"] != "ok"] == []


@pytest.mark.parametrize("alert", [rule["alert"] for rule in RULES_BY_GROUP if "alert" in rule])
def test_everything_that_an_alert_looks_at_is_there(server: PrometheusServer, alert: str) -> None:
    (expr,) = (rule["expr"] for rule in RULES_BY_GROUP if rule.get("alert") == alert)
    looked_at = selectors(server.get("parse_query", query=expr))

    assert looked_at
    assert [str(selector) for selector in looked_at if not server.query(str(selector))] == []


def expressions() -> list[tuple[str, str, str]]:
    """Where it stands, the expression, and the legend."""
    drawn = [(f"{board}: {query}", query.expr, query.legend) for board in DASHBOARDS for query in queries(board)]
    return drawn + [(rule.get("alert") or rule["record"], rule["expr"], "") for rule in RULES_BY_GROUP]


def known_labels(server: PrometheusServer) -> dict[str, set[str]]:
    """The labels of every metric that may be used, by the names that queries have for it."""
    known = {name: labels | SCRAPED for name, labels in FOREIGN.items()}
    for metric in METRICS:
        labels = {*metric.labels} | SCRAPED
        known[metric.name] = labels
        if metric.kind in (Kind.HISTOGRAM, Kind.GAUGE_HISTOGRAM):
            known[f"{metric.name}_bucket"] = labels | {"le"}
    for record in RECORDS:
        series = server.query(record)
        known[record] = SCRAPED | {label for each in series for label in each["metric"]}
    return known


def test_metrics_and_labels_are_those_of_the_catalogue(server: PrometheusServer) -> None:
    known = known_labels(server)
    wrong: list[Any] = []
    for place, expr, legend in expressions():
        tree = server.get("parse_query", query=filled(expr, NODE))
        used = selectors(tree)
        wrong += [(place, each.metric) for each in used if each.metric not in known]
        wrong += [(place, str(each)) for each in used if not each.labels <= known.get(each.metric, set())]
        offered = made_labels(tree).union(*(known.get(each.metric, set()) for each in used))
        wanted = joined_labels(tree) | set(re.findall(r"{{(\w+)}}", legend))
        wrong += [(place, label) for label in wanted - offered]

    assert wrong == []


def test_the_fleet_is_drawn_from_recording_rules_alone(server: PrometheusServer) -> None:
    asked = [filled(query.expr, NODE) for query in queries("damon-fleet")]
    used = {each.metric for expr in asked for each in selectors(server.get("parse_query", query=expr))}

    assert used <= RECORDS


def test_growth_and_rightsizing_stand_on_a_stated_horizon(server: PrometheusServer) -> None:
    """`damon_working_set_bytes` grows with the aggregation interval: it is shown on the node's dashboard alone."""
    users = {
        place
        for place, expr, _ in expressions()
        for each in selectors(server.get("parse_query", query=filled(expr, NODE)))
        if each.metric == "damon_working_set_bytes"
    }

    assert users == {"damon-node: Working set per aggregation, and its percentiles: last"}
