"""The streams that a command prints to, and whether there is a terminal behind them."""

import errno
import os
import sys
from typing import TextIO

import click

CLEAR_SCREEN = "\033[H\033[2J"
CLEAR_LINE = "\r\033[K"


class PrintError(Exception):
    """What was asked for cannot be printed; the message says why."""


def understands_codes(stream: TextIO | None) -> bool:
    """Is there a terminal with colours and a cursor? A stream that the shell has closed (`2>&-`) is None."""
    return stream is not None and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def print_text(text: str) -> None:
    """Print what was asked for, and its colours as they are. Raises `PrintError`."""
    if sys.stdout is None:
        raise PrintError("cannot print: standard output is closed")
    try:
        click.echo(text, color=True)
    except OSError as error:
        if error.errno == errno.EPIPE:  # a reader that has seen enough; click ends quietly then
            raise
        _give_up_stdout()
        raise PrintError(f"cannot print: {error.strerror or error}") from error


def _give_up_stdout() -> None:
    """What could not be printed is tried again when Python ends, and would fail again, with a traceback."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
