"""Patterns for command lines, cgroup paths and names, matched in linear time whatever the pattern and the text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from damon_exporter.units import shown

# Bytes for the automaton of one expression, and its states, each of which a character may cost a step. Of the
# expressions that were made for it the worst took 80 ms for 4096 bytes of text; ordinary ones take 2 to 10 us.
MOST_MEMORY = 1 << 18
MOST_INSTRUCTIONS = 4096

_TOKEN = re.compile(r"\[(?P<negated>!?+)(?P<set>\]?+[^\]]*)\]|(?P<one>.)", re.DOTALL)
_IN_SET = re.compile(r"(.)-(.)|(.)", re.DOTALL)


class _Match(Protocol):
    def end(self) -> int: ...


class _Expression(Protocol):
    """What is used of the library's compiled expressions, which come without types."""

    programsize: int

    def fullmatch(self, text: str) -> _Match | None: ...

    def match(self, text: str) -> _Match | None: ...


@dataclass(frozen=True, slots=True)
class CommandPattern:
    """A regular expression of a whole command line, its words joined by one space.

    The language is RE2's. As in Prometheus the whole text must match, and ``.`` matches a newline too. As in Go each
    byte that is no UTF-8 (which Python reads as a lone surrogate) counts as the character U+FFFD, so that ``.`` matches
    it and nobody gets out of the way of ``postgres.*`` with such a byte. Raises ValueError if ``text`` is no expression
    or too large a one.
    """

    text: str
    _expression: _Expression = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_expression", _compiled(self.text, self.text))

    def fullmatch(self, text: str) -> bool:
        """Does the whole of the text match?"""
        return self._expression.fullmatch(_characters(text)) is not None


@dataclass(frozen=True, slots=True)
class CgroupGlob:
    r"""A glob of cgroup paths, which begin with / at the root of the hierarchy.

    ``*``, ``?``, ``[abc]``, ``[a-z]`` and ``[!abc]`` never match a /. ``**`` between slashes is any number of levels,
    none too; at the end it is at least one. A backslash is an ordinary character, because systemd escapes with it
    (``\x2d``). Bytes that are no UTF-8 count as in `CommandPattern`. Raises ValueError with cause and cure.
    """

    text: str
    _expression: _Expression = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Ends where a level does; ** takes as many levels as it can, so that the match found is the deepest.
        object.__setattr__(self, "_expression", _compiled(_path_expression(self.text) + "/", self.text))

    def deepest(self, path: str) -> str | None:
        """Return the deepest of the path and the cgroups above it that matches, None if none does; never the root."""
        found = self._expression.match(_characters(path) + "/")
        return path[: found.end() - 1] if found else None


@dataclass(frozen=True, slots=True)
class NameGlob:
    """A glob of a name without slashes, with ``*``, ``?`` and sets as in `CgroupGlob`.

    The empty name is that of something unknown or of nothing, and matches no glob, not even ``*``.
    """

    text: str
    _expression: _Expression = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_expression", _compiled(_name_expression(self.text), self.text))

    def matches(self, name: str) -> bool:
        """Does the whole name match?"""
        return bool(name) and self._expression.fullmatch(_characters(name)) is not None


def _characters(text: str) -> str:
    """Put U+FFFD in the place of each surrogate, so that there is UTF-8 for it and positions stay."""
    return text if text.isascii() else re.sub("[\ud800-\udfff]", "\ufffd", text)


def _compiled(expression: str, written: str) -> _Expression:
    """Compile what ``written`` stands for."""
    import re2  # type: ignore[import-untyped]  # imported late: 4 ms and 3 MiB that most configurations do not need

    options = re2.Options()
    options.max_mem = MOST_MEMORY
    options.log_errors = False
    options.never_capture = True
    options.dot_nl = True
    try:
        compiled: _Expression = re2.compile(expression, options)
    except re2.error as error:
        raise ValueError(_refusal(written, error.args[0].decode(errors="replace"))) from None
    if compiled.programsize > MOST_INSTRUCTIONS:
        raise ValueError(_refusal(written, "too large"))
    return compiled


def _refusal(written: str, reason: str) -> str:
    """Say what RE2 did not like, and where if that can be told: it quotes the place, but does not count."""
    cause, _, place = reason.partition(": ")
    if "too large" in cause:
        return f"{shown(written)} is too large a pattern; repeat less, or write several entries"
    if place and place != written:
        cause += f" {shown(place)}" + (f" at position {written.index(place) + 1}" if written.count(place) == 1 else "")
    return f"{shown(written)} is no regular expression: {cause}; it is written in RE2 syntax, as in Prometheus"


def _path_expression(glob: str) -> str:
    first, *levels = glob.split("/")
    if first or not levels:
        raise ValueError(f"{shown(glob)} does not begin with /; write the path from the root of the cgroup hierarchy")
    if "" in levels:
        raise ValueError(f"{shown(glob)} has a / at its end or two together; leave it out, and write /** for all")
    *upper, last = levels
    return "".join(_level_expression(level, "*", glob) for level in upper) + _level_expression(last, "+", glob)


def _level_expression(level: str, times: str, glob: str) -> str:
    if level == "**":
        return f"(?:/[^/]+){times}"
    if "**" in level:
        raise ValueError(
            f"{shown(glob)} has ** beside other characters; let it stand alone between slashes, or write *"
        )
    return "/[^/]+" if level == "*" else "/" + _name_expression(level)


def _name_expression(glob: str) -> str:
    return "".join(_token_expressions(glob))


def _token_expressions(glob: str) -> Iterator[str]:
    for token in _TOKEN.finditer(glob):
        match token["one"]:
            case "*":
                yield "[^/]*"
            case "?":
                yield "[^/]"
            case "[":
                raise ValueError(f"{shown(glob)} has a [ without its ]; write [[] for the character itself")
            case None if token["negated"]:
                yield f"[^/{_set(token['set'], glob)}]"
            case None:
                yield f"[{_set(token['set'], glob)}]"
            case character:
                yield _literal(character)


def _set(members: str, glob: str) -> str:
    """Write out a set, without the / that may lie in a range."""
    ranges = []
    for member in _IN_SET.finditer(members):
        low, high = (member[1], member[2]) if member[1] else (member[3], member[3])
        if low > high:
            raise ValueError(f"{shown(glob)} has a range that ends before it begins: {low}-{high}; exchange the two")
        parts = [(low, "."), ("0", high)] if low < "/" < high else [(low, high)]
        ranges += [f"{_literal(start)}-{_literal(end)}" for start, end in parts]
    return "".join(ranges)


def _literal(character: str) -> str:
    return character if character.isascii() and character.isalnum() else f"\\x{{{ord(character):x}}}"
