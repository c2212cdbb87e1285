"""Reading what stands in a file of damo's, and remembering where it stood."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from damon_exporter.config.fields import Place
from damon_exporter.config.messages import word
from damon_exporter.config.near_match import nearest
from damon_exporter.units import shown

T = TypeVar("T")

Found = list[tuple[str, str]]
"""What is wrong: the place in damo's file, and the cause with its cure."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A value of our configuration, in which there may be more of these, and the place in damo's file it comes from."""

    value: Any
    place: str


def separate(value: Any, at: Place = ()) -> tuple[Any, dict[Place, str]]:
    """Return the plain value, and for each place in it the one in damo's file."""
    if isinstance(value, Placed):
        plain, origins = separate(value.value, at)
        return plain, {at: value.place} | origins
    if isinstance(value, dict):
        below = {key: separate(each, (*at, key)) for key, each in value.items()}
        return {key: plain for key, (plain, _) in below.items()}, _united(origins for _, origins in below.values())
    if isinstance(value, list):
        entries = [separate(each, (*at, i)) for i, each in enumerate(value)]
        return [plain for plain, _ in entries], _united(origins for _, origins in entries)
    return value, {}


def _united(parts: Iterable[dict[Place, str]]) -> dict[Place, str]:
    return {place: origin for part in parts for place, origin in part.items()}


def given(**keys: Placed | None) -> dict[str, Placed]:
    """Return the keys that there is something for."""
    return {key: placed for key, placed in keys.items() if placed is not None}


def listed(entries: Sequence[Placed], place: str) -> Placed | None:
    """Return a list, None for an empty one."""
    return Placed(list(entries), place) if entries else None


class Part:
    """Keys of damo's file that stand together. What is wrong with them goes to ``problems``, and reads as None.

    ``known`` are the keys that damo has there; any other is refused, though damo would overlook it.
    """

    def __init__(self, value: object, place: str, known: Collection[str], problems: Found) -> None:
        self.place = place
        self.problems = problems
        self._keys: Mapping[str, object] = value if isinstance(value, dict) else {}
        self._is_whole = isinstance(value, dict)
        if not self._is_whole:
            problems.append((place, f"takes keys with values, not {shown(value)}"))
        for key in self._keys:
            if key not in known:
                self.refuse(key, f"damo knows no such key, and overlooks it; {nearest(key, sorted(known), 'it knows')}")

    def at(self, key: str) -> str:
        """Return the place of a key."""
        return f"{self.place}.{word(key)}".removeprefix(".")

    def refuse(self, key: str, text: str) -> None:
        """Say what is wrong with a key."""
        self.problems.append((self.at(key), text))

    def has(self, key: str) -> bool:
        """Does the key stand there with a value?"""
        return key in self._keys

    def get(self, key: str, read: Callable[[object], T]) -> T | None:
        """Return what ``read`` makes of a value, None if there is none, or ``read`` has raised ValueError."""
        if key not in self._keys:
            return None
        try:
            return read(self._keys[key])
        except ValueError as error:
            self.refuse(key, str(error))
            return None

    def need(self, key: str, read: Callable[[object], T]) -> T | None:
        """Return the same of a key without which damo does not read the file."""
        if key not in self._keys and self._is_whole:
            self.refuse(key, "missing; damo itself does not read the file without it, so write it")
        return self.get(key, read)

    def placed(self, key: str, read: Callable[[object], object], needed: bool = True) -> Placed | None:
        """Return the same with its place; None also if ``read`` returns None."""
        value = self.need(key, read) if needed else self.get(key, read)
        return None if value is None else Placed(value, self.at(key))

    def part(self, key: str, known: Collection[str], needed: bool = True) -> "Part | None":
        """Return the keys below a key."""
        value = self.need(key, as_it_is) if needed else self.get(key, as_it_is)
        return None if value is None else Part(value, self.at(key), known, self.problems)

    def parts(self, key: str, known: Collection[str], needed: bool = False) -> "list[Part] | None":
        """Return the keys of each entry of a list."""
        entries = self.entries(key, needed)
        return None if entries is None else [Part(value, place, known, self.problems) for place, value in entries]

    def entries(self, key: str, needed: bool = True) -> list[tuple[str, object]] | None:
        """Return each entry of a list with its place."""
        values = self.need(key, _list) if needed else self.get(key, _list)
        return None if values is None else [(f"{self.at(key)}[{i}]", value) for i, value in enumerate(values)]


def text(value: object) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError(f"takes text, not {shown(value)}")
    return value


def as_it_is(value: object) -> object:
    """Anything."""
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"takes a list, not {shown(value)}")
    return value
