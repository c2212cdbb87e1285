"""docs/dashboards.md: whether it tells of everything that there is."""

import re
from pathlib import Path

import pytest
import yaml

from boards.grafana import DASHBOARDS
from boards.observatory import RULES

DOCUMENT = Path(__file__).parents[2] / "docs/dashboards.md"
TEXT = DOCUMENT.read_text()


def test_every_dashboard_is_told_of_by_its_title() -> None:
    assert [board["title"] for board in DASHBOARDS.values() if f"| {board['title']} |" not in TEXT] == []


def test_every_alert_is_told_of_with_its_severity() -> None:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    alerts = {
        rule["alert"]: rule["labels"]["severity"] for group in groups for rule in group["rules"] if "alert" in rule
    }

    assert dict(re.findall(r"\| \[(\w+)\]\(runbooks/\1\.md\) \| (\w+) \|", TEXT)) == alerts


def test_every_alert_is_told_of_with_the_time_that_it_waits() -> None:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    waits = {
        rule["alert"]: rule["for"].replace("m", " min").replace("h", " h")
        for group in groups
        for rule in group["rules"]
        if "alert" in rule
    }
    told = dict(re.findall(r"\| \[(\w+)\]\(runbooks/\1\.md\) \| \w+ \| (.+) \|", TEXT))

    assert [alert for alert, wait in waits.items() if f"for {wait}" not in told[alert]] == []


@pytest.mark.parametrize("board", DASHBOARDS)
def test_every_dashboard_has_a_picture_that_is_small(board: str) -> None:
    assert f"(images/{board}.png)" in TEXT
    assert 0 < (DOCUMENT.parent / f"images/{board}.png").stat().st_size <= 100_000
