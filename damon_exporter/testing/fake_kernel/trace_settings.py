"""Files of a trace instance that users set something by."""

import errno
import re
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.tree import File, fail

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.tracefs import Instance

CLOCKS = ("local", "global", "counter", "uptime", "perf", "mono", "mono_raw", "boot", "tai", "x86-tsc")
FILTER = re.compile(r"\(?\s*common_pid\s*==\s*(\d+)\s*\)?")


class Setting(File):
    """A number that tracing is set by, up to ``most``; EINVAL beyond."""

    size = 0

    def __init__(self, value: int, most: int) -> None:
        super().__init__(mode=0o640)
        self.value = value
        self._most = most

    def read(self) -> str:
        """The number in decimal."""
        return f"{self.value}\n"

    def write(self, text: str) -> None:
        """Take a number in decimal, with white space around it."""
        if not text.strip().isdigit() or int(text) > self._most:
            raise fail(errno.EINVAL)
        self.value = int(text)


class Clock(File):
    """``trace_clock``. All clocks of the fake show CLOCK_MONOTONIC."""

    size = 0

    def __init__(self, instance: "Instance") -> None:
        super().__init__(mode=0o640)
        self._instance = instance
        self._current = CLOCKS[0]

    def read(self) -> str:
        """All clocks, the one in use in brackets."""
        return " ".join(f"[{name}]" if name == self._current else name for name in CLOCKS) + "\n"

    def write(self, text: str) -> None:
        """Change the clock, which empties the buffers."""
        if text.strip() not in CLOCKS:
            raise fail(errno.EINVAL)
        self._current = text.strip()
        self._instance.clear()


class Size(File):
    """``buffer_size_kb``, of every CPU alike. A change empties the buffers."""

    size = 0

    def __init__(self, instance: "Instance") -> None:
        super().__init__(mode=0o640)
        self._instance = instance

    def read(self) -> str:
        """KiB per CPU."""
        return f"{self._instance.buffers[0].size_kb}\n"

    def write(self, text: str) -> None:
        """Change the size; 0 is EINVAL."""
        if not text.strip().isdigit() or int(text) == 0:
            raise fail(errno.EINVAL)
        for buffer in self._instance.buffers:
            buffer.size_kb = int(text)
        self._instance.clear()


class Filter(File):
    """An event's ``filter``. Of its language the fake knows ``common_pid == N``, also several joined by ``||``."""

    size = 0

    def __init__(self) -> None:
        super().__init__(mode=0o640)
        self._text = "none"
        self._pids: frozenset[int] | None = None

    def lets_through(self, pid: int) -> bool:
        """Whether events of this process are recorded."""
        return self._pids is None or pid in self._pids

    def read(self) -> str:
        """The filter as it was written, or ``none``."""
        return f"{self._text}\n"

    def write(self, text: str) -> None:
        """Set a filter; ``0`` takes it away."""
        if text.strip() == "0":
            self._text, self._pids = "none", None
            return
        matches = [FILTER.fullmatch(part.strip()) for part in text.split("||")]
        pids = frozenset(int(match[1]) for match in matches if match)
        if not all(matches):
            raise fail(errno.EINVAL)
        self._text, self._pids = text.strip(), pids
