"""Kinds of value that the file writes as text: how each is parsed, and what an editor is told about it."""

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
    SIZE_PATTERN,
    parse_address,
    parse_duration,
    parse_ratio,
    parse_size,
    shown,
)

# Page-aligning a higher end would overflow in the kernel, and no 64-bit kernel has memory above.
HIGHEST_ADDRESS = 1 << 63

NAME_CHARACTERS = 63
MODULES = frozenset({"damon_stat", "damon_reclaim", "damon_lru_sort"})


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


def _range(value: object) -> tuple[int, int]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"{shown(value)} is not a range; write [start, end], such as [4GiB, 8GiB]")
    start, end = parse_address(value[0]), parse_address(value[1])
    if start >= end:
        raise ValueError(f"the start {start:#x} is not below the end {end:#x}; the end is exclusive")
    if end > HIGHEST_ADDRESS:
        raise ValueError(f"the end {end:#x} is above every address; the most is {HIGHEST_ADDRESS:#x}")
    return start, end


def _monitor_name(value: object) -> str:
    name = printable_text(value, NAME_CHARACTERS)
    if name in MODULES or re.fullmatch(r"sysfs[0-9]+", name):
        raise ValueError(f"{shown(name)} names a kdamond that is not ours; choose another name")
    return name


def _band_name(value: object) -> str:
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
_NAME_SCHEMA = {"type": "string", "minLength": 1, "maxLength": NAME_CHARACTERS}

RATIO = Written(lambda value: float(parse_ratio(value)), _RATIO_SCHEMA)
BASIS_POINTS = Written(_basis_points, _RATIO_SCHEMA)
SIZE = Written(parse_size, _SIZE_SCHEMA)
RANGE = Written(_range, {"type": "array", "items": _ADDRESS_SCHEMA, "minItems": 2, "maxItems": 2})
MONITOR_NAME = Written(_monitor_name, _NAME_SCHEMA)
BAND_NAME = Written(_band_name, _NAME_SCHEMA)
ARGUMENT = Written(_argument, {"type": "string"})
