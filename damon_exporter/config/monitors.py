"""What is to be monitored.

Rules between keys are validators of the later key, so that one broken key does not hide another's problem.
"""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from damon_exporter.config.fields import (
    ARGUMENT,
    COMM,
    GROUP_BY,
    MONITOR_NAME,
    RANGE,
    SIZE,
    Count,
    Section,
    as_written,
    converted,
    seconds,
)
from damon_exporter.config.intervals import AutotunedIntervals, FixedIntervals, Intervals

HIGHEST_PID = 1 << 22


class Match(Section):
    """Which processes; all keys of one entry must fit."""

    pid: Count | None = Field(default=None, ge=1, le=HIGHEST_PID, description="This process.")
    comm: Annotated[str, COMM] | None = Field(
        default=None, description="Processes of this name, exactly as /proc/PID/comm has it."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.pid is None and self.comm is None:
            raise ValueError("is empty and would match every process; give pid or comm")
        return self


class Processes(Section):
    """Which processes are watched, and under which names."""

    match: tuple[Match, ...] = Field(min_length=1, description="Processes that fit any of these entries.")
    group_by: Annotated[str, GROUP_BY] = Field(
        default="{comm}", description="The target label: a text with {comm} and {pid} filled in."
    )
    limit: Count = Field(
        default=64,
        ge=1,
        le=4096,
        description="How many processes are watched, largest resident set first; what is watched stays while it lives.",
    )
    min_rss: Annotated[int, SIZE] = Field(default=0, description="Begin with no process that has less resident.")
    refresh: Annotated[float, seconds("100ms", "1h")] = Field(
        default=as_written("2s"), description="How often the list of processes is looked at."
    )


class Regions(Section):
    """Bounds on how many regions DAMON divides the memory of one monitor into."""

    min: Count = Field(default=10, ge=3, le=100_000, description="The least number of regions.")
    max: Count = Field(default=1000, ge=3, le=100_000, description="The most; regions cost time in every sample.")

    @field_validator("max")
    @classmethod
    def _is_not_below_min(cls, most: int, info: ValidationInfo) -> int:
        least = info.data.get("min", most)
        if most < least:
            raise ValueError(f"{most} is less than min, {least}; exchange the two")
        return most


class Monitor(Section):
    """One kdamond of ours."""

    name: Annotated[str, MONITOR_NAME] = Field(description="The monitor label.")
    operations: Literal["paddr", "vaddr", "fvaddr"] = Field(
        description="Physical memory, processes, or fixed address ranges of processes."
    )
    intervals: Annotated[FixedIntervals | AutotunedIntervals, converted(Intervals, Intervals.chosen)] = Field(
        default=as_written({}), description="How often DAMON looks."
    )
    regions: Regions = Field(default_factory=Regions, description="How finely DAMON divides memory.")
    ranges: tuple[Annotated[tuple[int, int], RANGE], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="Address ranges [start, end], end exclusive, instead of all memory; required for fvaddr.",
    )
    processes: Processes | None = Field(default=None, description="Whose memory (vaddr, fvaddr).")
    command: tuple[Annotated[str, ARGUMENT], ...] | None = Field(
        default=None,
        min_length=1,
        description="A program to start, watch and end on exit, instead of processes (vaddr).",
    )

    @field_validator("ranges")
    @classmethod
    def _ranges_fit(
        cls, ranges: tuple[tuple[int, int], ...] | None, info: ValidationInfo
    ) -> tuple[tuple[int, int], ...] | None:
        operations = info.data.get("operations")
        if operations == "fvaddr" and ranges is None:
            raise ValueError("missing; fvaddr watches only the ranges that it is given")
        if operations == "vaddr" and ranges is not None:
            raise ValueError("vaddr follows the mappings of its processes; use fvaddr, or leave ranges out")
        for before, after in pairwise(ranges or ()):
            if after[0] < before[1]:
                raise ValueError(
                    f"{after[0]:#x} stands after a range that ends at {before[1]:#x}; "
                    "sort the ranges and join those that overlap"
                )
        return ranges

    @field_validator("processes")
    @classmethod
    def _processes_fit(cls, processes: Processes | None, info: ValidationInfo) -> Processes | None:
        operations = info.data.get("operations")
        if operations == "paddr" and processes:
            raise ValueError("paddr watches physical memory, whoever uses it; use vaddr for processes")
        if operations == "fvaddr" and not (processes and all(entry.pid for entry in processes.match)):
            raise ValueError("fvaddr needs match entries with pid: addresses mean something in one process only")
        return processes

    @field_validator("command")
    @classmethod
    def _command_fits(cls, command: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        operations = info.data.get("operations")
        if command and operations in {"paddr", "fvaddr"}:
            raise ValueError(f"a command is watched with vaddr, not {operations}; change operations")
        if operations == "vaddr" and "processes" in info.data:
            if command and info.data["processes"]:
                raise ValueError("stands beside processes; leave one of the two out")
            if not command and not info.data["processes"]:
                raise ValueError("missing; vaddr needs either processes or command")
        if command and not command[0]:
            raise ValueError("the first entry, the program, is empty; name a program")
        return command
