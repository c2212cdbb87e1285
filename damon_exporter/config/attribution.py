"""Whose and what the bytes of physical memory are, found by sampling page owners."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from damon_exporter.config.fields import Count, Flag, Section, as_written, seconds
from damon_exporter.config.processes import CGROUP
from damon_exporter.patterns import CgroupGlob

MOST_GLOBS = 256


class Attribution(Section):
    """Passes over monitors of physical memory; each draws pages and asks the kernel whose and what they are."""

    cgroups: tuple[Annotated[CgroupGlob, CGROUP], ...] = Field(
        default=(),
        max_length=MOST_GLOBS,
        description="Globs of the cgroups that get series; the deepest match names the series of all below it.",
    )
    kinds: Flag = Field(default=True, description="Tell free memory, page cache, anonymous memory and others apart.")
    interval: Annotated[float, seconds("1s", "1h")] = Field(
        default=as_written("15s"), description="How often a pass is made."
    )
    samples: Count = Field(
        default=32_768,
        ge=1024,
        le=1 << 20,
        description="How many pages a pass draws; four times as many halve the error.",
    )
    limit: Count = Field(default=128, ge=1, le=10_000, description="How many cgroups get series, the largest first.")

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not self.cgroups and not self.kinds:
            raise ValueError("asks for nothing; give cgroups, or leave kinds on")
        return self
