"""Writes the rules as the operator's PrometheusRule: ``python -m deploy.k8s.prometheus_rule`` (make dashboards)."""

from pathlib import Path

import yaml

RULES = Path(__file__).with_name("rules")
OUTPUT = Path(__file__).parent / "components/prometheus-operator/prometheusrule.yaml"
HEAD = "# Made by `python -m deploy.k8s.prometheus_rule` (make dashboards) from deploy/k8s/rules; a test compares.\n"


def text() -> str:
    """Return what the file holds: the groups of all files."""
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "damon-exporter", "labels": {"app.kubernetes.io/name": "damon-exporter"}},
        "spec": {"groups": [group for path in sorted(RULES.glob("*.yml")) for group in _groups(path)]},
    }
    return HEAD + yaml.safe_dump(rule, sort_keys=False, width=120, allow_unicode=True)


def _groups(path: Path) -> list[object]:
    groups: list[object] = yaml.safe_load(path.read_text())["groups"]
    return groups


if __name__ == "__main__":
    OUTPUT.write_text(text())
