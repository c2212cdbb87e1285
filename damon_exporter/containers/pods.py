"""The pods of this node, out of the PodList that a kubelet answers with."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, cast

from pydantic import (
    BaseModel,
    FailFast,
    Field,
    OnErrorOmit,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticOmit

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
    """``fault`` is what is wrong with the first pod or label that had to be left out, "" if none had.

    ``whole`` says that no pod had.
    """

    pods: tuple[Pod, ...]
    fault: str = ""
    whole: bool = True


MOST_FAULTS = 1000
"""After so many labels that are none the others that may be are not even looked at: garbage is to cost little."""


@dataclass(slots=True)
class _Faults:
    """How many labels are none, and what is wrong with the first: pydantic would keep hundreds of bytes for each."""

    count: int = 0
    first: str = ""


def _or_omitted(value: object, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> str:
    """Leave a key or value out that is none."""
    faults = cast("_Faults", info.context)
    if faults.count < MOST_FAULTS:
        try:
            return str(check(value))
        except ValidationError as error:
            faults.count += 1
            faults.first = faults.first or f"labels: {_fault(error)}"
    raise PydanticOmit


_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{1,253}$")]
_LabelKey = Annotated[str, StringConstraints(pattern=r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9_.-]{1,63}$")]
_LabelValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{0,63}$")]
_OrOmitted = WrapValidator(_or_omitted)
_Identifier = Annotated[str, StringConstraints(max_length=253)]


class _Annotations(BaseModel):
    config_hash: _Identifier = Field(default="", validation_alias=CONFIG_HASH)


class _Metadata(BaseModel):
    namespace: _Name
    name: _Name
    uid: _Identifier
    labels: dict[Annotated[_LabelKey, _OrOmitted], Annotated[_LabelValue, _OrOmitted]] | None = None
    annotations: _Annotations | None = None


class _ContainerStatus(BaseModel):
    name: _Name
    container_id: _Identifier = Field(default="", validation_alias="containerID")


class _PodStatus(BaseModel):
    containers: Annotated[list[_ContainerStatus] | None, FailFast()] = Field(
        default=None, validation_alias="containerStatuses"
    )
    init_containers: Annotated[list[_ContainerStatus] | None, FailFast()] = Field(
        default=None, validation_alias="initContainerStatuses"
    )
    ephemeral_containers: Annotated[list[_ContainerStatus] | None, FailFast()] = Field(
        default=None, validation_alias="ephemeralContainerStatuses"
    )


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
    objects would take several times its size, all faults hundreds of times. A pod that is not as Kubernetes has them is
    left out, and so is a label.
    """
    faults = _Faults()
    try:
        pods = _pods(_WholeList.model_validate_json(text, context=faults).items)
        return PodList(pods, faults.first)
    except ValidationError as error:
        fault = _fault(error)
    if pods := _pods_but_bad_ones(text):
        return PodList(pods, fault, whole=False)
    raise ValueError(f"no list of pods: {fault}")


def _pods_but_bad_ones(text: bytes) -> tuple[Pod, ...]:
    with suppress(ValidationError):
        return _pods(_ListWithFaults.model_validate_json(text, context=_Faults()).items)
    return ()


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
