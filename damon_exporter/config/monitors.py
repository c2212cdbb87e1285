"""What is to be monitored.

Rules between keys are validators of the later key, so that one broken key does not hide another's problem.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from damon_exporter.config.fields import (
    ADDR_UNIT,
    ARGUMENT,
    MONITOR_NAME,
    RANGE,
    Count,
    Flag,
    Place,
    Problems,
    Section,
    as_written,
    ascending_ranges,
    converted,
)
from damon_exporter.config.intervals import AutotunedIntervals, FixedIntervals, Intervals
from damon_exporter.config.processes import Processes
from damon_exporter.config.scheme_filters import ProbeFilter
from damon_exporter.config.schemes import MOST_SCHEMES, Scheme, Surroundings, misfits
from damon_exporter.units import shown

TARGETS_PER_STEP = 10
MOST_PROBES = 4


def _repeated(schemes: Sequence[Scheme]) -> Iterator[tuple[Place, str]]:
    first: dict[str, int] = {}
    for i, scheme in enumerate(schemes):
        if first.setdefault(scheme.name, i) != i:
            yield (i, "name"), f"{shown(scheme.name)} names schemes[{first[scheme.name]}] already; choose another"


def _forbidden(schemes: Sequence[Scheme], allowed: bool) -> Iterator[tuple[Place, str]]:
    for i, scheme in enumerate(schemes):
        if scheme.acts and not allowed:
            yield (i, "action"), f"{scheme.action} does something to memory; allow it with kernel.allow_actions: true"


def _surroundings(operations: str, intervals: FixedIntervals | AutotunedIntervals) -> Surroundings:
    if isinstance(intervals, FixedIntervals):
        return Surroundings(operations, intervals, intervals.samples)
    return Surroundings(operations, None, intervals.fallback.samples)


class Regions(Section):
    """Bounds on how many regions DAMON divides the memory of one monitor into."""

    min: Count = Field(default=10, ge=3, le=100_000, description="The least number of regions.")
    max: Count = Field(default=1000, ge=3, le=100_000, description="The most; regions cost time in every sample.")
    per_process: Count = Field(
        default=50,
        ge=0,
        le=1000,
        description="max holds for all processes of a monitor together, so it is raised to this for each; 0: never.",
    )

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
        return max(self.max, steps * TARGETS_PER_STEP * self.per_process if targets > 1 else 0)


class Probe(Section):
    """Something else than accesses that DAMON counts at each sample."""

    filters: tuple[ProbeFilter, ...] = Field(
        default=(), max_length=64, description="Which pages are a hit; the first that matches decides."
    )


class Monitor(Section):
    """One kdamond of ours."""

    name: Annotated[str, MONITOR_NAME] = Field(description="The monitor label.")
    operations: Literal["paddr", "vaddr", "fvaddr"] = Field(
        description="Physical memory, processes, or fixed address ranges of processes."
    )
    addr_unit: Annotated[int, ADDR_UNIT] = Field(
        default=1,
        description="How many bytes one unit of ranges and of schemes' sizes stands for: a power of two (paddr).",
    )
    intervals: Annotated[FixedIntervals | AutotunedIntervals, converted(Intervals, Intervals.chosen)] = Field(
        default=as_written({}), description="How often DAMON looks."
    )
    regions: Regions = Field(default_factory=Regions, description="How finely DAMON divides memory.")
    processes: Processes | None = Field(default=None, description="Whose memory (vaddr, fvaddr).")
    ranges: tuple[Annotated[tuple[int, int], RANGE], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="Address ranges [start, end], end exclusive, instead of all memory; fvaddr needs them, here or in "
        "every entry of match.",
    )
    command: tuple[Annotated[str, ARGUMENT], ...] | None = Field(
        default=None,
        min_length=1,
        description="A program to start, watch and end on exit, instead of processes (vaddr).",
    )
    probes: tuple[Probe, ...] = Field(
        default=(), max_length=MOST_PROBES, description="What else than accesses is counted at each sample (paddr)."
    )
    pause: Flag = Field(default=False, description="Start it, but let it do nothing.")
    schemes: tuple[Scheme, ...] = Field(
        default=(), max_length=MOST_SCHEMES, description="What DAMON is to do with memory (DAMOS)."
    )

    @field_validator("ranges")
    @classmethod
    def _ranges_fit(
        cls, ranges: tuple[tuple[int, int], ...] | None, info: ValidationInfo
    ) -> tuple[tuple[int, int], ...] | None:
        operations, processes = info.data.get("operations"), info.data.get("processes")
        have_their_own = processes and all(entry.ranges for entry in processes.match)
        if operations == "fvaddr" and ranges is None and "processes" in info.data and not have_their_own:
            raise ValueError("missing; fvaddr watches only the ranges that it is given")
        if operations == "vaddr" and ranges is not None:
            raise ValueError("vaddr follows the mappings of its processes; use fvaddr, or leave ranges out")
        if info.data.get("addr_unit", 1) > 1 and ranges is None:
            raise ValueError("missing; addresses are counted in addr_unit here, so write which ones")
        ascending_ranges(ranges)
        return ranges

    @field_validator("addr_unit", "probes")
    @classmethod
    def _is_physical(cls, value: object, info: ValidationInfo) -> object:
        operations = info.data.get("operations")
        if value not in (1, ()) and operations in {"vaddr", "fvaddr"}:
            raise ValueError(f"{operations} does not know {info.field_name}; only paddr does, so leave it out")
        return value

    @field_validator("processes")
    @classmethod
    def _processes_fit(cls, processes: Processes | None, info: ValidationInfo) -> Processes | None:
        operations = info.data.get("operations")
        if operations == "paddr" and processes:
            raise ValueError("paddr watches physical memory, whoever uses it; use vaddr for processes")
        if operations == "fvaddr" and not (processes and all(entry.pid for entry in processes.match)):
            raise ValueError("fvaddr needs match entries with pid: addresses mean something in one process only")
        return processes

    @field_validator("schemes")
    @classmethod
    def _schemes_fit(cls, schemes: tuple[Scheme, ...], info: ValidationInfo) -> tuple[Scheme, ...]:
        found = [*_repeated(schemes), *_forbidden(schemes, (info.context or {}).get("allow_actions", False))]
        operations, intervals = info.data.get("operations"), info.data.get("intervals")
        if operations and intervals:
            surroundings = _surroundings(operations, intervals)
            for i, scheme in enumerate(schemes):
                found += [((i, *place), problem) for place, problem in misfits(scheme, surroundings)]
        if found:
            raise Problems(found)
        return schemes

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
