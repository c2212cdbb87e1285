"""Faults that a test orders: an errno or a delay for the paths that match a pattern."""

import errno
import time
from dataclasses import dataclass, field
from fnmatch import fnmatch
from threading import Condition

from damon_exporter.testing.fake_kernel.tree import fail


@dataclass
class Fault:
    """``count`` more operations on matching paths fail with ``errno``, or last ``delay`` seconds; None: for ever."""

    path: str
    operation: str
    errno: int = 0
    delay: float = 0.0
    count: int | None = None
    lifted: bool = False
    abandoned: bool = False


@dataclass
class Faults:
    """Those in force. ``path`` is a shell pattern of paths below the mount; ``*`` matches slashes, too."""

    ordered: list[Fault] = field(default_factory=list)

    @property
    def delays(self) -> bool:
        """Whether any operation may have to wait."""
        return any(fault.delay for fault in self._active)

    @property
    def _active(self) -> list[Fault]:
        return [fault for fault in self.ordered if fault.count != 0]

    def strike(self, operation: str, path: str) -> None:
        """Raise what has been ordered for this operation."""
        for fault in self._matching(operation, path):
            if fault.errno:
                self._use_up(fault)
                raise fail(fault.errno)

    def wait(self, operation: str, path: str, lock: Condition) -> None:
        """Sleep as has been ordered for this operation, with the lock let go, or until the fault is lifted.

        ENODEV if the kernel has been shut down meanwhile.
        """
        for fault in self._matching(operation, path):
            if fault.delay:
                self._use_up(fault)
                until = time.monotonic() + fault.delay
                while not fault.lifted and (rest := until - time.monotonic()) > 0:
                    lock.wait(rest)
                if fault.abandoned:
                    raise fail(errno.ENODEV)

    def lift(self) -> None:
        """End all faults, and wake who is delayed by one."""
        for fault in self.ordered:
            fault.lifted = True
        self.ordered.clear()

    def abandon(self) -> None:
        """End all faults as the kernel is shut down: what is delayed by one must not act on the next."""
        for fault in self.ordered:
            fault.abandoned = True
        self.lift()

    def _matching(self, operation: str, path: str) -> list[Fault]:
        return [fault for fault in self._active if fault.operation == operation and fnmatch(path, fault.path)]

    def _use_up(self, fault: Fault) -> None:
        if fault.count is not None:
            fault.count -= 1
