"""``/api/v1/state``, field by field as docs/api.md has it."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from example_state import DATABASES, HOSTILE_NAME, NODE, POSTGRES, RECORDING, STATE, UNKNOWN_INTERVALS

from damon_exporter.escaping import printable
from damon_exporter.state import NodeState
from damon_exporter.web.api import Api, Chosen

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()
ROWS = re.findall(r"^\| `(\S+)` \| (.+?) \|(?: (.+?))? \|$", PAGE, re.MULTILINE)
BARE = replace(UNKNOWN_INTERVALS.targets[0], reaccess_idle_age=None)
EVERYTHING = replace(
    STATE, monitors=(*STATE.monitors, replace(UNKNOWN_INTERVALS, name="bare", targets=(BARE,))), kernel_release=""
)
LEAVES = ("working_set_percentiles",)
"""Objects whose keys depend on the configuration."""


def answered(query: str = "", state: NodeState = STATE) -> Any:
    response = Api().answer(state, query)
    assert (response.status, response.content_type) == (200, "application/json")
    return json.loads(response.body)


def fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field that holds no further ones, with its path as the page writes it."""
    if isinstance(value, dict) and not path.endswith(LEAVES):
        for name, inner in value.items():
            yield from fields(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from fields(inner, f"{path}[]")
    elif value != []:
        yield path, value


def test_the_documented_fields_are_those_that_are_served() -> None:
    documented = [path for path, _, _ in ROWS]
    served = {path for state in (EVERYTHING, STATE, RECORDING) for path, _ in fields(answered(state=state))}
    inner = {path for path in documented if any(other.startswith((f"{path}.", f"{path}[]")) for other in documented)}
    assert len(documented) == len(set(documented))
    assert set(documented) - inner == served - inner


def test_the_documentation_says_what_null_means_where_there_may_be_null_and_only_there() -> None:
    null = {path for state in (EVERYTHING, RECORDING) for path, value in fields(answered(state=state)) if value is None}
    assert {path for path, _, meaning in ROWS if meaning} == null


def test_numbers_are_those_of_the_state() -> None:
    node, databases, *_ = answered()["monitors"]
    (physical,) = node["targets"]
    assert physical["monitored_bytes"] == 8_589_934_591
    assert physical["idle_age"]["bytes"] == [123_456_789, 1_000_000_000, 7_000_000_001, 466_477_801]
    assert physical["heatmap"]["access_seconds_total"] == [0.0, 59.5, 1e-07]
    assert databases["targets"][0]["resident_bytes"] == POSTGRES.resident_bytes
    assert (node["sample_interval_seconds"], node["aggregation_interval_seconds"]) == (0.005, 0.1)


def test_names_are_those_that_the_labels_of_metrics_have() -> None:
    assert answered()["monitors"][1]["targets"][0]["name"] == printable(HOSTILE_NAME)


@pytest.mark.parametrize(
    ("query", "detailed"),
    [
        ("", ["node", "databases", "damon_stat"]),
        ("monitor=node", ["node"]),
        ("monitor=databases&target=po%22st%5Cgr%5Cx0aes+%3Cb%3E%26%5Cxff", ["databases"]),
        ("monitor=databases&target=gone", []),
        ("monitor=gone", []),
    ],
)
def test_details_are_those_of_the_chosen(query: str, detailed: list[str]) -> None:
    monitors = answered(query)["monitors"]
    assert [monitor["name"] for monitor in monitors] == ["node", "databases", "damon_stat", "bench"]
    with_details = [monitor["name"] for monitor in monitors for target in monitor["targets"] if "idle_age" in target]
    assert with_details == detailed


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("monitors=node", "there is no parameter 'monitors'; there are monitor and target"),
        ("target=physical", "a target is chosen together with its monitor: ?monitor=NAME&target=NAME"),
        ("monitor=a&monitor=b", "one monitor and one target can be chosen; leave both out for all of them"),
    ],
)
def test_a_question_that_makes_no_sense_gets_a_sentence(query: str, told: str) -> None:
    response = Api().answer(STATE, query)
    assert (response.status, response.content_type) == (400, "text/plain; charset=utf-8")
    assert response.body.decode() == f"{told}\n"


def test_who_asks_the_same_of_a_state_gets_the_same_answer_for_a_second() -> None:
    api = Api()
    bodies = [api.answer(STATE, "monitor=node").body for _ in range(3)]

    assert len({id(body) for body in bodies}) < 3  # a second may have begun between two of them
    assert api.answer(STATE, "").body not in bodies
    assert api.answer(replace(STATE, ready=False), "monitor=node").body not in bodies


def test_what_is_no_utf_8_chooses_nobody() -> None:
    assert Chosen.parse("monitor=%ff").has("node", "physical") is False


def test_a_state_of_many_targets_names_all_and_details_one() -> None:
    targets = tuple(replace(POSTGRES, name=f"t{i}") for i in range(50))
    state = replace(STATE, monitors=(NODE, replace(DATABASES, targets=targets)))
    (target,) = [
        t for m in answered("monitor=databases&target=t7", state)["monitors"] for t in m["targets"] if "heatmap" in t
    ]
    assert target["name"] == "t7"
