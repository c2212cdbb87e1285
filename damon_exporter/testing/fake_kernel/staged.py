"""Reads what users have written to the files of a folder, as far as this kernel has them."""

from collections.abc import Sequence

from damon_exporter.testing.fake_kernel.tree import Directory
from damon_exporter.testing.fake_kernel.values import Choice, Flag, Number, Numbered, Text


def number(folder: Directory, path: str) -> int:
    """The value of a number file; 0 where this kernel has no such file."""
    try:
        return folder.get(path, Number).value
    except KeyError:
        return 0


def word(folder: Directory, path: str, default: str = "") -> str:
    """The value of a file of words; ``default`` where this kernel has no such file."""
    try:
        return folder.get(path, Choice).value
    except KeyError:
        return default


def text(folder: Directory, path: str) -> str:
    """The value of a file of free text; empty where this kernel has no such file."""
    try:
        return folder.get(path, Text).value
    except KeyError:
        return ""


def flag(folder: Directory, path: str) -> bool:
    """The value of a Y/N file; N where this kernel has no such file."""
    try:
        return folder.get(path, Flag).value
    except KeyError:
        return False


def items(folder: Directory, path: str) -> Sequence[Directory]:
    """The numbered folders below a path; none where this kernel has no such folder."""
    try:
        return folder.get(path, Numbered).items
    except KeyError:
        return ()
