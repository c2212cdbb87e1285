"""The intervals of a monitor: fixed, or left to DAMON's auto-tuning."""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from damon_exporter.config.fields import BASIS_POINTS, Count, Section, as_written, microseconds
from damon_exporter.units import format_duration

# A writer of commands sleeps unkillably until the aggregation ends, ...
LONGEST_AGGREGATION_US = 30_000_000
# ... and reading regions through sysfs needs a command for each snapshot.
LONGEST_SYSFS_AGGREGATION_US = 20_000_000

# DAMON_STAT and damo start tuning from 5 ms and 100 ms; the kernel keeps their ratio while it tunes.
START_SAMPLE_US = 5_000
SAMPLES_PER_AGGREGATION = 20


@dataclass(frozen=True, slots=True)
class FixedIntervals:
    """Intervals that stay as they are, in microseconds."""

    sample_us: int
    aggregation_us: int
    update_us: int

    @property
    def samples(self) -> int:
        """The most accesses that an aggregation can count."""
        return max(self.aggregation_us // self.sample_us, 1)


@dataclass(frozen=True, slots=True)
class AutotunedIntervals:
    """A goal for the kernel's auto-tuning: ``access_ratio_bp`` in 1/10000, intervals in microseconds.

    ``asked_for`` tells a goal that the file names from the default. ``start`` is the sample and aggregation interval
    that tuning begins with, None for what suits the bounds.
    """

    access_ratio_bp: int
    aggregations: int
    min_sample_us: int
    max_sample_us: int
    update_us: int
    asked_for: bool = False
    start: tuple[int, int] | None = None

    @property
    def fallback(self) -> FixedIntervals:
        """What stands in where the kernel cannot tune, or tells nobody (before 6.17); also where tuning starts from."""
        if self.start:
            return FixedIntervals(*self.start, self.update_us)
        sample_us = min(max(START_SAMPLE_US, self.min_sample_us), self.max_sample_us)
        return FixedIntervals(sample_us, sample_us * SAMPLES_PER_AGGREGATION, self.update_us)


class Start(Section):
    """The intervals that tuning begins with. It keeps how many samples make an aggregation."""

    sample: Annotated[int, microseconds("1us", "30s")] = Field(
        description="The first sampling interval; from min_sample to max_sample."
    )
    aggregation: Annotated[int, microseconds("1us", "30s")] = Field(
        description="The first aggregation interval; the ratio of the two stays."
    )

    @field_validator("aggregation")
    @classmethod
    def _fits(cls, aggregation: int, info: ValidationInfo) -> int:
        return _at_least_a_sample(aggregation, info)

    @property
    def samples(self) -> int:
        """How many samples make an aggregation."""
        return self.aggregation // self.sample


class Autotune(Section):
    """What DAMON tunes the intervals towards (``intervals_goal``)."""

    start: Start | None = Field(
        default=None,
        description="What tuning begins with; 5ms, or the nearest within the bounds, and 20 times as long.",
    )
    access_ratio: Annotated[int, BASIS_POINTS] = Field(
        default=as_written("4%"),
        description="How much of the possible access events should be seen; steps of 0.01%.",
    )
    aggregations: Count = Field(
        default=3, ge=1, le=1000, description="How many aggregations are looked at before each step."
    )
    min_sample: Annotated[int, microseconds("1us", "30s")] = Field(
        default=as_written("5ms"), description="The shortest sampling interval."
    )
    max_sample: Annotated[int, microseconds("1us", "30s")] = Field(
        default=as_written("250ms"),
        description="The longest sampling interval; the aggregation interval is 20 times as long, or as start has it.",
    )

    @field_validator("min_sample")
    @classmethod
    def _begins_above(cls, min_sample: int, info: ValidationInfo) -> int:
        start = info.data.get("start")
        if start and start.sample < min_sample:
            raise ValueError(
                f"{format_duration(min_sample)} is longer than start.sample, {format_duration(start.sample)}; "
                "shorten this or lengthen that"
            )
        return min_sample

    @field_validator("max_sample")
    @classmethod
    def _fits(cls, max_sample: int, info: ValidationInfo) -> int:
        min_sample = info.data.get("min_sample", 0)
        if max_sample < min_sample:
            raise ValueError(f"shorter than min_sample, {format_duration(min_sample)}; exchange the two")
        start = info.data.get("start")
        if start and start.sample > max_sample:
            raise ValueError(
                f"{format_duration(max_sample)} is shorter than start.sample, {format_duration(start.sample)}; "
                "lengthen this or shorten that"
            )
        samples = start.samples if start else SAMPLES_PER_AGGREGATION
        longest = _longest_aggregation(info) // samples
        if max_sample > longest:
            raise ValueError(
                f"{format_duration(max_sample)} is too long: aggregations would take {samples} times as long; "
                f"the most is {format_duration(longest)}"
            )
        return max_sample


class Intervals(Section):
    """Either ``autotune`` or fixed intervals, as the file writes them."""

    sample: Annotated[int, microseconds("1us", "30s")] = Field(
        default=as_written("5ms"), description="How often DAMON checks one page of each region."
    )
    aggregation: Annotated[int, microseconds("1us", "30s")] = Field(
        default=as_written("100ms"),
        description="How long checks are summed up before they make a snapshot; "
        "at most 30s, and 20s with kernel.source sysfs.",
    )
    update: Annotated[int, microseconds("1ms", "1h")] = Field(
        default=as_written("1s"), description="How often DAMON looks for new mappings and targets (vaddr)."
    )
    autotune: Autotune | None = Field(
        default=None, description="Let DAMON choose sample and aggregation; the default if neither is given."
    )

    @field_validator("aggregation")
    @classmethod
    def _fits(cls, aggregation: int, info: ValidationInfo) -> int:
        _at_least_a_sample(aggregation, info)
        return answered_in_time(aggregation, info)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.autotune and self._is_fixed:
            raise ValueError("autotune chooses sample and aggregation; leave out either it or them")
        return self

    @property
    def _is_fixed(self) -> bool:
        return not self.model_fields_set.isdisjoint({"sample", "aggregation"})

    def chosen(self) -> FixedIntervals | AutotunedIntervals:
        """The intervals as the rest of the program takes them."""
        if self._is_fixed:
            return FixedIntervals(self.sample, self.aggregation, self.update)
        goal = self.autotune or Autotune()
        return AutotunedIntervals(
            access_ratio_bp=goal.access_ratio,
            aggregations=goal.aggregations,
            min_sample_us=goal.min_sample,
            max_sample_us=goal.max_sample,
            update_us=self.update,
            asked_for=self.autotune is not None,
            start=(goal.start.sample, goal.start.aggregation) if goal.start else None,
        )


def _at_least_a_sample(aggregation: int, info: ValidationInfo) -> int:
    sample = info.data.get("sample", 0)
    if aggregation < sample:
        raise ValueError(
            f"{format_duration(aggregation)} is shorter than sample, {format_duration(sample)}; "
            "lengthen the one or shorten the other"
        )
    return aggregation


def answered_in_time(interval: int, info: ValidationInfo) -> int:
    """Return an interval (µs) that is short enough for commands: a kdamond answers at its end. Raises ValueError."""
    longest = _longest_aggregation(info)
    if interval > longest:
        raise ValueError(
            f"{format_duration(interval)} is too long with kernel.source sysfs; the most is {format_duration(longest)}"
        )
    return interval


def _longest_aggregation(info: ValidationInfo) -> int:
    """Loading tells the bound in the context, because it hangs on a key elsewhere in the file."""
    longest: int = (info.context or {}).get("longest_aggregation_us", LONGEST_AGGREGATION_US)
    return longest
