"""What the DaemonSet of deploy/k8s runs, as a container in a guest: its mounts, its rights, its arguments."""

import json
from collections.abc import Iterator
from typing import Any

from deploy.rendered import pod_spec

from .guest import Guest, GuestProcess

MOUNTS = "/run/mounts.json"
CONFIG_MAP = "/run/config-map"
MADE_BY_KUBELET = "/var/log/containers"
RIGHTS = {
    "runAsUser": 0,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""What container.py gives to everything that it runs."""


def spawn(guest: Guest, config: str, variant: str) -> GuestProcess:
    """Start the exporter as this variant of the DaemonSet would, with this configuration in its ConfigMap."""
    spec = pod_spec(variant)
    (container,) = spec["containers"]
    assert spec["hostPID"]
    rights = container["securityContext"]
    assert {key: rights[key] for key in RIGHTS} == RIGHTS
    guest.run(f"mkdir -p {MADE_BY_KUBELET}")
    guest.put(f"{CONFIG_MAP}/config.yaml", config.encode())
    guest.put(MOUNTS, json.dumps(list(_mounts(spec, container))).encode())
    command = ["python", "-m", "damon_exporter", *container["args"]]
    return guest.spawn(["python", "-S", "/container.py", MOUNTS, *command])


def _mounts(spec: dict[str, Any], container: dict[str, Any]) -> Iterator[dict[str, Any]]:
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for wanted in container["volumeMounts"]:
        volume = volumes[wanted["name"]]
        source = None if "emptyDir" in volume else CONFIG_MAP if "configMap" in volume else volume["hostPath"]["path"]
        yield {"source": source, "target": wanted["mountPath"], "read_only": wanted.get("readOnly", False)}
