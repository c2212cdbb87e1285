"""Durations, sizes, addresses and ratios as people write them, parsed into what the kernel takes.

Every parser takes a value as YAML hands it over and raises ValueError with a cause and a cure.
Arithmetic is exact: a value that is not a whole number of microseconds or bytes is refused, not rounded.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

_NUMBER = r"[0-9]{1,18}(?:\.[0-9]{1,9})?"
_HEX = r"0x[0-9a-fA-F]{1,16}"
_SHOWN_CHARACTERS = 40

SIZE_MAX = 2**64 - 1


@dataclass(frozen=True, slots=True)
class _Quantity:
    """A number with a unit, counted in whole multiples of the smallest unit."""

    kind: str
    example: str
    counted_in: str
    units: Mapping[str, int]

    @property
    def pattern(self) -> str:
        return rf"({_NUMBER})({'|'.join(self.units)})"

    def parse(self, value: object) -> int:
        parts = re.fullmatch(self.pattern, value) if isinstance(value, str) else None
        if parts is None:
            raise ValueError(
                f"{shown(value)} is not {self.kind}; "
                f"write a number and one of {', '.join(self.units)}, such as {self.example}"
            )
        amount = Fraction(parts[1]) * self.units[parts[2]]
        if amount.denominator != 1:
            raise ValueError(f"{shown(value)} is not a whole number of {self.counted_in}; round it")
        return int(amount)


_DURATION = _Quantity(
    kind="a duration",
    example="30s",
    counted_in="microseconds",
    units={
        "us": 1,
        "ms": 1_000,
        "s": 1_000_000,
        "m": 60_000_000,
        "h": 3_600_000_000,
        "d": 86_400_000_000,
    },
)
_SIZE = _Quantity(
    kind="a size",
    example="16MiB",
    counted_in="bytes",
    units={
        "B": 1,
        "KiB": 1 << 10,
        "MiB": 1 << 20,
        "GiB": 1 << 30,
        "TiB": 1 << 40,
        # as damo writes them, also powers of 1024
        "K": 1 << 10,
        "M": 1 << 20,
        "G": 1 << 30,
    },
)

DURATION_PATTERN = rf"^{_DURATION.pattern}$"
SIZE_PATTERN = rf"^(?:{_SIZE.pattern}|max)$"
ADDRESS_PATTERN = rf"^(?:{_SIZE.pattern}|{_HEX})$"
RATIO_PATTERN = rf"^({_NUMBER})(%?)$"


def parse_duration(value: object) -> int:
    """Microseconds of a text like ``250ms``; the unit is required."""
    if _is_number(value):
        raise ValueError(f"{shown(value)} has no unit; write for example {shown(value)}s")
    return _DURATION.parse(value)


def parse_size(value: object) -> int:
    """Bytes of a text like ``16MiB``, a number of bytes, or ``max``, the most the kernel can hold."""
    if value == "max":
        return SIZE_MAX
    size = value if isinstance(value, int) and not isinstance(value, bool) else _SIZE.parse(value)
    if not 0 <= size <= SIZE_MAX:
        raise ValueError(f"{shown(value)} is out of bounds; a size lies between 0 and 2^64-1 bytes")
    return size


def parse_address(value: object) -> int:
    """An address in bytes, of a number, a hexadecimal text or a size such as ``4GiB``."""
    if isinstance(value, str) and re.fullmatch(_HEX, value):
        return int(value, 16)
    return parse_size(value)


def parse_ratio(value: object) -> Fraction:
    """A share of 1, of a text like ``25%`` or a number like 0.25; from 0 to 1 inclusive."""
    parts = re.fullmatch(RATIO_PATTERN, value) if isinstance(value, str) else None
    if parts is None and not _is_number(value):
        raise ValueError(f"{shown(value)} is not a ratio; write for example 25% or 0.25")
    ratio = Fraction(parts[1]) / (100 if parts[2] else 1) if parts else Fraction(str(value))
    if not 0 <= ratio <= 1:
        raise ValueError(f"{shown(value)} is not between 0% and 100%; without % a number is a share of 1")
    return ratio


def format_duration(microseconds: int) -> str:
    """The shortest exact text that ``parse_duration`` reads back: 90000000 gives ``90s``."""
    if microseconds == 0:
        return "0s"
    unit, length = max(
        ((unit, length) for unit, length in _DURATION.units.items() if microseconds % length == 0),
        key=lambda pair: pair[1],
    )
    return f"{microseconds // length}{unit}"


def shown(value: object) -> str:
    """A value of the configuration as a message quotes it: short, and in YAML's words."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "…")
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return "nothing" if value is None else str(value)


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)
