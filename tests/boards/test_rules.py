"""Recording rules and alerts: what promtool says of them, and what an alert must have."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from debian_tools import debian_program

from boards.observatory import RULES
from damon_exporter.state import CONTROL_BLOCKED_REASONS
from deploy.k8s import prometheus_rule

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs/runbooks"
UNIT_TESTS = sorted((ROOT / "tests/rules").glob("*.test.yml"))
GROUPS = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
NAMES = {alert["alert"] for alert in ALERTS}


def promtool(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    program = debian_program("promtool", "/usr/bin/promtool")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_promtool_finds_nothing_to_complain_about() -> None:
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.name)
def test_every_alert_fires_where_it_should_and_nowhere_else(path: Path) -> None:
    tested = promtool("test", "rules", path)

    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_would_go_on_if_its_target_had_not_gone(tmp_path: Path) -> None:
    """Shows that the series which end in the tests are such that their end is what makes the alert silent."""
    would_fire: set[str] = set()
    for path in UNIT_TESTS:
        lasting = re.sub(r"([+]?\d+)x\d+ stale", r"\1x600", path.read_text())
        changed = tmp_path / path.name
        changed.write_text(lasting.replace("../../deploy", str(ROOT / "deploy")))
        tested = promtool("test", "rules", changed)
        would_fire |= set(re.findall(r"alertname: (\w+), time", tested.stdout + tested.stderr))

    assert would_fire == NAMES


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_what_it_is_how_bad_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("info", "warning", "critical")
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"].endswith(f"/docs/runbooks/{alert['alert']}.md")


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    headings = {path.stem: path.read_text().splitlines()[0] for path in RUNBOOKS.glob("*.md")}

    assert headings == {name: f"# {name}" for name in NAMES}


@pytest.mark.parametrize("reason", CONTROL_BLOCKED_REASONS)
def test_every_reason_why_control_is_blocked_is_that_of_one_alert(reason: str) -> None:
    asked = [re.search(r'damon_control_blocked\{reason=~"(.+?)"\}', alert["expr"]) for alert in ALERTS]

    assert len([found for found in asked if found and re.fullmatch(found[1], reason)]) == 1


def test_the_prometheus_rule_holds_the_same_groups() -> None:
    assert prometheus_rule.OUTPUT.read_text() == prometheus_rule.text()
    assert yaml.safe_load(prometheus_rule.text())["spec"]["groups"] == GROUPS
