"""The pods of this node, out of the PodList that a kubelet answers with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, Field, ValidationError

CONFIG_HASH = "kubernetes.io/config.hash"
"""The annotation of a static pod that says by which uid its cgroups go: the API server's mirror pod has another."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod on this node. ``containers`` maps ids to names: of all kinds, those that wait for their start have no id.

    ``cgroup_uids`` are the uids that may stand in the paths of its cgroups.
    """

    namespace: str
    name: str
    labels: Mapping[str, str]
    containers: Mapping[str, str]
    cgroup_uids: tuple[str, ...]


class _Metadata(BaseModel):
    namespace: str
    name: str
    uid: str
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _ContainerStatus(BaseModel):
    name: str
    container_id: str = Field(default="", validation_alias="containerID")


class _PodStatus(BaseModel):
    containers: list[_ContainerStatus] | None = Field(default=None, validation_alias="containerStatuses")
    init_containers: list[_ContainerStatus] | None = Field(default=None, validation_alias="initContainerStatuses")
    ephemeral_containers: list[_ContainerStatus] | None = Field(
        default=None, validation_alias="ephemeralContainerStatuses"
    )


class _Pod(BaseModel):
    metadata: _Metadata
    status: _PodStatus | None = None


class _PodList(BaseModel):
    items: list[_Pod | None] | None


def read_pods(text: bytes) -> tuple[Pod, ...]:
    """Return the pods of a PodList in JSON; raises ValueError for anything else.

    It is read straight into the few fields that we need: all of it as Python objects would take several times its size.
    """
    try:
        items = _PodList.model_validate_json(text).items
    except ValidationError as error:
        raise ValueError(f"no list of pods: {_fault(error)}") from None
    return tuple(_pod(item) for item in items or () if item)


def _pod(item: _Pod) -> Pod:
    metadata, status = item.metadata, item.status or _PodStatus()
    statuses = [*(status.init_containers or ()), *(status.ephemeral_containers or ()), *(status.containers or ())]
    uids = (metadata.uid, (metadata.annotations or {}).get(CONFIG_HASH, ""))
    return Pod(
        metadata.namespace,
        metadata.name,
        metadata.labels or {},
        {identifier: each.name for each in statuses if (identifier := each.container_id.rpartition("://")[2])},
        tuple(dict.fromkeys(uid for uid in uids if uid)),
    )


def _fault(error: ValidationError) -> str:
    """Say what is wrong first, without what differs each time: which pod it is, and where JSON breaks off."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(step) for step in first["loc"] if isinstance(step, str))
    reason = re.sub(r" at line \d+ column \d+", "", first["msg"])
    return f"{place}: {reason}" if place else reason
