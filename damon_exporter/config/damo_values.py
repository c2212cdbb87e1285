"""damo's numbers in the words of our file, and its counts: cut off where damo cuts them off."""

from dataclasses import dataclass

from damon_exporter.config import damo_numbers as numbers
from damon_exporter.config.damo_numbers import Number
from damon_exporter.config.fields import LARGEST_COUNT
from damon_exporter.units import format_duration, shown

LONGEST = 10**18 - 1
"""The most that a number has in our file."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The intervals of a kdamond in µs, by which damo turns shares and durations into counts."""

    sample: Number = 5_000
    aggregation: Number = 100_000

    @classmethod
    def of(cls, sample: Number | None, aggregation: Number | None) -> "Clock":
        """Return that of a file; where something is wrong with an interval, which is told elsewhere, the default."""
        return cls(sample, aggregation) if sample and aggregation else cls()

    def accesses(self, percent: Number) -> int:
        """How many accesses an aggregation has."""
        return bound(int(percent * (self.aggregation / self.sample) / 100))

    def age(self, microseconds: Number) -> int:
        """How many aggregations an age is."""
        return bound(int(microseconds / self.aggregation))


def bound(count: int) -> int:
    """The kernel keeps nr_accesses and age in 32 bits: of the 2^64-1 that damo writes as "max", 2^32-1 is left.

    Of what damo makes of "max" by multiplying, any number is left, even 0. That is not what was meant by it.
    """
    return min(count, LARGEST_COUNT)


def microseconds(value: object) -> str:
    """A duration in whole microseconds."""
    return format_duration(_within(value, int(numbers.microseconds(value))))


def milliseconds(value: object) -> str:
    """A duration in whole milliseconds."""
    return format_duration(_within(value, int(numbers.milliseconds(value)) * 1000))


def basis_points(value: object) -> str:
    """A share in whole 1/10 000."""
    points = _within(value, int(numbers.basis_points(value)))
    return f"{points // 100}.{points % 100:02}%"


def permil(value: object) -> str:
    """A share in whole 1/1000."""
    parts = _within(value, int(numbers.permil(value)))
    return f"{parts // 10}.{parts % 10}%"


def _within(value: object, amount: int) -> int:
    if amount > LONGEST:
        raise ValueError(f"{shown(value)} is out of bounds; write less")
    return amount
