"""Shipped dashboards, and what Grafana does to their queries before it asks."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_server import PrometheusServer

from dashboards.grafana.build import FOLDER

Json = dict[str, Any]

DASHBOARDS: dict[str, Json] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
BUILT_IN = {"__rate_interval": "10s", "__range": "1h", "__interval": "1s"}
ALL = ".*"
LABEL_VALUES = re.compile(r"label_values\((?P<selector>.*), (?P<label>\w+)\)")


@dataclass(frozen=True)
class BoardQuery:
    """One query of one panel."""

    board: str
    panel: str
    expr: str
    legend: str
    column: str
    instant: bool

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.panel, self.column or self.legend)))


def panels(board: str) -> list[Json]:
    """All but headings."""
    return [panel for panel in DASHBOARDS[board]["panels"] if panel["type"] != "row"]


def variables(board: str) -> list[Json]:
    """All but the data source."""
    return [each for each in DASHBOARDS[board]["templating"]["list"] if each["type"] == "query"]


def queries(board: str) -> Iterator[BoardQuery]:
    """Every query of every panel."""
    for panel in panels(board):
        columns = _columns(panel)
        for target in panel["targets"]:
            yield BoardQuery(
                board,
                panel["title"],
                target["expr"],
                target["legendFormat"],
                columns.get(f"Value #{target['refId']}", ""),
                target["instant"],
            )


def _columns(panel: Json) -> dict[str, str]:
    """What a table calls the values of its queries."""
    renamed = (each["options"].get("renameByName", {}) for each in panel["transformations"])
    return {old: new for names in renamed for old, new in names.items()}


def filled(expr: str, values: Mapping[str, str]) -> str:
    """The query with its variables in it; KeyError for one that nothing is known of."""
    known = {**BUILT_IN, **values}

    def value(match: re.Match[str]) -> str:
        return known[match[1] or match[2]].replace("\\", "\\\\").replace('"', '\\"')

    return re.sub(r"\$(?:(\w+)|\{(\w+)\})", value, expr)


def choices(server: PrometheusServer, variable: Json, values: Mapping[str, str]) -> list[str]:
    """What Grafana would offer for a variable."""
    asked = LABEL_VALUES.fullmatch(variable["query"]["query"])
    assert asked, variable["query"]["query"]
    answer: list[str] = server.get(f"label/{asked['label']}/values", **{"match[]": filled(asked["selector"], values)})
    return answer
