"""What the DaemonSet of deploy/k8s runs, as a container in a guest: its mounts, its rights, its arguments."""

import json
from collections.abc import Iterator
from typing import Any

from deploy.rendered import pod_spec

from .guest import Guest

POD = "/run/pod.json"
CONFIG_MAP = "/run/config-map"
CGROUP = f"/kubepods.slice/kubepods-burstable.slice/cri-containerd-{'0' * 64}.scope"
MADE_BY_KUBELET = "/var/log/containers"
NODE = {"spec.nodeName": "guest", "status.hostIP": "127.0.0.1"}
RIGHTS = {
    "runAsUser": 0,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""What container.py gives to everything that it runs."""


def exporter(variant: str) -> list[str]:
    """The command line of this variant of the DaemonSet."""
    return ["python", "-m", "damon_exporter", *_container(variant)["args"]]


def in_pod(guest: Guest, variant: str, config: str, command: list[str]) -> list[str]:
    """The command line that runs a command in a pod of this variant, with this configuration in its ConfigMap."""
    container = _container(variant)
    rights = container["securityContext"]
    assert {key: rights[key] for key in RIGHTS} == RIGHTS
    assert pod_spec(variant)["hostPID"]
    guest.run(f"mkdir -p {MADE_BY_KUBELET}")
    guest.put(f"{CONFIG_MAP}/config.yaml", config.encode())
    env = {each["name"]: NODE[each["valueFrom"]["fieldRef"]["fieldPath"]] for each in container["env"]}
    guest.put(POD, json.dumps({"mounts": list(mounts(variant)), "env": env, "cgroup": CGROUP}).encode())
    return ["python", "-S", "/container.py", POD, *command]


def mounts(variant: str) -> Iterator[dict[str, Any]]:
    """Where each volume of a variant lies in the guest, and where in the container."""
    volumes = {volume["name"]: volume for volume in pod_spec(variant)["volumes"]}
    for wanted in _container(variant)["volumeMounts"]:
        volume = volumes[wanted["name"]]
        source = None if "emptyDir" in volume else CONFIG_MAP if "configMap" in volume else volume["hostPath"]["path"]
        yield {"source": source, "target": wanted["mountPath"], "read_only": wanted.get("readOnly", False)}


def _container(variant: str) -> dict[str, Any]:
    (container,) = pod_spec(variant)["containers"]
    found: dict[str, Any] = container
    return found
