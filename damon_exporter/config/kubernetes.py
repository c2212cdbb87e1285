"""Pods as Kubernetes knows them: where their names and labels come from, and which of them are meant."""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from damon_exporter.config.fields import Section, Written, as_written, printable_text
from damon_exporter.config.urls import LONGEST_URL, from_environment, names_user, split_whole
from damon_exporter.patterns import NameGlob
from damon_exporter.units import shown

LONGEST_NAME = 253
LONGEST_LABEL = 63
MOST_POD_LABELS = 32
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
_DOMAIN = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?"
_LABEL_KEY = rf"(?:({_DOMAIN})/)?({_LABEL})"
_NAME_GLOB = r"[a-z0-9.*?-]+"


def _name_glob(value: object) -> NameGlob:
    text = printable_text(value, LONGEST_NAME)
    if not re.fullmatch(_NAME_GLOB, text):
        raise ValueError(f"{shown(text)} never matches: names are of a-z, 0-9, - and .; * and ? stand for others")
    return NameGlob(text)


def _label_key(value: object) -> str:
    key = printable_text(value, LONGEST_NAME + 1 + LONGEST_LABEL)
    parts = re.fullmatch(_LABEL_KEY, key)
    if not parts or len(parts[1] or "") > LONGEST_NAME or len(parts[2]) > LONGEST_LABEL:
        raise ValueError(f"{shown(key)} is no key of a label; write it as in app or app.kubernetes.io/name")
    return key


def _label_value(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"takes text, not {shown(value)}; put it in quotes")
    if len(value) > LONGEST_LABEL or not re.fullmatch(f"(?:{_LABEL})?", value):
        raise ValueError(
            f"{shown(value)} is no value of a label; write at most {LONGEST_LABEL} of a-z, A-Z, 0-9, -, _ and ."
        )
    return value


def _kubelet_url(value: object) -> str:
    """The URL without a slash at its end, with what the environment says in the place of ``${NAME}``."""
    url = printable_text(from_environment(printable_text(value, LONGEST_URL)), LONGEST_URL)
    if names_user(url):
        raise ValueError("holds a user name, which a kubelet does not ask for; leave it out, and see token_file")
    parts = split_whole(url, ("https",))
    if parts is None:
        raise ValueError(f"{shown(url)} is not the URL of a kubelet; write for example https://localhost:10250")
    if parts.query or parts.fragment:
        raise ValueError(f"{shown(url)} has a ? or #; write only what stands before /pods")
    return url.rstrip("/")


def _file(value: object) -> Path:
    path = Path(printable_text(value, 4096))
    if not path.is_absolute():
        raise ValueError(f"{shown(str(path))} does not begin with /; write the whole path")
    return path


NAME_GLOB = Written(
    _name_glob, {"type": "string", "pattern": f"^{_NAME_GLOB}$", "minLength": 1, "maxLength": LONGEST_NAME}
)
LABEL_KEY = Written(_label_key, {"type": "string", "pattern": f"^{_LABEL_KEY}$"})
LABEL_VALUE = Written(_label_value, {"type": "string", "pattern": f"^(?:{_LABEL})?$", "maxLength": LONGEST_LABEL})
KUBELET_URL = Written(_kubelet_url, {"type": "string", "pattern": "^https://[^?#@]+$"})
FILE = Written(_file, {"type": "string", "pattern": "^/"})


class PodMatch(Section):
    """Which pods; all keys must fit."""

    namespace: Annotated[NameGlob, NAME_GLOB] | None = Field(
        default=None, description="Pods of the namespaces that this fits; * and ? stand for other characters."
    )
    name: Annotated[NameGlob, NAME_GLOB] | None = Field(
        default=None, description="Pods whose name this fits; * and ? stand for other characters."
    )
    labels: dict[Annotated[str, LABEL_KEY], Annotated[str, LABEL_VALUE]] = Field(
        default={}, description="Pods with these labels, with exactly these values; needs kubernetes.kubelet_url."
    )

    @field_validator("labels")
    @classmethod
    def _are_known(cls, labels: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        """Loading tells in the context whether there is a kubelet, because its key stands elsewhere in the file."""
        if labels and not (info.context or {}).get("has_kubelet", True):
            raise ValueError("only the kubelet knows labels; set kubernetes.kubelet_url too")
        return labels

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.namespace or self.name or self.labels):
            raise ValueError("is empty and would match every pod; give namespace, name or labels")
        return self


class Kubernetes(Section):
    """The kubelet of this host, which knows the names and labels of pods."""

    kubelet_url: Annotated[str, KUBELET_URL] = Field(
        description="The kubelet, such as https://localhost:10250; what stands before /pods. ${NODE_IP} is taken "
        "from the environment, as is any name."
    )
    pod_labels: tuple[Annotated[str, LABEL_KEY], ...] = Field(
        default=(), max_length=MOST_POD_LABELS, description="Which labels of pods damon_pod_label_info shows."
    )
    token_file: Annotated[Path, FILE] = Field(
        default=as_written(f"{SERVICE_ACCOUNT}/token"),
        description="What proves to the kubelet who is asking; it may see nodes/pods.",
    )
    ca_file: Annotated[Path, FILE] = Field(
        default=as_written(f"{SERVICE_ACCOUNT}/ca.crt"), description="Whose certificate the kubelet must show."
    )
