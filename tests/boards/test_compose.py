"""The try-out of deploy/compose: whether its files fit each other. No engine is here to run it."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from debian_tools import debian_program

FOLDER = Path(__file__).parents[2] / "deploy/compose"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
each_service = pytest.mark.parametrize("service", SERVICES)


def mounts(service: str) -> dict[Path, Path]:
    """What is mounted, by its place in the container."""
    found = {}
    for volume in SERVICES[service].get("volumes", []):
        source, place, mode = volume.split(":")
        assert mode == "ro"
        found[Path(place)] = (FOLDER / source).resolve()
    return found


def port(service: str) -> str:
    """The port in the container."""
    (published,) = SERVICES[service]["ports"]
    return str(published).rsplit(":", 1)[-1]


def provisioned(kind: str) -> dict[str, Any]:
    """The one thing that a file of Grafana's provisioning holds."""
    source = mounts("grafana")[Path(f"/etc/grafana/provisioning/{kind}/damon.yml")]
    (entry,) = yaml.safe_load(source.read_text())[{"datasources": kind, "dashboards": "providers"}[kind]]
    found: dict[str, Any] = entry
    return found


@each_service
def test_everything_mounted_is_there(service: str) -> None:
    assert [source for source in mounts(service).values() if not source.exists()] == []


@each_service
def test_a_service_is_of_one_version_and_served_to_this_host_alone(service: str) -> None:
    assert ("build" in SERVICES[service]) or re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", SERVICES[service]["image"])
    assert SERVICES[service]["ports"] == [f"127.0.0.1:{port(service)}:{port(service)}"]


def test_the_exporter_plays_the_demo_where_prometheus_scrapes() -> None:
    scraped = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    targets = [target for job in scraped for static in job["static_configs"] for target in static["targets"]]

    assert targets == [f"exporter:{port('exporter')}"]
    dockerfile = FOLDER / SERVICES["exporter"]["build"] / "Dockerfile"
    assert f"\nEXPOSE {port('exporter')}\n" in dockerfile.read_text()
    assert SERVICES["exporter"]["command"] == ["demo"]


def test_promtool_accepts_the_configuration_and_finds_its_rules(tmp_path: Path) -> None:
    for place, source in mounts("prometheus").items():
        seen = tmp_path / place.relative_to("/")
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.symlink_to(source)
    promtool = debian_program("promtool", "/usr/bin/promtool")
    config = tmp_path / "etc/prometheus/prometheus.yml"
    checked = subprocess.run([promtool, "check", "config", config], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stderr) == (0, "")
    assert "2 rule files found" in checked.stdout


def test_grafana_asks_the_prometheus_that_is_there_as_often_as_it_scrapes() -> None:
    source = provisioned("datasources")
    scrape_interval = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["global"]["scrape_interval"]

    assert source["url"] == f"http://prometheus:{port('prometheus')}"
    assert source["jsonData"]["timeInterval"] == scrape_interval


def test_grafana_finds_every_dashboard_and_begins_with_the_nodes() -> None:
    place = Path(provisioned("dashboards")["options"]["path"])
    folder = mounts("grafana")[place]
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])

    assert home.parent == place
    assert home.name in {path.name for path in folder.glob("*.json")}
    assert len(list(folder.glob("*.json"))) == 4
