"""Kinds of value that the file writes as text: how each is parsed, and what an editor is told about it."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    GetPydanticSchema,
    Strict,
)
from pydantic_core import CoreSchema, core_schema

from damon_exporter.units import (
    ADDRESS_PATTERN,
    DURATION_PATTERN,
    RATIO_PATTERN,
    SIZE_MAX,
    SIZE_PATTERN,
    parse_address,
    parse_duration,
    parse_ratio,
    parse_size,
    shown,
)

# Page-aligning a higher end would overflow in the kernel, and no 64-bit kernel has memory above.
HIGHEST_ADDRESS = 1 << 63

LARGEST_COUNT = 2**32 - 1
"""The kernel keeps nr_accesses and age in 32 bits."""

NAME_CHARACTERS = 63
MODULES = frozenset({"damon_stat", "damon_reclaim", "damon_lru_sort"})


Place = tuple[int | str, ...]
"""Keys and indexes that lead to a value."""


class Problems(ValueError):
    """Several things that are wrong below one key: where, as the rest of the way, and what with its cure."""

    def __init__(self, found: Sequence[tuple[Place, str]]) -> None:
        super().__init__("; ".join(text for _, text in found))
        self.found = found


Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict()]


class Section(BaseModel):
    """Keys that stand together; defaults go through the same parsing as what stands in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def as_written(default: object) -> Any:
    """A default as it would stand in the file, whatever type the field has once it is parsed."""
    return default


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """Metadata of a field: ``parse`` reads what stands in the file, ``schema`` is its JSON Schema."""

    parse: Callable[[object], object]
    schema: Mapping[str, object]

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, _core: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(self.schema)


def converted(written: object, convert: Callable[[Any], object]) -> GetPydanticSchema:
    """Metadata of a field that stands in the file as the type ``written``, and is ``convert`` of it here."""
    return GetPydanticSchema(
        lambda _source, handler: core_schema.no_info_after_validator_function(convert, handler(written))
    )


def microseconds(least: str, most: str) -> Written:
    """A duration as the kernel takes it: an int of microseconds within the bounds."""
    return Written(_duration(least, most), _duration_schema(least, most))


def seconds(least: str, most: str) -> Written:
    """A duration as a float of seconds within the bounds."""
    parse = _duration(least, most)
    return Written(lambda value: parse(value) / 1_000_000, _duration_schema(least, most))


def milliseconds(least: str, most: str) -> Written:
    """A duration as an int of milliseconds within the bounds; finer ones are refused."""
    return Written(_milliseconds(least, most), _duration_schema(least, most))


def milliseconds_or_max(least: str, most: str) -> Written:
    """The same, or ``max``, the most that a file of the kernel can hold."""
    parse, schema = _milliseconds(least, most), _duration_schema(least, most)
    return Written(
        lambda value: SIZE_MAX if value == "max" else parse(value), {**schema, "pattern": f"{DURATION_PATTERN}|^max$"}
    )


def _milliseconds(least: str, most: str) -> Callable[[object], int]:
    parse = _duration(least, most)

    def whole(value: object) -> int:
        milliseconds, rest = divmod(parse(value), 1000)
        if rest:
            raise ValueError(f"{shown(value)} is not a whole number of milliseconds; round it")
        return milliseconds

    return whole


def _duration(least: str, most: str) -> Callable[[object], int]:
    low, high = parse_duration(least), parse_duration(most)

    def parse(value: object) -> int:
        duration = parse_duration(value)
        if duration < low:
            raise ValueError(f"{shown(value)} is too short; the least is {least}")
        if duration > high:
            raise ValueError(f"{shown(value)} is too long; the most is {most}")
        return duration

    return parse


def _duration_schema(least: str, most: str) -> dict[str, object]:
    return {"type": "string", "pattern": DURATION_PATTERN, "title": f"duration from {least} to {most}"}


def ascending(values: Sequence[float]) -> Sequence[float]:
    """Refuse values that do not grow from one to the next."""
    for before, after in pairwise(values):
        if after <= before:
            raise ValueError(f"{after:g} does not come after {before:g}; sort the values, each once")
    return values


def _basis_points(value: object) -> int:
    """DAMON counts this goal in 1/10000, and 6.15 divides by it: CVE-2025-38519."""
    points = parse_ratio(value) * 10_000
    if points < 1 or points.denominator != 1:
        raise ValueError(f"{shown(value)} is not a multiple of 0.01% above 0; round it")
    return int(points)


def _permil(value: object) -> int:
    parts = parse_ratio(value) * 1000
    if parts.denominator != 1:
        raise ValueError(f"{shown(value)} is not a multiple of 0.1%; round it")
    return int(parts)


def bounds_of(written: Written, example: str) -> Written:
    """Two values [min, max], both inclusive, each as ``written`` reads it."""
    read: Callable[[object], Any] = written.parse

    def parse(value: object) -> object:
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise ValueError(f"{shown(value)} is not two bounds; write [min, max], such as {example}")
        least, most = read(value[0]), read(value[1])
        if most < least:
            raise ValueError(f"min, {shown(value[0])}, is above max, {shown(value[1])}; exchange the two")
        return least, most

    return Written(parse, {"type": "array", "items": dict(written.schema), "minItems": 2, "maxItems": 2})


def _range(value: object) -> tuple[int, int]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"{shown(value)} is not a range; write [start, end], such as [4GiB, 8GiB]")
    start, end = parse_address(value[0]), parse_address(value[1])
    if start >= end:
        raise ValueError(f"the start {start:#x} is not below the end {end:#x}; the end is exclusive")
    return start, end


def _range_of_memory(value: object) -> tuple[int, int]:
    start, end = _range(value)
    if end > HIGHEST_ADDRESS:
        raise ValueError(f"the end {end:#x} is above every address; the most is {HIGHEST_ADDRESS:#x}")
    return start, end


def ascending_ranges(ranges: Sequence[tuple[int, int]] | None) -> None:
    """Refuse ranges that the kernel would: those that overlap, or are not sorted."""
    for before, after in pairwise(ranges or ()):
        if after[0] < before[1]:
            raise ValueError(
                f"{after[0]:#x} stands after a range that ends at {before[1]:#x}; "
                "sort the ranges and join those that overlap"
            )


def _addr_unit(value: object) -> int:
    unit = parse_size(value)
    if unit.bit_count() != 1:
        raise ValueError(f"{shown(value)} is not a power of two; write for example 1, 4096 or 4KiB")
    return unit


def _monitor_name(value: object) -> str:
    name = printable_text(value, NAME_CHARACTERS)
    if name in MODULES or re.fullmatch(r"sysfs[0-9]+", name):
        raise ValueError(f"{shown(name)} names a kdamond that is not ours; choose another name")
    return name


def _name(value: object) -> str:
    return printable_text(value, NAME_CHARACTERS)


def printable_text(value: object, longest: int) -> str:
    """Refuse what is no text, holds nothing or more than ``longest`` characters, or does not show what it is."""
    if not isinstance(value, str):
        raise ValueError(f"takes text, not {shown(value)}; put it in quotes")
    if not value.strip() or not value.isprintable() or len(value) > longest:
        raise ValueError(f"{shown(value)} cannot be used; write 1 to {longest} printable characters")
    return value


def _argument(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"takes text, not {shown(value)}; put it in quotes")
    if "\0" in value:
        raise ValueError(f"{shown(value)} holds a zero byte, which no program can be given; remove it")
    return value


def _duration_or_max(value: object) -> float:
    return math.inf if value == "max" else parse_duration(value)


def _count_or_max(value: object) -> int:
    if value == "max":
        return LARGEST_COUNT
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not a count; write a whole number, or max")
    if not 0 <= value <= LARGEST_COUNT:
        raise ValueError(f"{shown(value)} is out of bounds: the kernel keeps 32 bits, so 0 to {LARGEST_COUNT}")
    return value


_RATIO_SCHEMA = {
    "title": "ratio such as 25% or 0.25",
    "type": ["string", "number"],
    "pattern": RATIO_PATTERN,
    "minimum": 0,
    "maximum": 1,
}
_SIZE_SCHEMA = {
    "title": "size such as 16MiB, or bytes",
    "type": ["string", "integer"],
    "pattern": SIZE_PATTERN,
    "minimum": 0,
}
_ADDRESS_SCHEMA = {
    "title": "address such as 0x100000000 or 4GiB",
    "type": ["string", "integer"],
    "pattern": ADDRESS_PATTERN,
    "minimum": 0,
    "maximum": HIGHEST_ADDRESS,
}
_RANGE_SCHEMA = {"type": "array", "items": _ADDRESS_SCHEMA, "minItems": 2, "maxItems": 2}
_NAME_SCHEMA = {"type": "string", "minLength": 1, "maxLength": NAME_CHARACTERS}

RATIO = Written(lambda value: float(parse_ratio(value)), _RATIO_SCHEMA)
EXACT_RATIO = Written(parse_ratio, _RATIO_SCHEMA)
BASIS_POINTS = Written(_basis_points, _RATIO_SCHEMA)
PERMIL = Written(_permil, _RATIO_SCHEMA)
SIZE = Written(parse_size, _SIZE_SCHEMA)
DURATION_OR_MAX = Written(_duration_or_max, {"type": "string", "pattern": f"{DURATION_PATTERN}|^max$"})
COUNT_OR_MAX = Written(
    _count_or_max, {"type": ["integer", "string"], "minimum": 0, "maximum": LARGEST_COUNT, "pattern": "^max$"}
)
RANGE = Written(_range_of_memory, _RANGE_SCHEMA)
# No rounding in a filter, so what ends at the last address is right.
RANGE_OR_MAX = Written(
    _range,
    {
        **_RANGE_SCHEMA,
        "items": {**_ADDRESS_SCHEMA, "pattern": f"{ADDRESS_PATTERN}|^max$", "maximum": SIZE_MAX},
    },
)
ADDR_UNIT = Written(_addr_unit, {**_SIZE_SCHEMA, "minimum": 1})
MONITOR_NAME = Written(_monitor_name, _NAME_SCHEMA)
BAND_NAME = Written(_name, _NAME_SCHEMA)
SCHEME_NAME = Written(_name, _NAME_SCHEMA)
ARGUMENT = Written(_argument, {"type": "string"})
