"""Keeps the tests away from the DAMON of the machine that they run on.

An audit hook refuses every attempt of a Python process to change a file below the real kernel's trees, and writes
it down, so that the run fails even where the exception was swallowed. Child processes install the hook through
``sitecustomize``, which stands beside this file on their ``PYTHONPATH``. What is not Python is caught by `Snapshot`,
taken before and after the run. Reading is allowed. Paths relative to a ``dir_fd`` are not seen: audit events do not
tell it.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOTS_VARIABLE = "DAMON_TEST_GUARDED_ROOTS"
LOG_VARIABLE = "DAMON_TEST_GUARD_LOG"
REAL_ROOTS = (
    "/sys/kernel/mm/damon",
    "/sys/module/damon_",
    "/sys/kernel/tracing",
    "/sys/kernel/debug/tracing",
)
CHANGING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGING_EVENTS = frozenset(
    f"os.{name}"
    for name in (
        "chmod",
        "chown",
        "link",
        "mkdir",
        "remove",
        "rename",
        "rmdir",
        "symlink",
        "truncate",
        "utime",
    )
)


class RealKernelTouched(RuntimeError):
    """A test tried to change the DAMON or the tracefs of this machine. Point it at a fake kernel."""


def install() -> None:
    """Guard this process for the rest of its life. Audit hooks cannot be taken out again."""
    roots = tuple(os.environ.get(ROOTS_VARIABLE, os.pathsep.join(REAL_ROOTS)).split(os.pathsep))

    def refuse_changes(event: str, arguments: tuple[Any, ...]) -> None:
        for path in _changed_paths(event, arguments):
            if os.path.realpath(path).startswith(roots):
                _record(f"{event} {path} (process {os.getpid()}: {' '.join(sys.argv)})")
                raise RealKernelTouched(f"{event} on the real {path}: point the test at a fake kernel")

    sys.addaudithook(refuse_changes)


def _changed_paths(event: str, arguments: tuple[Any, ...]) -> list[str]:
    """The paths that the event is about to change; none for events that only read."""
    if event == "open":
        path, _, flags = arguments
        candidates: tuple[Any, ...] = (path,) if flags & CHANGING_FLAGS else ()
    elif event in CHANGING_EVENTS:
        candidates = arguments[:2]
    else:
        return []
    return [os.fsdecode(path) for path in candidates if isinstance(path, str | bytes | os.PathLike)]


def _record(line: str) -> None:
    if log := os.environ.get(LOG_VARIABLE):
        with Path(log).open("a") as file:
            file.write(line + "\n")


@dataclass(frozen=True)
class Snapshot:
    """What a writer that is no Python process would have changed: folders that are new, and the number of slots."""

    inodes: frozenset[tuple[str, int]]
    nr_kdamonds: str | None

    @classmethod
    def take(cls, admin: Path = Path("/sys/kernel/mm/damon/admin")) -> "Snapshot":
        """Read only; on a machine without DAMON it is empty."""
        try:
            nr_kdamonds = (admin / "kdamonds/nr_kdamonds").read_text()
        except OSError:
            nr_kdamonds = None
        # Who runs DAMON on this machine may follow memory that is plugged in, which makes the regions anew.
        folders = [folder for folder, _, _ in os.walk(admin) if "/regions" not in folder]
        return cls(frozenset((folder, Path(folder).stat().st_ino) for folder in folders), nr_kdamonds)
