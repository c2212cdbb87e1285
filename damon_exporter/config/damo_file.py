"""A file of damo's parameters, as ``damo args damon`` writes it, as entries of ``monitors``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from damon_exporter.config import reading
from damon_exporter.config.damo_parameters import monitor
from damon_exporter.config.damo_parts import Found, Part, separate
from damon_exporter.config.fields import Place
from damon_exporter.config.messages import ConfigError
from damon_exporter.units import shown

LARGEST_FILE = 1 << 20
MOST_VALUES = 50_000
"""More than in our own file: damo writes every value, about 100 for each scheme."""

LONGEST_NUMBER = 40


@dataclass(frozen=True, slots=True)
class DamoFile:
    """``monitors`` as our file would have them; for each, what place in damo's file each place in it comes from.

    ``name`` is the file as the configuration names it. ``problems`` are places in it, and what is wrong there.
    """

    name: str
    monitors: Sequence[Mapping[str, object]] = ()
    origins: Sequence[Mapping[Place, str]] = ()
    problems: Found = field(default_factory=list)

    def place(self, index: int, within: Place) -> str:
        """Return the place in damo's file of something within one of the monitors."""
        origins = self.origins[index]
        known = next(within[:length] for length in range(len(within), -1, -1) if within[:length] in origins)
        return origins[known]

    def is_told(self, place: str) -> bool:
        """Is something wrong there, or below, already among ``problems``?"""
        return any(told == place or told.startswith((f"{place}.", f"{place}[")) for told, _ in self.problems)

    def line(self, place: str, text: str) -> str:
        """Return a problem in one line."""
        return f"{self.name}: {place}: {text}" if place else f"{self.name}: {text}"


def read_damo_file(name: Path, folder: Path) -> DamoFile:
    """Return what a file asks for; a relative ``name`` begins at ``folder``. What is wrong is among its problems."""
    try:
        root = _parsed(reading.read_text(folder / name, "monitors_from", largest=LARGEST_FILE), name)
    except ConfigError as error:
        return DamoFile(str(name), problems=[("", text) for text in error.problems])
    return _translated(root, str(name))


def _translated(root: object, name: str) -> DamoFile:
    problems: Found = []
    whole = Part(root, "", ("kdamonds",), problems)
    kdamonds = whole.entries("kdamonds") or []
    placed = [monitor(kdamond, place, f"kdamond{i}", problems) for i, (place, kdamond) in enumerate(kdamonds)]
    separated = [separate(each) for each in placed if each]
    return DamoFile(
        name,
        [plain for plain, _ in separated],
        [origins for _, origins in separated],
        list(dict.fromkeys(problems)),
    )


def _parsed(text: str, name: Path) -> Any:
    """JSON, unless the name or the beginning says that it is YAML: damo, too, goes by the name."""
    if name.suffix == ".yaml" or not text.lstrip().startswith("{"):
        return reading.parse_any(text, MOST_VALUES)
    try:
        return json.loads(text, object_pairs_hook=_keys, parse_int=_integer, parse_constant=str)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ConfigError([f"{place}: not JSON: {error.msg}"]) from error
    except RecursionError as error:
        raise ConfigError(["nested too deep; is this a file of damo's parameters?"]) from error


def _keys(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """As from YAML: a key without a value counts as left out, and none may stand twice."""
    keys: dict[str, object] = {}
    for key, value in pairs:
        if key in keys:
            raise ConfigError([f"{shown(key)} stands twice among the same keys; remove one of them"])
        keys[key] = value
    return {key: value for key, value in keys.items() if value is not None}


def _integer(digits: str) -> int | str:
    """What no file of the kernel takes stays text, and is refused as such: it may have millions of digits."""
    return int(digits) if len(digits) <= LONGEST_NUMBER else digits
