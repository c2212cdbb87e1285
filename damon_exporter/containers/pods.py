"""The pods of this node, out of the PodList that a kubelet answers with."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, FailFast, Field, OnErrorOmit, StringConstraints, ValidationError

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


@dataclass(frozen=True, slots=True)
class PodList:
    """``fault`` is what is wrong with the first of the pods that had to be left out, "" if none had."""

    pods: tuple[Pod, ...]
    fault: str = ""


_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{1,253}$")]
_LabelKey = Annotated[str, StringConstraints(pattern=r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9_.-]{1,63}$")]
_LabelValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{0,63}$")]
_Identifier = Annotated[str, StringConstraints(max_length=253)]


class _Annotations(BaseModel):
    config_hash: _Identifier = Field(default="", validation_alias=CONFIG_HASH)


class _Metadata(BaseModel):
    namespace: _Name
    name: _Name
    uid: _Identifier
    labels: dict[OnErrorOmit[_LabelKey], OnErrorOmit[_LabelValue]] | None = None
    annotations: _Annotations | None = None


class _ContainerStatus(BaseModel):
    name: _Name
    container_id: _Identifier = Field(default="", validation_alias="containerID")


_Statuses = list[OnErrorOmit[_ContainerStatus]] | None


class _PodStatus(BaseModel):
    containers: _Statuses = Field(default=None, validation_alias="containerStatuses")
    init_containers: _Statuses = Field(default=None, validation_alias="initContainerStatuses")
    ephemeral_containers: _Statuses = Field(default=None, validation_alias="ephemeralContainerStatuses")


class _Pod(BaseModel):
    metadata: _Metadata
    status: _PodStatus | None = None


class _WholeList(BaseModel):
    items: Annotated[list[_Pod | None] | None, FailFast()]


class _ListWithFaults(BaseModel):
    items: list[OnErrorOmit[_Pod]] | None


def read_pods(text: bytes) -> PodList:
    """Return the pods of a PodList in JSON; raises ValueError if it holds none and is no such list.

    It is read straight into the few fields that we need, and of faults only the first is kept: all of it as Python
    objects would take several times its size, all faults hundreds of times. A pod whose names are none of Kubernetes'
    is left out; so is a label.
    """
    try:
        return PodList(_pods(_WholeList.model_validate_json(text).items))
    except ValidationError as error:
        fault = _fault(error)
    try:
        pods = _pods(_ListWithFaults.model_validate_json(text).items)
    except ValidationError:
        pods = ()
    if not pods:
        raise ValueError(f"no list of pods: {fault}")
    return PodList(pods, fault)


def _pods(items: Sequence[_Pod | None] | None) -> tuple[Pod, ...]:
    return tuple(_pod(item) for item in items or () if item)


def _pod(item: _Pod) -> Pod:
    metadata, status = item.metadata, item.status or _PodStatus()
    statuses = [*(status.init_containers or ()), *(status.ephemeral_containers or ()), *(status.containers or ())]
    uids = (metadata.uid, metadata.annotations.config_hash if metadata.annotations else "")
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
    place = ".".join(step for step in first["loc"] if isinstance(step, str))
    reason = re.sub(r" at line \d+ column \d+", "", first["msg"])
    return f"{place}: {reason}" if place else reason
