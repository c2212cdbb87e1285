"""Which part of what its access pattern selects a scheme is applied to."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from damon_exporter.config.fields import RANGE_OR_MAX, SIZE, Count, Flag, Section, Written, bounds_of, printable_text
from damon_exporter.units import shown

CORE_TYPES = ("addr", "target")
OPS_TYPES = ("anon", "memcg", "young", "hugepage_size", "unmapped", "active")

# Actions for which vaddr and fvaddr look at pages one by one; madvise() takes whole ranges for all others.
VADDR_LOOKS_AT_PAGES = ("stat", "migrate_hot", "migrate_cold")

LONGEST_PATH = 4096


def _cgroup_path(value: object) -> str:
    path = printable_text(value, LONGEST_PATH)
    if not path.startswith("/"):
        raise ValueError(f"{shown(path)} is no path from the root of the cgroup hierarchy; begin with /")
    if path != "/" and not {"", ".", ".."}.isdisjoint(path.split("/")[1:]):
        raise ValueError(f"{shown(path)} never matches: the kernel compares texts; write it as /proc/PID/cgroup does")
    return path


CGROUP_PATH = Written(_cgroup_path, {"type": "string", "pattern": "^/", "maxLength": LONGEST_PATH})


class SchemeFilter(Section):
    """One filter; the first that a page or region matches decides. What none matches passes if the last one rejects."""

    type: Literal["anon", "memcg", "young", "addr", "target", "hugepage_size", "unmapped", "active"] = Field(
        description="What is looked at."
    )
    matching: Flag = Field(default=True, description="Does it match what is of the type, or what is not?")
    allow: Flag = Field(default=False, description="May the action be applied to what matches, or not?")
    path: Annotated[str, CGROUP_PATH] | None = Field(
        default=None, description="The cgroup of memcg, without those below it, as its path from the hierarchy's root."
    )
    range: Annotated[tuple[int, int], RANGE_OR_MAX] | None = Field(default=None, description="The addresses of addr.")
    target: Count | None = Field(default=None, ge=0, le=4095, description="The index of target in the list of targets.")
    size: Annotated[tuple[int, int], bounds_of(SIZE, "[2MiB, 1GiB]")] | None = Field(
        default=None, description="The bounds of hugepage_size, inclusive."
    )

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        needs = {"memcg": "path", "addr": "range", "target": "target", "hugepage_size": "size"}
        for type_, key in needs.items():
            given = getattr(self, key) is not None
            if type_ == self.type and not given:
                raise ValueError(f"{self.type} needs {key}")
            if type_ != self.type and given:
                raise ValueError(f"{key} means nothing to {self.type}; leave it out")
        return self


class ProbeFilter(Section):
    """One filter of a probe; the first that the page of a sample matches decides."""

    type: Literal["anon", "memcg"] = Field(description="What is looked at.")
    matching: Flag = Field(default=True, description="Does it match what is of the type, or what is not?")
    allow: Flag = Field(default=False, description="Is what matches a hit of the probe, or not?")
    path: Annotated[str, CGROUP_PATH] | None = Field(
        default=None, description="The cgroup of memcg, without those below it, as its path from the hierarchy's root."
    )

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if (self.type == "memcg") != (self.path is not None):
            raise ValueError(
                "memcg needs path" if self.type == "memcg" else f"path means nothing to {self.type}; leave it out"
            )
        return self


def ignored_ops_filters(operations: str, action: str, filters: Sequence[SchemeFilter]) -> Iterator[int]:
    """Yield the indexes of those that the operations set does not look at for the action."""
    if operations != "paddr" and action not in VADDR_LOOKS_AT_PAGES:
        yield from range(len(filters))
