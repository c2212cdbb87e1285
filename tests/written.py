"""What the exporter, with its helper process, has written to a fake kernel, in order."""

import os
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from damon_exporter.kernel.ownership import Token
from damon_exporter.testing.fake_kernel import FakeKernel

HOOK = Path(__file__).parent / "write_log"
sys.path.insert(0, str(HOOK))
import write_log  # noqa: E402 - found only through the line above, as in the child processes

KDAMONDS = re.escape(write_log.KDAMONDS)
IN_SLOT = re.compile(rf"{KDAMONDS}(\d+)/(.*)")


@dataclass(frozen=True)
class Write:
    """One write: the path below the kernel, and the token of its slot right before; None if it carried none."""

    path: str
    token: Token | None

    @property
    def slot(self) -> int | None:
        """The number of the slot that was written to."""
        found = IN_SLOT.fullmatch(self.path)
        return int(found[1]) if found else None

    @property
    def leaf(self) -> str:
        """The path below the slot, or below ``kdamonds``, or the name of a module's parameter with the module's."""
        found = IN_SLOT.fullmatch(self.path)
        return found[2] if found else self.path.removeprefix(write_log.KDAMONDS).removeprefix("sys/module/")


class WriteLog:
    """Begins to note when it is made, in this process and in those that it starts."""

    def __init__(self, kernel: FakeKernel, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        _install()
        self._file = file
        self._file.touch()
        monkeypatch.setenv(write_log.LOG, str(file))
        monkeypatch.setenv(write_log.ROOT, str(kernel.root))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(HOOK), os.environ["PYTHONPATH"])))

    @property
    def writes(self) -> list[Write]:
        """All of them so far, in order."""
        lines = (line.split("\t") for line in self._file.read_text().splitlines())
        return [Write(path, _token(numbers.split())) for path, numbers in lines]

    @property
    def to_damon(self) -> list[Write]:
        """Those to the control tree and to the modules' parameters."""
        return [write for write in self.writes if write.path.startswith(("sys/kernel/mm/damon/", "sys/module/"))]

    @property
    def commands(self) -> list[int | None]:
        """The slots to whose kdamonds commands were given, in order."""
        return [write.slot for write in self.to_damon if write.leaf == "state"]

    def clear(self) -> None:
        """Forget what has been noted."""
        self._file.write_text("")


def _token(numbers: list[str]) -> Token | None:
    tokens = (Token.decode(int(number)) for number in numbers)
    return next((token for token in tokens if token), None)


@cache
def _install() -> None:
    write_log.install()
