"""What is to be monitored.

Rules between keys are validators of the later key, so that one broken key does not hide another's problem.
"""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from damon_exporter.config.fields import ARGUMENT, MONITOR_NAME, RANGE, Count, Section, as_written, converted
from damon_exporter.config.intervals import AutotunedIntervals, FixedIntervals, Intervals
from damon_exporter.config.processes import Processes

REGIONS_PER_TARGET = 50
TARGETS_PER_STEP = 10


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

    def raised(self, targets: int) -> int:
        """Return ``max`` for a kdamond that watches so many: it holds for all of them together.

        In steps, because a running kdamond takes another bound by beginning its aggregation anew.
        """
        steps = -(-targets // TARGETS_PER_STEP)
        return max(self.max, steps * TARGETS_PER_STEP * REGIONS_PER_TARGET if targets > 1 else 0)


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

    @property
    def most_targets(self) -> int:
        """How many targets its kdamond can have."""
        if not self.processes:
            return 1
        pids = {entry.pid for entry in self.processes.match}
        return self.processes.limit if None in pids else min(len(pids), self.processes.limit)
