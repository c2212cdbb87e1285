"""How much a scheme may do, and what that is tuned towards."""

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from damon_exporter.config.fields import (
    LARGEST_COUNT,
    SIZE,
    Count,
    Section,
    Written,
    as_written,
    milliseconds,
    milliseconds_or_max,
)
from damon_exporter.config.scheme_filters import CGROUP_PATH
from damon_exporter.units import SIZE_MAX, parse_duration, parse_ratio, shown

Metric = Literal[
    "user_input",
    "some_mem_psi_us",
    "node_mem_used_bp",
    "node_mem_free_bp",
    "node_memcg_used_bp",
    "node_memcg_free_bp",
    "active_mem_bp",
    "inactive_mem_bp",
    "node_eligible_mem_bp",
]

# What each metric needs besides a target.
OF_A_NODE = ("node_mem_used_bp", "node_mem_free_bp", "node_memcg_used_bp", "node_memcg_free_bp", "node_eligible_mem_bp")
OF_A_CGROUP = ("node_memcg_used_bp", "node_memcg_free_bp")

MOST_GOALS = 16
LARGEST_WEIGHT = 1_000_000
"""The kernel multiplies the sum of two by 99 in 32 bits."""
SMALLEST_PAGE = 4096


def _target_value(value: object, metric: str) -> int:
    """The kernel's number for a target: microseconds, basis points, or whatever the user feeds."""
    if metric == "some_mem_psi_us":
        number = parse_duration(value)
    elif metric.endswith("_bp"):
        points = parse_ratio(value) * 10_000
        if points.denominator != 1:
            raise ValueError(f"{shown(value)} is not a multiple of 0.01%; round it")
        number = int(points)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise ValueError(f"{shown(value)} is not a count; the goal {metric} takes a whole number")
    if number <= 0:
        raise ValueError(f"{shown(value)} is no goal, and the kernel would leave it out; write a value above 0")
    if number > SIZE_MAX:
        raise ValueError(f"{shown(value)} is out of bounds; the kernel keeps 64 bits")
    return number


_TARGET_SCHEMA = {
    "title": "a duration for some_mem_psi_us, a ratio for a metric in _bp, a count for user_input",
    "type": ["string", "number"],
}


class Goal(Section):
    """One goal, towards which the kernel tunes the quota."""

    metric: Metric = Field(description="What is measured.")
    target: Annotated[int, Written(lambda value: value, _TARGET_SCHEMA)] = Field(
        description="The value to reach: a duration (some_mem_psi_us, per reset_interval), a ratio (…_bp), or a count."
    )
    current: Count | None = Field(
        default=None, ge=0, le=SIZE_MAX, description="The value now, which only user_input is told."
    )
    nid: Count | None = Field(default=None, ge=0, le=1023, description="Of which NUMA node (node_…).")
    path: Annotated[str, CGROUP_PATH] | None = Field(default=None, description="Of which cgroup (node_memcg_…).")

    @field_validator("target")
    @classmethod
    def _is_of_the_metric(cls, target: object, info: ValidationInfo) -> object:
        return _target_value(target, info.data["metric"]) if "metric" in info.data else 0

    @model_validator(mode="after")
    def _says_of_what(self) -> Self:
        for key, value, metrics in (
            ("nid", self.nid, OF_A_NODE),
            ("path", self.path, OF_A_CGROUP),
            ("current", self.current, ("user_input",)),
        ):
            if value is None and self.metric in metrics and key != "current":
                raise ValueError(f"{self.metric} needs {key}")
            if value is not None and self.metric not in metrics:
                raise ValueError(f"{key} means nothing to {self.metric}; leave it out")
        return self


class Weights(Section):
    """What is done first if not everything can be: relative to each other."""

    size: Count = Field(default=0, ge=0, le=LARGEST_WEIGHT, description="Of a region's size.")
    access: Count = Field(default=0, ge=0, le=LARGEST_WEIGHT, description="Of how often it is accessed.")
    age: Count = Field(default=0, ge=0, le=LARGEST_WEIGHT, description="Of its age.")


class FailCharge(Section):
    """How much of what was tried in vain counts against the quota: ``num`` / ``denom`` of it."""

    num: Count = Field(ge=0, le=LARGEST_COUNT, description="Numerator.")
    denom: Count = Field(ge=1, le=LARGEST_COUNT, description="Denominator.")


class Quotas(Section):
    """The least of ``time``, ``size`` and what the goals come to holds, in every ``reset_interval``."""

    time: Annotated[int, milliseconds("1ms", "365d")] | None = Field(
        default=None, description="CPU time that may be used, estimated from what was done."
    )
    size: Annotated[int, SIZE] | None = Field(default=None, description="Bytes that may be tried.")
    # the kernel keeps 32 bits of it: 2^32 ms are 49.7 days
    reset_interval: Annotated[int, milliseconds_or_max("0s", "49d")] = Field(
        default=as_written("1s"), description="After which time both begin anew; max: never."
    )
    weights: Weights = Field(default_factory=Weights, description="What is done first.")
    goals: tuple[Goal, ...] = Field(
        default=(),
        max_length=MOST_GOALS,
        description="What the quota is tuned towards; the goal that is reached best decides, so the least is done.",
    )
    goal_tuner: Literal["consist", "temporal"] = Field(
        default="consist", description="How: always a little, or much until the goal is reached and then nothing."
    )
    fail_charge: FailCharge | None = Field(
        default=None, description="How much of what was tried in vain counts; all of it, unless given."
    )

    @field_validator("size")
    @classmethod
    def _limits(cls, size: int | None) -> int | None:
        if size == 0:
            raise ValueError("0 would be no limit to the kernel; leave it out, or remove the scheme")
        if size is not None and size < SMALLEST_PAGE:
            raise ValueError(f"{size} bytes are less than a page, so nothing would ever be done; write 4096 or more")
        return size

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.time is None and self.size is None and not self.goals:
            raise ValueError("limit nothing; give time, size or goals")
        return self
