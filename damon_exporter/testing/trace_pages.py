"""Trace buffer pages as the kernel writes them, for tests without a kernel.

A `PageMaker` is one CPU's ring buffer: put events in, take the bytes that reads of
``per_cpu/cpuN/trace_pipe_raw`` would give::

    maker = PageMaker(kernel="7.3")
    maker.aggregated(1_000_000_000, pid=42, target_id=0, regions=[(0x1000, 0x5000, 3, 7)])
    pages = maker.pages()

Written after the behaviour of ``kernel/trace/ring_buffer.c`` on a 64-bit little-endian machine with pages of
4 KiB.
"""

import re
import struct
from collections.abc import Iterable
from itertools import count
from typing import Final

from damon_exporter.analysis.snapshot import Regions
from damon_exporter.testing.trace_texts import AGGREGATED, INTERVALS_TUNE, TRACE_FILES

__all__ = ["PAGE_BYTES", "TRACE_FILES", "PageMaker", "Region", "tear"]

PAGE_BYTES: Final = 4096
DATA_BYTES: Final = PAGE_BYTES - 16

PADDING: Final = 29
TIME_EXTEND: Final = 30
TIME_STAMP: Final = 31
LARGEST_TYPE_LEN: Final = 28
DELTA_BITS: Final = 27
DELTA_MASK: Final = (1 << DELTA_BITS) - 1
STAMP_MASK: Final = (1 << 59) - 1
MISSED_EVENTS: Final = 1 << 31
MISSED_STORED: Final = 1 << 30

Region = tuple[int, int, int, int]
"""Start, end, nr_accesses and age of a region."""


class PageMaker:
    """One CPU's trace buffer: takes events in the order of their time, gives whole sub-buffers.

    ``kernel`` is a key of `TRACE_FILES` and decides the event ids. With ``absolute`` every event carries an
    absolute time stamp, as it does while a hist trigger that needs them is set.
    """

    def __init__(self, kernel: str = "7.3", *, absolute: bool = False) -> None:
        named = re.findall(r"^name: (\w+)\nID: (\d+)$", "".join(TRACE_FILES[kernel].values()), re.MULTILINE)
        self._ids = {name: int(number) for name, number in named}
        self._absolute = absolute
        self._done: list[bytes] = []
        self._data = bytearray()
        self._room = DATA_BYTES
        self._begins_sub_buffer = True
        self._page_ns = 0
        self._last_ns = 0
        self._lost = 0

    def aggregated(
        self,
        ts_ns: int,
        pid: int,
        target_id: int,
        regions: Iterable[Region],
        *,
        nr_regions: int | None = None,
        step_ns: int = 1000,
    ) -> int:
        """Add one ``damon_aggregated`` event per region, ``step_ns`` apart; return the time of the last.

        ``nr_regions`` is what the events say, for snapshots of which some are missing; by default the truth.
        """
        listed = list(regions)
        said = len(listed) if nr_regions is None else nr_regions
        for at, (start, end, nr_accesses, age) in zip(count(ts_ns, step_ns), listed, strict=False):
            body = struct.pack("<QI4xQQII", target_id, said, start, end, nr_accesses, age)
            self.event(at, AGGREGATED, pid, body)
        return self._last_ns

    def snapshot(self, ts_ns: int, pid: int, regions: Regions, *, step_ns: int = 1000) -> int:
        """Add the events of a whole aggregation with all its targets; return the time of the last."""
        columns = (regions.start, regions.end, regions.nr_accesses, regions.age)
        rows = list(zip(*(column.tolist() for column in columns), strict=True))
        targets = regions.target.tolist()
        for target in sorted(set(targets)):
            of_target = [row for row, index in zip(rows, targets, strict=True) if index == target]
            ts_ns = self.aggregated(ts_ns, pid, target, of_target, step_ns=step_ns) + step_ns
        return self._last_ns

    def intervals_tuned(self, ts_ns: int, pid: int, sample_us: int) -> None:
        """Add a ``damon_monitor_intervals_tune`` event (Linux 6.17 and newer)."""
        self.event(ts_ns, INTERVALS_TUNE, pid, struct.pack("<Q", sample_us))

    def event(self, ts_ns: int, name: str, pid: int, body: bytes) -> None:
        """Add an event of a kind that the kernel knows; ``body`` is what follows the common fields."""
        self.record(ts_ns, struct.pack("<HBBi", self._ids[name], 0, 0, pid) + body)

    def record(self, ts_ns: int, payload: bytes) -> None:
        """Add any payload; one of more than 112 bytes gets its length in a word of its own."""
        payload += bytes(-len(payload) % 4)
        if len(payload) > 4 * LARGEST_TYPE_LEN:
            self._append(ts_ns, 0, struct.pack("<I", len(payload) + 4) + payload)
        else:
            self._append(ts_ns, len(payload) // 4, payload)

    def discarded(self, ts_ns: int, payload_bytes: int) -> None:
        """Add an event that was taken back after another had followed it: padding that tells its length."""
        length = struct.pack("<I", payload_bytes)
        self._append(ts_ns, PADDING, length.ljust(payload_bytes, b"\0"), least_delta=1)

    def lose(self, events: int) -> None:
        """Say on the next page that so many events before it were overwritten."""
        self.end_page()
        self._lost += events

    def end_page(self) -> None:
        """Let the next event begin a new sub-buffer."""
        self._finish_page()
        self._room = DATA_BYTES
        self._begins_sub_buffer = True

    def pages(self) -> bytes:
        """Take the pages made since the last call.

        A sub-buffer that is not full goes out as it is; the rest of it is a page of its own next time, which
        begins at the time of the last event read. So it is when the reader is close behind the writer.
        """
        self._room -= len(self._data)
        self._finish_page()
        taken, self._done = b"".join(self._done), []
        return taken

    def _append(self, ts_ns: int, type_len: int, rest: bytes, least_delta: int = 0) -> None:
        if ts_ns < self._last_ns:
            raise ValueError(f"the time of a ring buffer does not go back: {ts_ns} after {self._last_ns}")
        stamped = self._absolute or ts_ns - self._last_ns > DELTA_MASK
        if len(self._data) + 4 + len(rest) + 8 * stamped > self._room:
            self.end_page()
        if self._begins_sub_buffer:
            self._begins_sub_buffer = False
            self._page_ns = self._last_ns = ts_ns
        delta = ts_ns - self._last_ns
        if self._absolute:
            self._stamp(TIME_STAMP, ts_ns & STAMP_MASK)
            delta = 0
        elif delta > DELTA_MASK:
            self._stamp(TIME_EXTEND, delta)
            delta = 0
        self._data += struct.pack("<I", type_len | max(delta, least_delta) << 5) + rest
        self._last_ns = ts_ns

    def _stamp(self, kind: int, value: int) -> None:
        self._data += struct.pack("<II", kind | (value & DELTA_MASK) << 5, value >> DELTA_BITS)

    def _finish_page(self) -> None:
        if not self._data:
            return
        flags, stored_count = self._loss()
        page = struct.pack("<QQ", self._page_ns, len(self._data) | flags) + self._data + stored_count
        self._done.append(page.ljust(PAGE_BYTES, b"\0"))
        self._data = bytearray()
        self._page_ns = self._last_ns

    def _loss(self) -> tuple[int, bytes]:
        """The flags of the length word, and the count if there is room for it behind the data."""
        lost, self._lost = self._lost, 0
        if not lost:
            return 0, b""
        if len(self._data) + 8 > DATA_BYTES:
            return MISSED_EVENTS, b""
        return MISSED_EVENTS | MISSED_STORED, struct.pack("<Q", lost)


def tear(pages: bytes, page: int, offset: int) -> bytes:
    """Return the pages with a record that runs out of its page; ``offset`` counts from the page's begin."""
    at = page * PAGE_BYTES + offset
    return pages[:at] + struct.pack("<II", 0, 0xFFFF_FFF0) + pages[at + 8 :]
