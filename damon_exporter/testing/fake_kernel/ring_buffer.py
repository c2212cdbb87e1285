"""One CPU's trace buffer and the file ``trace_pipe_raw`` that takes pages out of it."""

import struct
from collections import deque
from collections.abc import Callable

from damon_exporter.testing.fake_kernel.tree import Pipe
from damon_exporter.testing.trace_pages import (
    DATA_BYTES,
    LARGEST_TYPE_LEN,
    MISSED_EVENTS,
    MISSED_STORED,
    PADDING,
    PAGE_BYTES,
    TIME_EXTEND,
    TIME_STAMP,
    PageMaker,
    Region,
)

RECORD_HEAD_BYTES = 4
AGGREGATED_BYTES = RECORD_HEAD_BYTES + 48
TUNE_BYTES = RECORD_HEAD_BYTES + 16
LENGTH_MASK = MISSED_STORED - 1
STEP_NS = 1000  # between the events of a snapshot


class RingBuffer:
    """Keeps events until they are read; when it is full, the oldest pages are overwritten and counted."""

    def __init__(self, kernel: str, size_kb: int) -> None:
        self._kernel = kernel
        self.size_kb = size_kb
        self.clear()

    def clear(self) -> None:
        """Forget all events, as the kernel does when size or clock changes."""
        self._maker = PageMaker(self._kernel)
        self._pages: deque[bytes] = deque()
        self._made_bytes = 0
        self._last_ns = 0
        self._lost = 0
        self.overrun = self.read_events = 0

    @property
    def capacity(self) -> int:
        """Pages."""
        return max(-(-self.size_kb * 1024 // DATA_BYTES), 2)

    @property
    def used(self) -> int:
        """Pages that hold something."""
        return len(self._pages) + -(-self._made_bytes // DATA_BYTES)

    def aggregated(self, now_ns: int, pid: int, target_id: int, regions: list[Region], nr_regions: int) -> int:
        """Add the events of a snapshot or of a part of it; returns the last one's time.

        ``nr_regions`` is that of the whole snapshot.
        """
        if regions:
            self._last_ns = self._maker.aggregated(
                self._next_ns(now_ns), pid, target_id, regions, nr_regions=nr_regions, step_ns=STEP_NS
            )
            self._grow(len(regions) * AGGREGATED_BYTES)
        return self._last_ns

    def intervals_tuned(self, now_ns: int, pid: int, sample_us: int) -> None:
        """Add the event of a tuning."""
        self._last_ns = self._next_ns(now_ns)
        self._maker.intervals_tuned(self._last_ns, pid, sample_us)
        self._grow(TUNE_BYTES)

    def record(self, now_ns: int, payload: bytes) -> int:
        """Add an event of any kind with its common fields; returns its time."""
        self._last_ns = self._next_ns(now_ns)
        self._maker.record(self._last_ns, payload)
        self._grow(RECORD_HEAD_BYTES + len(payload))
        return self._last_ns

    def take(self) -> bytes | None:
        """The oldest page, even if it is not full."""
        self._collect()
        if not self._pages:
            return None
        page = self._pages.popleft()
        self.read_events += count_events(page)
        if self._lost:
            page, self._lost = with_loss(page, self._lost), 0
        return page

    def stats(self, now_ns: int) -> str:
        """The file ``stats``."""
        self._collect()
        lines = {
            "entries": sum(map(count_events, self._pages)),
            "overrun": self.overrun,
            "commit overrun": 0,
            "bytes": sum(data_bytes(page) for page in self._pages),
            "oldest event ts": seconds(struct.unpack_from("<Q", self._pages[0])[0] if self._pages else 0),
            "now ts": seconds(now_ns),
            "dropped events": 0,
            "read events": self.read_events,
        }
        return "".join(f"{name}: {value}\n" for name, value in lines.items())

    def _next_ns(self, now_ns: int) -> int:
        return max(now_ns, self._last_ns + 1)

    def _grow(self, size: int) -> None:
        self._made_bytes += size
        if self.used > self.capacity:
            self._collect()
        while len(self._pages) > self.capacity:
            lost = count_events(self._pages.popleft())
            self.overrun += lost
            self._lost += lost

    def _collect(self) -> None:
        made = self._maker.pages()
        self._pages.extend(made[at : at + PAGE_BYTES] for at in range(0, len(made), PAGE_BYTES))
        self._made_bytes = 0


class TracePipeRaw(Pipe):
    """One read gives one page, or the first bytes of it; the rest of a page comes with the next read."""

    def __init__(self, buffer: RingBuffer, percent: Callable[[], int]) -> None:
        super().__init__(mode=0o440)
        self._buffer = buffer
        self._percent = percent
        self._rest = b""

    def take(self, size: int) -> bytes | None:
        """The next bytes, or None while the buffer is empty."""
        if not self._rest:
            self._rest = self._buffer.take() or b""
        data, self._rest = self._rest[:size], self._rest[size:]
        return data or None

    def ready(self) -> bool:
        """As ``buffer_percent`` wants it: with 0, anything; else so many percent of the pages."""
        used, percent = self._buffer.used, self._percent()
        return used > 0 and used * 100 >= percent * self._buffer.capacity


def data_bytes(page: bytes) -> int:
    """The bytes of a page that hold records."""
    length: int = struct.unpack_from("<Q", page, 8)[0] & LENGTH_MASK
    return length


def count_events(page: bytes) -> int:
    """How many events a page holds, not counting time stamps and padding."""
    words = memoryview(page)[16 : 16 + data_bytes(page)].cast("I")
    at = count = 0
    while at < len(words):
        kind = words[at] & 31
        if kind in (TIME_EXTEND, TIME_STAMP):
            at += 2
        elif kind == PADDING:
            at += 1 + -(-words[at + 1] // 4)
        else:
            count += 1
            at += 1 + (kind if 0 < kind <= LARGEST_TYPE_LEN else -(-words[at + 1] // 4))
    return count


def with_loss(page: bytes, lost: int) -> bytes:
    """The page with the note that so many events before it were overwritten, with the count if it has room."""
    length = data_bytes(page)
    changed = bytearray(page)
    flags = MISSED_EVENTS
    if length + 8 <= DATA_BYTES:
        flags |= MISSED_STORED
        struct.pack_into("<Q", changed, 16 + length, lost)
    struct.pack_into("<Q", changed, 8, length | flags)
    return bytes(changed)


def seconds(nanoseconds: int) -> str:
    """As stats shows times."""
    return f"{nanoseconds // 10**9:5}.{nanoseconds % 10**9 // 1000:06}"
