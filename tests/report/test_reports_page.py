"""The examples of docs/reports.md show what comes out, and its tables what there is."""

import re
import shlex
from pathlib import Path

import pytest
from damo_itself import DEMO, changing_snapshots
from reporting import one_monitor, report, report_json

PAGE = (Path(__file__).parents[2] / "docs/reports.md").read_text()
EXAMPLES = re.findall(r"^```console\n\$ damon-exporter report (.+?)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
JSON_KEYS = dict(
    re.findall(r"^\| `([a-z-]+)` \| ((?:`snapshot`|`snapshots`|`start_seconds`).*) \|$", PAGE, re.MULTILINE)
)


def printed(example: str) -> list[str]:
    """Run an example, with the `head` or `tail` behind it."""
    command, _, end = example.partition(" | ")
    lines = [line.rstrip() for line in report(*shlex.split(command)).splitlines()]
    if not end:
        return lines
    tool, _, count = end.split()
    return lines[: int(count)] if tool == "head" else lines[-int(count) :]


def test_all_examples_are_found() -> None:
    assert len(EXAMPLES) == PAGE.count("```console") == 6


@pytest.mark.parametrize(("example", "output"), EXAMPLES, ids=[example for example, _ in EXAMPLES])
def test_an_example_prints_what_is_shown(monkeypatch: pytest.MonkeyPatch, example: str, output: str) -> None:
    monkeypatch.chdir(DEMO.parent)
    assert printed(example) == output.splitlines()


@pytest.mark.parametrize("name", ["access", "wss", "heatmap", "heatmap-guide"])
def test_every_key_of_json_is_described(tmp_path: Path, name: str) -> None:
    file = one_monitor(tmp_path / "r", changing_snapshots(18, targets=1)[:25])
    command, *guide = name.split("-")
    answer = report_json(command, "-i", file, *(f"--{flag}" for flag in guide))
    assert answer["report"] == name
    told = set(re.findall(r"`([a-z_]+)`", JSON_KEYS[name])) - {"null", "hz", "samples"}
    own = {"kdamond", "monitor", "operations", "target", "name"}
    assert _keys(answer["targets"][0]) == told | own


def _keys(value: object) -> set[str]:
    """Return all keys, at any depth."""
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    return set().union(*map(_keys, value[:1])) if isinstance(value, list) else set()
