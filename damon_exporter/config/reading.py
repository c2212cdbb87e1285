"""From a YAML file to plain dictionaries, lists, texts and numbers.

The words are those of YAML 1.2's core schema, so that ``no`` is a text and 010 not an octal number; PyYAML's
own loader follows 1.1. Duplicate keys, tags and aliases that unfold without bound are refused. A key without
a value counts as left out.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from damon_exporter.config.messages import ConfigError
from damon_exporter.units import shown

LARGEST_FILE = 1 << 18
MOST_VALUES = 10_000
DEEPEST = 32

_TEXT, _LIST, _MAPPING = "tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"
_NULL = ("", "~", "null", "Null", "NULL")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = r"[-+]?[0-9]{1,30}"
_HEX = r"0x[0-9a-fA-F]{1,30}"
_FLOAT = r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?"


def read(path: Path) -> dict[str, object]:
    """The keys of a configuration file; ConfigError if it cannot be read."""
    return parse(read_text(path, "--config.file", f"{path}: "))


def read_text(path: Path, named_by: str, prefix: str = "", largest: int = LARGEST_FILE) -> str:
    """The text of a file; ConfigError, whose problems begin with ``prefix``, if it cannot be read or is too large."""
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError as error:
        raise ConfigError([f"{prefix}cannot be read: {error.strerror}; check {named_by}"]) from error
    if len(content) > largest:
        raise ConfigError([f"{prefix}larger than {largest >> 10}KiB; is this the right file?"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([f"{prefix}not UTF-8 at byte {error.start}; save it as UTF-8"]) from error


def parse(text: str, such_as: str = "monitors: []") -> dict[str, object]:
    """The keys of a configuration text; ConfigError with line and column if it is not good YAML.

    ``such_as`` is what somebody is told to write who has written no keys.
    """
    value = parse_any(text, MOST_VALUES)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError([f"the configuration: must be keys with values, such as {such_as}"])
    return value


def parse_any(text: str, most_values: int) -> object:
    """What a YAML text holds, None for nothing; ConfigError with line and column if it is not good YAML."""
    try:
        _refuse_boundless(yaml.parse(text, Loader=yaml.BaseLoader), most_values)
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ConfigError([_syntax_problem(error)]) from error
    document = _Document()
    value = document.value(root) if root else None
    if document.problems:
        raise ConfigError(list(dict.fromkeys(document.problems)))
    return value


class _Document:
    """Turns nodes into values and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def value(self, node: yaml.Node) -> object:
        if node.tag not in {_TEXT, _LIST, _MAPPING}:
            self._problem(node, f"the tag {node.tag} means nothing here; remove it")
        if isinstance(node.value, str) and re.search("[\ud800-\udfff]", node.value):
            self._problem(node, "half of a surrogate pair is no character; write it as \\U and 8 digits")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(entry) for entry in node.value]
        return _plain(node.value) if isinstance(node, yaml.ScalarNode) and not node.style else node.value

    def _mapping(self, node: yaml.MappingNode) -> dict[str, object]:
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, "a key must be a word; put quotes around text with braces")
                continue
            self.value(key_node)
            key = str(key_node.value)
            if key in values:
                self._problem(key_node, f"{shown(key)} stands here a second time; remove one of them")
            values[key] = self.value(value_node)
        return {key: value for key, value in values.items() if value is not None}

    def _problem(self, node: yaml.Node, text: str) -> None:
        self.problems.append(f"{_place(node.start_mark)}: {text}")


def _plain(text: str) -> object:
    """What a word without quotes stands for."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if re.fullmatch(_HEX, text):
        return int(text, 16)
    if re.fullmatch(_INT, text) and not re.match(r"[-+]?0[0-9]", text):
        return int(text)
    return float(text) if re.fullmatch(_FLOAT, text) and not re.fullmatch(_INT, text) else text


def _refuse_boundless(events: Iterable[yaml.Event], most_values: int) -> None:
    """Aliases may repeat values, but not unfold into more than so many, nor into themselves.

    Works on events because these come without recursion, whatever the depth.
    """
    unfolded: dict[str, int] = {}
    around: list[tuple[str | None, int]] = []
    count = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            around.append((event.anchor, count))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = around.pop()
            if anchor:
                unfolded[anchor] = count - before
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in around):
                raise _boundless(event, f"{shown(event.anchor)} stands within itself; write the value out")
            count += unfolded.get(str(event.anchor), 0)
        count += 1
        if len(around) > DEEPEST:
            raise _boundless(event, f"nested more than {DEEPEST} deep; nothing here needs that")
        if count > most_values:
            raise _boundless(event, f"more than {most_values} values with the aliases unfolded; use fewer")


def _boundless(event: yaml.Event, text: str) -> ConfigError:
    return ConfigError([f"{_place(event.start_mark)}: {text}"])


def _syntax_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        cause = ": ".join(text for text in (error.context, error.problem) if text)
        return f"{_place(error.problem_mark)}: {cause}"
    return f"not YAML: {str(error).splitlines()[0]}; remove what is there"


def _place(mark: Any) -> str:
    # Any: the stubs allow None, which PyYAML never gives for what it read from a text
    return f"line {mark.line + 1}, column {mark.column + 1}"
