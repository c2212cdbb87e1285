"""What a PromQL expression is made of, as Prometheus itself parses it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Node = dict[str, Any]

SELECTORS = ("vectorSelector", "matrixSelector")


@dataclass(frozen=True)
class Selector:
    """A metric, and the matchers of its labels as PromQL has them."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]

    @property
    def labels(self) -> set[str]:
        """The labels that it asks for."""
        return {label for label, _, _ in self.matchers}

    def __str__(self) -> str:
        inner = ", ".join(f"{label}{operator}{quoted(value)}" for label, operator, value in self.matchers)
        return f"{self.metric}{{{inner}}}"


def quoted(value: str) -> str:
    """A string of PromQL."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def selectors(tree: Node) -> list[Selector]:
    """Every selector of an expression, without its range and offset."""
    found = []
    for node in nodes(tree):
        if node.get("type") in SELECTORS:
            matchers = tuple(
                (matcher["name"], matcher["type"], matcher["value"])
                for matcher in node["matchers"]
                if matcher["name"] != "__name__"
            )
            found.append(Selector(node["name"], matchers))
    return found


def joined_labels(tree: Node) -> set[str]:
    """The labels by which it aggregates and matches."""
    found: set[str] = set()
    for node in nodes(tree):
        matching = node.get("matching") or {}
        found |= {*node.get("grouping", ()), *matching.get("labels", ()), *matching.get("include", ())}
    return found


def made_labels(tree: Node) -> set[str]:
    """Those that `label_replace` makes."""
    calls = (node for node in nodes(tree) if node.get("type") == "call" and node["func"]["name"] == "label_replace")
    return {call["args"][1]["val"] for call in calls}


def nodes(tree: Any) -> Iterator[Node]:
    """The expression and every part of it."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes(value)
