"""How far something that takes long has come."""

import sys
import time
from typing import Self

import click


class Progress:
    """A line on stderr that says how far something has come, if that is a terminal; leaving the context clears it."""

    EVERY_SECONDS = 0.1

    def __init__(self) -> None:
        self._seen = sys.stderr.isatty()
        self._due = 0.0

    def snapshots(self, count: int) -> None:
        """Say how many there are now."""
        self(f"{count} snapshots")

    def __call__(self, text: str) -> None:
        """Show how far it is now."""
        if self._seen and (now := time.monotonic()) >= self._due:
            click.echo(f"\r{text}", nl=False, err=True)
            self._due = now + self.EVERY_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._seen:
            click.echo("\r\033[K", nl=False, err=True)
