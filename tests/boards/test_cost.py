"""How many series the recording rules make, as docs/dashboards.md says."""

import re

import pytest
from prometheus_server import PrometheusServer

from boards.test_document import TEXT

pytestmark = pytest.mark.xdist_group("boards")

ONE_OF_EACH = {
    "node": '{__name__=~"instance:.+", instance="n1", action=""}',
    "action of schemes on a node": '{__name__=~"instance:.+", instance="n1", action="pageout"}',
    "target": '{__name__=~"target:.+", instance="n1", monitor="node"}',
    "target of processes whose container or unit is known, besides": (
        '{__name__=~"target:.+", instance="n1", target="cart", container="server"}'
    ),
    "workload, from attribution and from processes each": (
        '{__name__=~"workload:.+", container="server", origin="attribution"}'
    ),
    "container": '{__name__=~"container:.+", pod="cart-7d9c", container="server"}',
}


def test_the_rules_record_as_many_series_as_is_said(server: PrometheusServer) -> None:
    table = TEXT[TEXT.index("| of each |") :].partition("\n\n")[0]
    said = {what: int(count) for what, count in re.findall(r"\| (.+) \| (\d+) \|", table)}

    assert said == {what: len(server.query(selector)) for what, selector in ONE_OF_EACH.items()}


def test_a_workload_costs_the_same_whoever_tells_of_it(server: PrometheusServer) -> None:
    def recorded(origin: str) -> set[tuple[str, str]]:
        series = server.query(f'{{__name__=~"workload:.+", container="server", origin="{origin}"}}')
        return {(each["metric"]["__name__"], each["metric"].get("le", "")) for each in series}

    assert recorded("attribution") == recorded("processes")
