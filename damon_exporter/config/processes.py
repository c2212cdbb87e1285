"""Which processes are watched, and what they are called."""

import re
from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from damon_exporter.config.fields import (
    RANGE,
    SIZE,
    Count,
    Place,
    Problems,
    Section,
    Written,
    as_written,
    ascending_ranges,
    printable_text,
    seconds,
)
from damon_exporter.config.kubernetes import PodMatch
from damon_exporter.config.near_match import nearest
from damon_exporter.patterns import CgroupGlob, CommandPattern
from damon_exporter.units import shown

HIGHEST_PID = 1 << 22
COMM_BYTES = 15  # TASK_COMM_LEN without its final zero
LONGEST_PATTERN = 4096  # PATH_MAX, and what is compared of a command line

POD_WORDS = ("{namespace}", "{pod}", "{container}")
GROUP_WORDS = ("{comm}", "{pid}", "{cgroup}", *POD_WORDS)
_WORD = r"\{[^{}]*\}"


def _comm(value: object) -> str:
    """A process name exactly as /proc/PID/comm has it."""
    comm = printable_text(value, 4096)
    kept = comm.encode()[:COMM_BYTES].decode(errors="ignore")
    if kept.encode() != comm.encode()[:COMM_BYTES]:
        raise ValueError(f"{shown(comm)} never matches: the kernel cuts its last letter in two; use cmdline")
    if kept != comm:
        raise ValueError(f"{shown(comm)} never matches: the kernel keeps {COMM_BYTES} bytes; write {shown(kept)}")
    return comm


def _group_by(value: object) -> str:
    """A text with words in braces, each of them known."""
    template = printable_text(value, 200)
    for word in re.findall(_WORD, template):
        if word not in GROUP_WORDS:
            raise ValueError(f"{shown(word)} is unknown; {nearest(word, GROUP_WORDS, 'there are')}")
    if re.search(r"[{}]", re.sub(_WORD, "", template)):
        raise ValueError(f"{shown(template)} has a brace without its partner; write it as in {GROUP_WORDS[0]}")
    return template


_PATTERN_SCHEMA = {"type": "string", "minLength": 1, "maxLength": LONGEST_PATTERN}

COMM = Written(_comm, {"type": "string", "minLength": 1, "maxLength": COMM_BYTES})
CMDLINE = Written(lambda value: CommandPattern(printable_text(value, LONGEST_PATTERN)), _PATTERN_SCHEMA)
CGROUP = Written(lambda value: CgroupGlob(printable_text(value, LONGEST_PATTERN)), {**_PATTERN_SCHEMA, "pattern": "^/"})
GROUP_BY = Written(_group_by, {"type": "string", "pattern": rf"^([^{{}}]|{'|'.join(map(re.escape, GROUP_WORDS))})+$"})


class Match(Section):
    """Which processes; all keys of one entry must fit."""

    pid: Count | None = Field(default=None, ge=1, le=HIGHEST_PID, description="This process.")
    comm: Annotated[str, COMM] | None = Field(
        default=None, description="Processes of this name, exactly as /proc/PID/comm has it."
    )
    cmdline: Annotated[CommandPattern, CMDLINE] | None = Field(
        default=None,
        description="Processes whose whole command line, its words joined by one space, "
        "this regular expression matches; RE2 syntax, as in Prometheus.",
    )
    cgroup: Annotated[CgroupGlob, CGROUP] | None = Field(
        default=None,
        description="Processes in a cgroup that this glob matches, or anywhere below it; ** crosses levels.",
    )
    pod: PodMatch | None = Field(default=None, description="Processes of these pods.")
    ranges: tuple[Annotated[tuple[int, int], RANGE], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="Address ranges of this pid, instead of the monitor's (fvaddr); where DAMON looks until its first "
        "update (vaddr).",
    )

    @field_validator("ranges")
    @classmethod
    def _ranges_fit(
        cls, ranges: tuple[tuple[int, int], ...] | None, info: ValidationInfo
    ) -> tuple[tuple[int, int], ...] | None:
        if ranges and info.data.get("pid", 1) is None:
            raise ValueError("addresses mean something in one process only; give pid too")
        ascending_ranges(ranges)
        return ranges

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if (self.pid, self.comm, self.cmdline, self.cgroup, self.pod) == (None,) * 5:
            raise ValueError("is empty and would match every process; give pid, comm, cmdline, cgroup or pod")
        return self


class Processes(Section):
    """Which processes are watched, and under which names."""

    match: tuple[Match, ...] = Field(min_length=1, description="Processes that fit any of these entries.")
    group_by: Annotated[str, GROUP_BY] = Field(
        default="{comm}",
        description=f"The target label: a text with {', '.join(GROUP_WORDS)} filled in.",
    )
    limit: Count = Field(
        default=64,
        ge=1,
        le=4096,
        description="How many processes are watched, largest resident set first; what is watched stays while it lives. "
        "damon_targets_dropped counts the rest.",
    )
    min_rss: Annotated[int, SIZE] = Field(
        default=0, description="Begin with no process that has less resident; damon_targets_dropped counts them."
    )
    refresh: Annotated[float, seconds("100ms", "1h")] = Field(
        default=as_written("2s"), description="How often the list of processes is looked at."
    )

    @field_validator("match")
    @classmethod
    def _ranges_of_a_pid_stand_together(cls, match: tuple[Match, ...]) -> tuple[Match, ...]:
        first: dict[int, int] = {}
        found: list[tuple[Place, str]] = []
        for i, entry in enumerate(match):
            if entry.pid is None:
                continue
            earlier = first.setdefault(entry.pid, i)
            if earlier != i and (entry.ranges or match[earlier].ranges):
                found.append(((i, "pid"), f"{entry.pid} is in entry {earlier} too; join the two"))
        if found:
            raise Problems(found)
        return match

    @property
    def by_pod(self) -> bool:
        """Does it matter which pod a process is in?"""
        return any(entry.pod for entry in self.match) or any(word in self.group_by for word in POD_WORDS)
