"""What deploy/k8s becomes, as kubectl renders it: the base, the overlays, and the base with each other component."""

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from debian_tools import debian_program

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/k8s"
COMPONENTS = {path.parent.name: path.parent for path in sorted(KUBERNETES.glob("components/*/kustomization.yaml"))}
COMPONENTS["grafana"] = ROOT / "dashboards/grafana"
OVERLAYS = {path.parent.name: path.parent for path in sorted(KUBERNETES.glob("overlays/*/kustomization.yaml"))}
VARIANTS = tuple(sorted({"base", *OVERLAYS, *COMPONENTS}))

Object = dict[str, Any]


def objects(variant: str) -> tuple[Object, ...]:
    """All objects of the overlay of this name, of ``base``, or of the base with the component of this name."""
    if variant in OVERLAYS:
        return render(OVERLAYS[variant])
    return combined(*({variant} - {"base"}))


@cache
def combined(*components: str) -> tuple[Object, ...]:
    """All objects of the base with these components, in this order."""
    with tempfile.TemporaryDirectory() as folder:
        places = [os.path.relpath(path, folder) for path in (KUBERNETES / "base", *map(COMPONENTS.get, components))]
        own = {"resources": places[:1], "components": places[1:]}
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(own))
        return render(Path(folder))


@cache
def render(folder: Path) -> tuple[Object, ...]:
    """All objects of a kustomization."""
    command = [debian_program("kubectl", "/usr/bin/kubectl"), "kustomize", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return tuple(yaml.safe_load_all(done.stdout))


def only(found: tuple[Object, ...], kind: str, name: str = "damon-exporter") -> Object:
    """The one object of a kind whose name begins so."""
    (one,) = (each for each in found if each["kind"] == kind and each["metadata"]["name"].startswith(name))
    return one


def pod_spec(variant: str) -> dict[str, Any]:
    """The pod that the DaemonSet of a variant makes."""
    spec: dict[str, Any] = only(objects(variant), "DaemonSet")["spec"]["template"]["spec"]
    return spec
