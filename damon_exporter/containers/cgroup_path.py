"""Which container a cgroup is part of, as its path tells."""

import re
from dataclasses import dataclass

RUNTIMES = {
    "containerd": "containerd",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "crio",
    "docker": "docker",
    "libpod": "podman",
    "libpod-payload": "podman",
}
"""What stands before a container's id, and who puts it there; with the cgroupfs driver, it may be the folder above."""

MONITOR = "conmon"
"""The process beside each container of CRI-O and podman, in a cgroup with the same id: not the container."""

PODMAN_PODS = "libpod_parent"
"""Right below it, a bare id is a pod of podman's."""

_ID = re.compile(r"[0-9a-f]{64}")
_UID = re.compile(
    r"(?:^|-)pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:[.:]|\Z)"
)
_HANDED_OVER = re.compile(r"user\.slice|lxc(\.payload\..*)?|.*\.(service|scope)", re.DOTALL)
_RUNTIMES_OWN = re.compile(
    r"(snap\.(microk8s|k8s)\.(daemon-)?)?containerd\.service|(cri-?o|docker|kubelet|k3s(-agent)?)\.service"
    r"|(rke2-(server|agent)|k0s(worker|controller))\.service"
)
SHORTEST = len("pod") + 32
"""No shorter name holds an id or a uid."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container, or, if ``id`` is "", a pod's cgroup outside its containers.

    ``id`` is 64 hex digits. ``pod_uid`` is Kubernetes': a UUID with dashes, of a static pod the 32 hex digits of its
    configuration's hash; "" if the path shows none. ``runtime`` is "" if the path does not tell.
    """

    id: str
    pod_uid: str
    runtime: str


def made_by_root(path: str) -> str:
    """Return the way to this cgroup as far as nobody but the host's root can have made it, under whatever name.

    systemd hands the cgroup of a service or a scope over to whom its unit says (``Delegate=``, ``User=``), never that
    of a slice; all that is users' own is below ``user.slice``. LXC's guests make what they like below their payload.
    In the services of container runtimes, which are root's, containers of the cgroupfs driver may lie.
    """
    names = path.split("/")
    ends = (
        at for at, name in enumerate(names, 1) if _HANDED_OVER.fullmatch(name) and not _RUNTIMES_OWN.fullmatch(name)
    )
    return "/".join(names[: next(ends, None)])


def containers_on(path: str) -> tuple[Container, ...]:
    """Return the containers on the way to this cgroup, the outermost first: containers may run containers.

    The last may be a pod's cgroup outside its containers. ``path`` is the third field of /proc/PID/cgroup, or a folder
    below /sys/fs/cgroup. Processes in another cgroup namespace see it begin with ``/..``.
    """
    found: list[Container] = []
    uid, above, outside = "", "", False
    for name in path.split("/"):
        if len(name) >= SHORTEST:
            if pod := _UID.search(name):
                uid, outside = pod[1].replace("_", "-"), True
            if container := _container(name, above, uid):
                found.append(container)
                outside = False
        above = name
    return (*found, Container("", uid, "")) if outside else tuple(found)


def _container(name: str, above: str, uid: str) -> Container | None:
    """Return the container that a folder of this name is, below a folder named ``above``."""
    name = name.removesuffix(".scope")
    before, identifier = name[:-64], name[-64:]
    if not _ID.fullmatch(identifier):
        return None
    if not before:
        return None if above == PODMAN_PODS else Container(identifier, uid, RUNTIMES.get(above, ""))
    prefix = before[:-1].rpartition(":")[2]  # slice:prefix:id, where systemd did not make the cgroup
    if before[-1] not in "-:" or prefix.endswith(MONITOR):
        return None
    return Container(identifier, uid, RUNTIMES.get(prefix, ""))
