"""One value, one system call: how files of sysfs, tracefs and procfs are read and written."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from damon_exporter.kernel.errors import Busy, Rejected, explain

LARGEST_FILE = 1 << 20
BUSY_DELAYS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
"""Waits (s) between tries on EBUSY: another tool's command usually takes milliseconds."""

Check = Callable[[], None]
"""Raises `KernelError` if a write must not be tried (any more)."""


def unchecked() -> None:
    """The check of what may be written in any case."""


def is_there(path: Path | str) -> bool:
    """Is there such a file, and may we look? Unlike `Path.exists`, a forbidden folder on the way is just a no."""
    return os.access(path, os.F_OK, effective_ids=True)


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder; raises `KernelError`."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - of the thousands of processes, blocks or regions only names are wanted
    except OSError as error:
        raise explain(error, "list", folder) from error


def read_value(path: Path | str) -> str:
    """Return a file's text without surrounding white space; raises `KernelError`."""
    return read_text(path).strip()


def read_text(path: Path | str, most: int = LARGEST_FILE) -> str:
    """Return a file's text, at most so many bytes of it, as it is; raises `KernelError`.

    Bytes that are no UTF-8 become lone surrogates.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, most).decode(errors="surrogateescape")
        finally:
            os.close(fd)
    except OSError as error:
        raise explain(error, "read", path) from error


def read_number(path: Path | str, base: int = 10) -> int:
    """Return a file's number; raises `KernelError`, also if it is none."""
    text = read_value(path)
    try:
        return int(text, base)
    except ValueError as error:
        raise Rejected(f"{path} reads {text!r}, which is no number") from error


def write_value(path: Path | str, value: object) -> None:
    """Write one value with one write(2); raises `KernelError`."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise explain(error, f"write '{value}' to", path) from error


def patiently_read(path: Path | str) -> str:
    """Read a file that answers EBUSY while a command of anybody's is under way."""
    for delay in BUSY_DELAYS:
        try:
            return read_value(path)
        except Busy:
            time.sleep(delay)
    return read_value(path)


def patiently_write(path: Path | str, value: object, check: Check = unchecked) -> None:
    """Write a file that answers EBUSY while a command of anybody's is under way.

    ``check`` is called right before every try: EBUSY means that somebody else gives commands, too.
    """
    for delay in BUSY_DELAYS:
        check()
        try:
            return write_value(path, value)
        except Busy:
            time.sleep(delay)
    check()
    return write_value(path, value)
