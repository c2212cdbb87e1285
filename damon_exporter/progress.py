"""How far something that takes long has come."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Self, TypeVar

import click

from damon_exporter.terminal import CLEAR_LINE, understands_codes

ItemT = TypeVar("ItemT")


class Progress:
    """A line on stderr that says how far something has come, if that is a terminal; leaving the context clears it."""

    EVERY_SECONDS = 0.1

    def __init__(self) -> None:
        self._seen = understands_codes(sys.stderr)
        self._due = 0.0

    def snapshots(self, count: int) -> None:
        """Say how many there are now."""
        self(f"{count} snapshots")

    def through(self, items: Sequence[ItemT], what: str) -> Iterator[ItemT]:
        """Yield each, and say which one it is: of the first at once, as what was said before is over."""
        self._due = 0.0
        for number, item in enumerate(items, 1):
            self(f"{what} {number} of {len(items)}")
            yield item

    def __call__(self, text: str) -> None:
        """Show how far it is now."""
        if self._seen and (now := time.monotonic()) >= self._due:
            click.echo(CLEAR_LINE + text, nl=False, err=True)
            self._due = now + self.EVERY_SECONDS

    def clear(self) -> None:
        """Make room for a line of somebody else's."""
        if self._seen:
            click.echo(CLEAR_LINE, nl=False, err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
