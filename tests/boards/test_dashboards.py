"""What every dashboard and panel has, and that the JSON is what the builder makes."""

import re
from itertools import combinations
from typing import Any

import pytest

from boards.grafana import DASHBOARDS, panels, queries, variables
from dashboards.grafana.build import dashboards, text

ALL_PANELS = [(board, panel) for board in DASHBOARDS for panel in panels(board)]
each_panel = pytest.mark.parametrize(
    ("board", "panel"), ALL_PANELS, ids=[f"{board}: {panel['title']}" for board, panel in ALL_PANELS]
)
each_board = pytest.mark.parametrize("board", DASHBOARDS)


def test_the_files_are_what_the_builder_makes() -> None:
    made = {path.stem: (path.read_text(), text(dashboard)) for path, dashboard in dashboards().items()}

    assert set(made) == set(DASHBOARDS)
    assert [name for name, (committed, built) in made.items() if committed != built] == []


@each_panel
def test_a_panel_says_what_it_shows_in_which_unit_from_which_source(board: str, panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["datasource"]["uid"] == "${datasource}"
    if panel["type"] == "text":
        assert not panel["targets"]
        return
    assert panel["targets"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"


@each_board
def test_a_rate_is_taken_over_the_interval_that_grafana_finds_right(board: str) -> None:
    ranges = [
        (found, query.instant)
        for query in queries(board)
        for found in re.findall(r"(?:rate|increase)\([^[]*\[(.+?)\]", query.expr)
    ]

    assert set(ranges) <= {("$__rate_interval", False), ("$__range", True)}


@each_board
def test_one_value_is_compared_and_several_are_matched(board: str) -> None:
    """An address of IPv6, matched, is a class of characters."""
    several = {each["name"]: each["multi"] and each["includeAll"] for each in variables(board)}
    exprs = [query.expr for query in queries(board)] + [each["query"]["query"] for each in variables(board)]
    used = {found for expr in exprs for found in re.findall(r'(=~?)"\$(\w+)"', expr)}

    assert used == {("=~" if multi else "=", name) for name, multi in several.items()}


@each_board
def test_panels_have_ids_and_places_of_their_own(board: str) -> None:
    placed = DASHBOARDS[board]["panels"]

    assert len({panel["id"] for panel in placed}) == len(placed)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in placed)
    assert [
        (one["title"], other["title"])
        for one, other in combinations(placed, 2)
        if _overlap(one["gridPos"], other["gridPos"])
    ] == []


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


@each_board
def test_a_dashboard_can_be_provisioned(board: str) -> None:
    dashboard = DASHBOARDS[board]

    assert dashboard["uid"] == board
    assert dashboard["id"] is None
    assert dashboard["schemaVersion"] in (41, 42)
    assert next(each["name"] for each in dashboard["templating"]["list"]) == "datasource"


@pytest.mark.parametrize("board", ["damon-node", "damon-target"])
def test_working_set_is_defined_where_it_is_shown(board: str) -> None:
    (words,) = (panel["options"]["content"] for panel in panels(board) if panel["type"] == "text")

    assert "touched within a stated time" in words


@pytest.mark.parametrize("panel", [panel for _, panel in ALL_PANELS if panel["type"] == "heatmap"])
def test_heatmaps_subtract_rows_only_where_rows_are_cumulative(panel: dict[str, Any]) -> None:
    (target,) = panel["targets"]
    assert (target["format"] == "heatmap") == ("_bucket" in target["expr"])
    assert panel["options"]["calculate"] is False
