"""What is wrong with a configuration, one line per problem: path, cause, cure."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import ValidationError

from damon_exporter.config.fields import Place, Problems
from damon_exporter.config.json_schema import Schema, keys_at, schema
from damon_exporter.config.near_match import nearest
from damon_exporter.units import shown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# Keys of the documented configuration whose function this version does not have.
UNAVAILABLE = frozenset(
    {
        "export.addresses",
    }
)

# By pydantic's names of what went wrong; the fields are those of its context, and the value that was given.
_TEXTS = {
    "missing": "missing; it has no default, so write it",
    "model_type": "takes keys with values, not {given}",
    "dict_type": "takes keys with values, not {given}",
    "tuple_type": "takes a list such as [a, b], not {given}",
    "frozen_set_type": "takes a list such as [a, b], not {given}",
    "bool_type": "takes true or false, not {given}",
    "int_type": "takes a whole number, not {given}",
    "string_type": "takes text, not {given}; put it in quotes",
    "greater_than_equal": "{given} is too small; the least is {ge}",
    "less_than_equal": "{given} is too large; the most is {le}",
    "too_short": "is empty; give at least {min_length}, or leave the key out",
    "too_long": "has more than {max_length} entries; that is the most",
}


class ConfigError(ValueError):
    """The configuration cannot be used; ``problems`` are lines for people, each with its cure."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def problems(error: ValidationError, whole: Schema | None = None) -> list[tuple[Place, str]]:
    """What pydantic found: where, and what with its cure. ``whole`` is the schema of the file, unless the usual one."""
    found = error.errors(include_url=False)
    known = whole or schema()
    return [problem for detail in found if not _is_consequence(detail) for problem in _problems(detail, known)]


def path(location: Sequence[int | str]) -> str:
    """A place in the file as people write it: ``monitors[0].regions.min``."""
    places = (step for step in location if step != "[key]")  # pydantic's mark of what is wrong with the key before it
    steps = (f"[{step}]" if isinstance(step, int) else f".{word(step)}" for step in places)
    return "".join(steps).removeprefix(".")


def word(key: str) -> str:
    """A key as a message shows it: in quotes and cut short unless it is short and plain."""
    return key if re.fullmatch(r"[!-~]{1,40}", key) else shown(key)


def _problems(detail: "ErrorDetails", known: Schema) -> list[tuple[Place, str]]:
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, Problems):
        return [((*detail["loc"], *rest), text) for rest, text in cause.found]
    return [(detail["loc"], _cause(detail, known))]


def _is_consequence(error: "ErrorDetails") -> bool:
    """Pydantic calls a list too short also when it left out entries because they are wrong."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def _cause(error: "ErrorDetails", known: Schema) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(error["loc"], known)
    if kind == "literal_error":
        return _unknown_word(error["input"], context["expected"])
    if kind == "value_error":
        return str(context["error"])
    text = _TEXTS.get(kind, "{given} cannot stand here")
    return text.format(given=shown(error["input"]), **context)


def _unknown_key(location: Sequence[int | str], known: Schema) -> str:
    *parents, key = location
    if re.sub(r"\[[0-9]+\]", "[]", path(location)) in UNAVAILABLE:
        return "not available in this version"
    return f"unknown key; {nearest(str(key), keys_at(parents, known), 'known here')}"


def _unknown_word(given: object, expected: str) -> str:
    words = re.findall(r"'([^']+)'", expected)
    return f"{shown(given)} is not known; {nearest(str(given), words, 'choose one of')}"
