"""Writes the dashboards as JSON: ``python -m dashboards.grafana.build`` (make dashboards); a test compares."""

import json
from pathlib import Path

from dashboards.grafana.fleet import fleet
from dashboards.grafana.node import node
from dashboards.grafana.panels import Json
from dashboards.grafana.schemes import schemes
from dashboards.grafana.target import target

FOLDER = Path(__file__).parent


def dashboards() -> dict[Path, Json]:
    """Return every dashboard by its file."""
    made = (node(), target(), schemes(), fleet())
    return {FOLDER / f"{each['uid']}.json": each for each in made}


def text(dashboard: Json) -> str:
    """Return what the file holds."""
    return json.dumps(dashboard, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    for path, dashboard in dashboards().items():
        path.write_text(text(dashboard))
