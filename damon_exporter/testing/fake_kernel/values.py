"""Attribute files that hold one value each, read and written as the kernel's kstrto*() and sysfs_streq() do it."""

import errno
import re
from collections.abc import Callable, Sequence

from damon_exporter.testing.fake_kernel.tree import Directory, File, fail

DIGITS = r"(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\n?"
UNSIGNED = re.compile(r"\+?" + DIGITS)
SIGNED = re.compile(r"[+-]?" + DIGITS)
OCTAL = re.compile(r"0[0-7]*")
FLAGS = {"y": True, "Y": True, "1": True, "t": True, "T": True}
FLAGS |= {"n": False, "N": False, "0": False, "f": False, "F": False}


def parse_number(text: str, *, bits: int, signed: bool = False) -> int:
    """kstrto*() with base 0, in which ``0x10`` and ``020`` are sixteen.

    EINVAL for what is no number, ERANGE for what has too many bits.
    """
    match = (SIGNED if signed else UNSIGNED).fullmatch(text)
    if not match:
        raise fail(errno.EINVAL)
    digits = match[1]
    number = int(digits, 8 if OCTAL.fullmatch(digits) else 0) * (-1 if text.startswith("-") else 1)
    least, most = (-1 << (bits - 1), 1 << (bits - 1)) if signed else (0, 1 << bits)
    if not least <= number < most:
        raise fail(errno.ERANGE)
    return number


def parse_flag(text: str) -> bool:
    """kstrtobool(): the first letter decides, except in ``on`` and ``off``."""
    if text[:2] in ("on", "of"):
        return text[:2] == "on"
    if text[:1] not in FLAGS:
        raise fail(errno.EINVAL)
    return FLAGS[text[:1]]


class Number(File):
    """An ``unsigned long`` or, with other ``bits`` and ``signed``, another integer."""

    def __init__(self, value: int = 0, *, bits: int = 64, signed: bool = False, mode: int = 0o600) -> None:
        super().__init__(mode=mode)
        self.value = value
        self.bits = bits
        self.signed = signed

    def read(self) -> str:
        """The number in decimal."""
        return f"{self.value}\n"

    def write(self, text: str) -> None:
        """Take a number; EINVAL for none, ERANGE for one that does not fit."""
        self.value = parse_number(text, bits=self.bits, signed=self.signed)


class QuotaNumber(Number):
    """A number of ``quotas``, whose files answer EINVAL to whatever they do not take, even if it is only too large."""

    def write(self, text: str) -> None:
        """Take a number; EINVAL for none and for one that does not fit."""
        try:
            super().write(text)
        except OSError as error:
            raise fail(errno.EINVAL) from error


class Result(Number):
    """A number that only the kernel changes."""

    def __init__(self, value: int = 0) -> None:
        super().__init__(value, mode=0o400)


class Flag(File):
    """``Y`` or ``N``."""

    def __init__(self) -> None:
        super().__init__(mode=0o600)
        self.value = False

    def read(self) -> str:
        """The letter."""
        return "Y\n" if self.value else "N\n"

    def write(self, text: str) -> None:
        """Take what kstrtobool() takes; EINVAL for anything else."""
        self.value = parse_flag(text)


class Choice(File):
    """One of some words; EINVAL for any other. At first it is the first of them, or another that nobody may write."""

    def __init__(self, *words: str, default: str | None = None) -> None:
        super().__init__(mode=0o600)
        self.words = words
        self.value = words[0] if default is None else default

    def read(self) -> str:
        """The word."""
        return f"{self.value}\n"

    def write(self, text: str) -> None:
        """Take one of the words."""
        word = text.removesuffix("\n")
        if word not in self.words:
            raise fail(errno.EINVAL)
        self.value = word


class Text(File):
    """Any text, such as the path of a cgroup. ``refuse`` raises where the file needs a lock that is taken."""

    def __init__(self, refuse: Callable[[], None]) -> None:
        super().__init__(mode=0o600)
        self.value = ""
        self.refuse = refuse

    def read(self) -> str:
        """The text."""
        self.refuse()
        return f"{self.value}\n"

    def write(self, text: str) -> None:
        """Take any text."""
        self.refuse()
        self.value = text.removesuffix("\n")


class Numbered(Directory):
    """A folder of numbered folders, as many as its ``nr_…`` file says.

    Every write to that file, even of the same number, throws all of them away and makes new ones with defaults.
    ``refuse`` raises where a resize is not allowed now; ``most`` is the largest number, EINVAL above.
    """

    def __init__(
        self, nr_file: str, make: Callable[[], Directory], refuse: Callable[[], None], most: int | None = None
    ) -> None:
        super().__init__({nr_file: File(self._read_number, self._write_number)})
        self.items: Sequence[Directory] = ()
        self._make = make
        self._refuse = refuse
        self._most = most

    def resize(self, number: int) -> None:
        """Throw all numbered folders away and make new ones."""
        self.replace({str(index): self._make() for index in range(number)})

    def replace(self, folders: dict[str, Directory]) -> None:
        """Put these in the place of all numbered folders."""
        for folder in self.items:
            self.remove(folder.name)
        for name, folder in folders.items():
            self.add(name, folder)
        self.items = tuple(folders.values())

    def _read_number(self) -> str:
        return f"{len(self.items)}\n"

    def _write_number(self, text: str) -> None:
        number = parse_number(text, bits=32, signed=True)
        if number < 0 or (self._most is not None and number > self._most):
            raise fail(errno.EINVAL)
        self._refuse()
        self.resize(number)
