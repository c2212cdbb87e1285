"""DAMOS schemes: what DAMON does with memory of a certain access pattern, in the kernel's words and human units."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from damon_exporter.config.fields import (
    COUNT_OR_MAX,
    DURATION_OR_MAX,
    EXACT_RATIO,
    LARGEST_COUNT,
    PERMIL,
    SCHEME_NAME,
    SIZE,
    Count,
    Flag,
    Place,
    Problems,
    Section,
    as_written,
    bounds_of,
    microseconds,
)
from damon_exporter.config.intervals import FixedIntervals, answered_in_time
from damon_exporter.config.quotas import Quotas
from damon_exporter.config.scheme_filters import CORE_TYPES, OPS_TYPES, SchemeFilter, ignored_ops_filters

LONGEST_CHECK = "30s"
"""Between two looks of the kernel at a scheme's watermarks; while it sleeps so long it answers nobody."""

Action = Literal[
    "stat",
    "willneed",
    "cold",
    "pageout",
    "hugepage",
    "nohugepage",
    "collapse",
    "lru_prio",
    "lru_deprio",
    "migrate_hot",
    "migrate_cold",
]

# What an operations set does not do, it skips in silence: vaddr leaves LRU lists alone, paddr knows no mappings.
VIRTUAL_ONLY = ("willneed", "cold", "hugepage", "nohugepage", "collapse")
PHYSICAL_ONLY = ("lru_prio", "lru_deprio")
MIGRATIONS = ("migrate_hot", "migrate_cold")

MOST_SCHEMES = 32
MOST_FILTERS = 64

Counts = tuple[int, int]


class AccessPattern(Section):
    """Which regions; all bounds are inclusive. What is left out is not asked for."""

    size: Annotated[tuple[int, int], bounds_of(SIZE, "[4KiB, max]")] = Field(
        default=as_written((0, "max")), description="How large a region is."
    )
    access_ratio: Annotated[tuple[Fraction, Fraction], bounds_of(EXACT_RATIO, "[0%, 5%]")] | None = Field(
        default=None, description="nr_accesses of the most that an aggregation interval can count."
    )
    nr_accesses: Annotated[Counts, bounds_of(COUNT_OR_MAX, "[0, 1]")] | None = Field(
        default=None, description="The same as counts, instead of access_ratio."
    )
    age: Annotated[tuple[float, float], bounds_of(DURATION_OR_MAX, "[60s, max]")] | None = Field(
        default=None, description="For how long a region has been accessed as often as now."
    )
    age_aggregations: Annotated[Counts, bounds_of(COUNT_OR_MAX, "[600, max]")] | None = Field(
        default=None, description="The same in aggregation intervals, instead of age."
    )

    @model_validator(mode="after")
    def _once(self) -> Self:
        if self.access_ratio is not None and self.nr_accesses is not None:
            raise ValueError("has both access_ratio and nr_accesses; leave one of them out")
        if self.age is not None and self.age_aggregations is not None:
            raise ValueError("has both age and age_aggregations; leave one of them out")
        return self

    @property
    def age_in_time(self) -> bool:
        """Is an age asked for that stands for another number of aggregations when these change their length?"""
        return self.age is not None and any(0 < bound < math.inf for bound in self.age)

    def accesses(self, samples: int) -> Counts:
        """Return the inclusive bounds of nr_accesses where an aggregation has so many samples; ValueError if none fits.

        The least count that is not below the lower ratio, the greatest that is not above the upper.
        """
        if self.access_ratio is None:
            return self.nr_accesses or (0, LARGEST_COUNT)
        least, most = math.ceil(self.access_ratio[0] * samples), math.floor(self.access_ratio[1] * samples)
        if least > most:
            raise ValueError(
                f"no count of accesses lies between these: an aggregation has {samples} samples, which makes steps of "
                f"{100 / samples:.3g}%; widen the bounds"
            )
        return least, LARGEST_COUNT if self.access_ratio[1] == 1 else most

    def ages(self, aggregation_us: int) -> Counts:
        """Return the inclusive bounds of the age in aggregation intervals; ValueError if none fits.

        The least that is not below the lower duration, the greatest that is not above the upper.
        """
        if self.age is None:
            return self.age_aggregations or (0, LARGEST_COUNT)
        low, high = self.age
        if low == math.inf:
            raise ValueError("no region is at least as old as max; give a duration as the lower bound")
        least = -(-int(low) // aggregation_us)
        most = LARGEST_COUNT if high == math.inf else int(high) // aggregation_us
        if max(least, most) > LARGEST_COUNT:
            raise ValueError("lies beyond what the kernel can count in 32 bits of aggregation intervals; write max")
        if least > most:
            raise ValueError("no age lies between these: the kernel counts aggregation intervals; widen the bounds")
        return least, most


class Watermarks(Section):
    """When a scheme is active: from ``mid`` down to ``low`` of memory free, and then until above ``high``."""

    metric: Literal["free_mem_rate"] = Field(default="free_mem_rate", description="What is compared: free memory.")
    interval: Annotated[int, microseconds("1ms", LONGEST_CHECK)] = Field(
        default=as_written("5s"), description="How often it is looked at."
    )
    high: Annotated[int, PERMIL] = Field(description="Above this nothing needs to be done.")
    mid: Annotated[int, PERMIL] = Field(description="Below this it begins.")
    low: Annotated[int, PERMIL] = Field(description="Below this it is too late, and the kernel's own reclaim works.")

    @field_validator("mid")
    @classmethod
    def _below_high(cls, mid: int, info: ValidationInfo) -> int:
        if mid > info.data.get("high", mid):
            raise ValueError("is above high; watermarks are low <= mid <= high")
        return mid

    @field_validator("low")
    @classmethod
    def _below_mid(cls, low: int, info: ValidationInfo) -> int:
        if low > info.data.get("mid", low):
            raise ValueError("is above mid; watermarks are low <= mid <= high")
        return low


class Destination(Section):
    """One node that pages are migrated to."""

    id: Count = Field(ge=0, le=1023, description="The NUMA node.")
    weight: Count = Field(ge=0, le=LARGEST_COUNT, description="Its share among all destinations.")


def _require_types(filters: Sequence[SchemeFilter], known: Sequence[str], otherwise: str) -> None:
    wrong = [(i, each.type) for i, each in enumerate(filters) if each.type not in known]
    if wrong:
        raise Problems([((i, "type"), f"{type_} {otherwise}") for i, type_ in wrong])


class Scheme(Section):
    """One DAMOS scheme."""

    name: Annotated[str, SCHEME_NAME] = Field(description="The scheme label.")
    action: Action = Field(description="What is done with memory that fits; stat only counts it.")
    access_pattern: AccessPattern = Field(default_factory=AccessPattern, description="Which regions.")
    apply_interval: Annotated[int, microseconds("0s", "30s")] = Field(
        default=as_written("0s"), description="How often it is applied; 0s: at every aggregation."
    )
    quotas: Quotas | None = Field(default=None, description="How much may be done at most.")
    watermarks: Watermarks | None = Field(default=None, description="When it is active; always, unless given.")
    core_filters: tuple[SchemeFilter, ...] = Field(
        default=(),
        max_length=MOST_FILTERS,
        description="What of the regions, by address or target; the first that matches decides.",
    )
    ops_filters: tuple[SchemeFilter, ...] = Field(
        default=(), max_length=MOST_FILTERS, description="Which pages of them; the first that matches decides."
    )
    target_nid: Count | None = Field(
        default=None, ge=0, le=1023, description="The node that migrate_hot and migrate_cold migrate to."
    )
    dests: tuple[Destination, ...] = Field(default=(), max_length=1024, description="Several such nodes, by weight.")
    max_nr_snapshots: Count = Field(
        default=0, ge=0, le=LARGEST_COUNT, description="After how many looks at all regions it ends; 0: never."
    )
    optional: Flag = Field(
        default=False, description="Leave it out, with a warning, where the kernel lacks what it needs."
    )

    @field_validator("apply_interval")
    @classmethod
    def _lets_commands_through(cls, interval: int, info: ValidationInfo) -> int:
        return answered_in_time(interval, info)

    @field_validator("core_filters")
    @classmethod
    def _for_the_core(cls, filters: tuple[SchemeFilter, ...]) -> tuple[SchemeFilter, ...]:
        _require_types(filters, CORE_TYPES, "is looked at page by page; write it under ops_filters")
        return filters

    @field_validator("ops_filters")
    @classmethod
    def _for_operations(cls, filters: tuple[SchemeFilter, ...]) -> tuple[SchemeFilter, ...]:
        _require_types(filters, OPS_TYPES, "divides regions; write it under core_filters")
        return filters

    @field_validator("target_nid", "dests")
    @classmethod
    def _migrates(cls, value: object, info: ValidationInfo) -> object:
        action = info.data.get("action")
        if value not in (None, ()) and action and action not in MIGRATIONS:
            raise ValueError(f"{action} moves nothing to another node; only {' and '.join(MIGRATIONS)} do")
        return value

    @field_validator("dests")
    @classmethod
    def _weighs_something(cls, dests: tuple[Destination, ...]) -> tuple[Destination, ...]:
        if dests and not any(each.weight for each in dests):
            raise ValueError("have no weight, so that nothing would be migrated; give one of them a weight above 0")
        return dests

    @model_validator(mode="after")
    def _knows_where_to(self) -> Self:
        if self.action in MIGRATIONS and self.target_nid is None and not self.dests:
            raise ValueError(f"{self.action} needs target_nid or dests")
        return self

    @property
    def acts(self) -> bool:
        """Does it do anything but count?"""
        return self.action != "stat"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What of its monitor a scheme has to fit to; ``intervals`` is None if they are tuned."""

    operations: str
    intervals: FixedIntervals | None
    samples: int


def misfits(scheme: Scheme, monitor: Surroundings) -> Iterator[tuple[Place, str]]:
    """Yield what of a scheme makes no sense in its monitor: where it stands, and the problem with its cure."""
    yield from _left_undone(scheme, monitor.operations)
    pattern = scheme.access_pattern
    if monitor.intervals is None and pattern.age_in_time:
        yield (
            ("access_pattern", "age"),
            "auto-tuning changes how long an aggregation is, and with it what a scheme's ages mean; give fixed "
            "intervals, or age_aggregations",
        )
    try:
        pattern.accesses(monitor.samples)
    except ValueError as problem:
        yield ("access_pattern", "access_ratio"), str(problem)
    try:
        if monitor.intervals is not None:
            pattern.ages(monitor.intervals.aggregation_us)
    except ValueError as problem:
        yield ("access_pattern", "age"), str(problem)


def _left_undone(scheme: Scheme, operations: str) -> Iterator[tuple[Place, str]]:
    """Yield what the operations set would not do, mostly in silence."""
    if operations == "paddr" and scheme.action in VIRTUAL_ONLY:
        yield ("action",), f"{scheme.action} is something that only vaddr and fvaddr do; paddr would do nothing"
    if operations == "paddr" and scheme.dests:
        yield ("dests",), "paddr does not look at dests, and would migrate nothing there; give target_nid instead"
    if operations != "paddr" and scheme.action in PHYSICAL_ONLY:
        yield ("action",), f"{scheme.action} is something that only paddr does; {operations} would do nothing"
    for i in ignored_ops_filters(operations, scheme.action, scheme.ops_filters):
        yield (
            ("ops_filters", i, "type"),
            f"{operations} ignores {scheme.ops_filters[i].type} for {scheme.action}: memory that it should spare would "
            "not be spared; use paddr, or leave it out",
        )
    for i, goal in enumerate(scheme.quotas.goals if scheme.quotas else ()):
        if operations != "paddr" and goal.metric == "node_eligible_mem_bp":
            yield (
                ("quotas", "goals", i, "metric"),
                f"{goal.metric} is measured in physical memory; the kernel refuses it for {operations}",
            )
