"""Panels, variables and dashboards of Grafana as plain dicts: classic JSON, schema version 41 (Grafana 11.6).

Plain dicts, as four dashboards take few kinds of panels, and the SDK on PyPI is another package for every version of
Grafana whose numbers sort in the wrong order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

SCHEMA_VERSION = 41
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
BOUNDS = {"le": "Idle for longer than"}
"""What a table calls the bounds of buckets, which are seconds."""


@dataclass(frozen=True)
class Query:
    """One PromQL query. ``form`` is Grafana's: `heatmap` subtracts each row from the next, as buckets need."""

    expr: str
    legend: str = ""
    form: str = "time_series"
    instant: bool = False

    def target(self, ref: str) -> Json:
        """Return it as a panel has it."""
        return {
            "datasource": DATASOURCE,
            "expr": self.expr,
            "format": self.form,
            "instant": self.instant,
            "legendFormat": self.legend,
            "range": not self.instant,
            "refId": ref,
        }


@dataclass(frozen=True)
class Panel:
    """One panel; the size is in columns of 24, and in rows."""

    title: str
    description: str
    kind: str
    queries: tuple[Query, ...] = ()
    unit: str = ""
    width: int = 12
    height: int = 8
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)
    overrides: Sequence[Json] = ()
    transformations: Sequence[Json] = ()

    def at(self, number: int, x: int, y: int) -> Json:
        """Return it as a dashboard has it."""
        return {
            "datasource": DATASOURCE,
            "description": self.description,
            "fieldConfig": {
                "defaults": {"custom": self.custom, **({"unit": self.unit} if self.unit else {}), **self.defaults},
                "overrides": list(self.overrides),
            },
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "id": number,
            "options": self.options,
            "targets": [query.target(chr(ord("A") + i)) for i, query in enumerate(self.queries)],
            "title": self.title,
            "transformations": list(self.transformations),
            "type": self.kind,
        }


def lines(title: str, description: str, unit: str, *queries: Query, width: int = 12, stacked: bool = False) -> Panel:
    """Lines over time."""
    custom: Json = {"drawStyle": "line", "fillOpacity": 60 if stacked else 10, "lineWidth": 1, "showPoints": "never"}
    if stacked:
        custom["stacking"] = {"group": "A", "mode": "normal"}
    options = {
        "legend": {"calcs": ["lastNotNull"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel(title, description, "timeseries", queries, unit, width, options=options, custom=custom)


def stat(title: str, description: str, unit: str, query: Query, mappings: Sequence[Json] = ()) -> Panel:
    """The last value, large."""
    options = {
        "colorMode": "none",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    }
    return Panel(title, description, "stat", (query,), unit, 4, 4, options, defaults={"mappings": list(mappings)})


def bars(title: str, description: str, unit: str, query: Query) -> Panel:
    """A bar for each series, the longest first."""
    options = {
        "displayMode": "basic",
        "namePlacement": "left",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "valueMode": "text",
    }
    return Panel(title, description, "bargauge", (query,), unit, options=options)


def heatmap(
    title: str,
    description: str,
    query: Query,
    *,
    cells: str,
    rows: str = "",
    layout: str,
    value: str,
    color: Json,
    width: int = WIDTH,
) -> Panel:
    """Rows over time; ``cells`` and ``rows`` are the units of both. Every row is one series."""
    scale = {"mode": "scheme", "reverse": False, "scale": "exponential", "exponent": 0.5, "steps": 64}
    options = {
        "calculate": False,
        "cellGap": 0,
        "cellValues": {"unit": cells},
        "color": {"fill": "dark-orange", **scale, **color},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": -1},  # what is cold is painted, what is not there is left blank
        "legend": {"show": True},
        "rowsFrame": {"layout": layout, "value": value},
        "showValue": "never",
        "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, **({"unit": rows} if rows else {})},
    }
    return Panel(title, description, "heatmap", (query,), cells, width, 10, options)


def table(
    title: str,
    description: str,
    queries: dict[str, tuple[Query, str]],
    *,
    by: Sequence[str],
    width: int = WIDTH,
) -> Panel:
    """A row for each set of labels ``by``, a column with its unit for each query; the first column sorts."""
    names = {f"Value #{chr(ord('A') + i)}": name for i, name in enumerate(queries)}
    units = {name: unit for name, (_, unit) in queries.items()}
    units |= {name: "s" for label, name in BOUNDS.items() if label in by}
    unwanted = dict.fromkeys(("Time", "__name__", "job"), True)
    order = {label: i for i, label in enumerate((*by, *names))}
    return Panel(
        title,
        description,
        "table",
        tuple(query for query, _ in queries.values()),
        "short",
        width,
        10,
        {"cellHeight": "sm", "showHeader": True, "sortBy": [{"desc": True, "displayName": next(iter(queries))}]},
        overrides=[
            {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
            for name, unit in units.items()
        ],
        transformations=[
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {"excludeByName": unwanted, "indexByName": order, "renameByName": {**names, **BOUNDS}},
            },
        ],
    )


def text(title: str, description: str, markdown: str) -> Panel:
    """Words."""
    options = {"code": {"language": "plaintext", "showLineNumbers": False}, "content": markdown, "mode": "markdown"}
    return Panel(title, description, "text", (), "", 8, 8, options)


def variable(name: str, query: str, label: str, *, multi: bool = False) -> Json:
    """Something to choose among the values of a label: one, to compare with, or with ``multi`` some, to match.

    Then all are chosen at first, also series without that label.
    """
    return {
        "allValue": ".*" if multi else None,
        "current": {"text": ["All"], "value": ["$__all"]} if multi else {},
        "datasource": DATASOURCE,
        "definition": query,
        "includeAll": multi,
        "label": label,
        "multi": multi,
        "name": name,
        "options": [],
        "query": {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "type": "query",
    }


def dashboard(uid: str, title: str, description: str, variables: Sequence[Json], *rows: Sequence[Panel] | str) -> Json:
    """A dashboard of rows of panels; a text among them is the heading of a section."""
    datasource = {
        "current": {},
        "hide": 0,
        "includeAll": False,
        "label": "Data source",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "type": "datasource",
    }
    return {
        "annotations": {"list": []},
        "description": description,
        "editable": False,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": [
            {
                "asDropdown": False,
                "icon": "external link",
                "includeVars": True,
                "keepTime": True,
                "tags": ["damon"],
                "targetBlank": False,
                "title": "DAMON",
                "type": "dashboards",
            }
        ],
        "panels": _laid_out(rows),
        "refresh": "1m",
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["damon"],
        "templating": {"list": [datasource, *variables]},
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": title,
        "uid": uid,
        "version": 1,
    }


def _laid_out(rows: Sequence[Sequence[Panel] | str]) -> list[Json]:
    placed: list[Json] = []
    y = 0
    for row in rows:
        if isinstance(row, str):
            placed.append(_heading(row, len(placed) + 1, y))
            y += 1
            continue
        x = 0
        for panel in row:
            placed.append(panel.at(len(placed) + 1, x, y))
            x += panel.width
        y += max(panel.height for panel in row)
    return placed


def _heading(title: str, number: int, y: int) -> Json:
    position = {"h": 1, "w": WIDTH, "x": 0, "y": y}
    return {"collapsed": False, "gridPos": position, "id": number, "panels": [], "title": title, "type": "row"}
