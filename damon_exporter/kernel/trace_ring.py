"""DAMON's events as they happen: a private trace instance, read in binary, all CPUs merged by time."""

import math
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.scheme_stats import COUNTERS
from damon_exporter.kernel.trace_buffers import CpuBuffers
from damon_exporter.kernel.trace_instance import (
    AGGREGATED,
    EFFECTIVE_QUOTA,
    INTERVALS_TUNE,
    SCHEME_STATS,
    TraceInstance,
)
from damon_exporter.kernel.trace_layout import EventFormat, PageLayout
from damon_exporter.kernel.trace_pages import Decoded, Events, PageError, decode

LEAST_BYTES_PER_CPU = 256 << 10
MOST_BYTES = 32 << 20
SECONDS_HELD = 4

MOST_AHEAD_NS = 24 * 3600 * 10**9
"""How far ahead of our clock an event is believed. A time namespace may set our clock behind the kernel's; were it
by more than a day, ages and windows, which our clock tells, would make no sense either."""

FIELDS = {
    AGGREGATED: frozenset({"common_pid", "target_id", "nr_regions", "start", "end", "nr_accesses", "age"}),
    INTERVALS_TUNE: frozenset({"common_pid", "sample_us"}),
    SCHEME_STATS: frozenset({"common_pid", "scheme_idx", *COUNTERS}),
    EFFECTIVE_QUOTA: frozenset({"common_pid", "scheme_idx", "esz"}),
}
"""The events that are read, and what each must tell; the first must be there."""


@dataclass(frozen=True, slots=True)
class TraceBatch:
    """What one pass over the buffers gave, in the order of time.

    Nothing older than ``horizon_ns`` (CLOCK_MONOTONIC) comes in a later batch, whatever CPU it happened on.
    ``lost`` counts events that the kernel overwrote before they could be read; ``errors`` are pages that could
    not be read to their end.
    """

    aggregated: Events
    intervals_tuned: Events
    scheme_stats: Events
    effective_quotas: Events
    lost: int
    errors: tuple[PageError, ...]
    horizon_ns: int


def buffer_pages(layout: PageLayout, record_bytes: int, cpus: int, max_events_per_second: float) -> int:
    """How many sub-buffers each CPU gets: a kdamond runs on one CPU, whose buffer must hold all its events."""
    records = max(layout.data_bytes // record_bytes, 1)
    wanted = max(LEAST_BYTES_PER_CPU / layout.data_bytes, SECONDS_HELD * max_events_per_second / records)
    most = MOST_BYTES // (layout.page_bytes * cpus)
    return max(min(math.ceil(wanted), most), 2)  # a ring buffer has two at least


class TraceRing:
    """The private instance, from `open` to `close`.

    ``max_events_per_second`` is the most that all kdamonds together are expected to emit; the buffers are sized
    for four seconds of it. ``clock`` is CLOCK_MONOTONIC in nanoseconds, which is the clock of the events too.
    ``mkdir`` and ``rmdir`` make and remove an instance folder with its files, which tracefs does by itself.
    """

    def __init__(
        self,
        paths: KernelPaths,
        *,
        max_events_per_second: float,
        name: str = "damon_exporter",
        clock: Callable[[], int] = time.monotonic_ns,
        mkdir: Callable[[Path], None] = os.mkdir,
        rmdir: Callable[[Path], None] = os.rmdir,
    ) -> None:
        self._instance = TraceInstance(paths, name, mkdir, rmdir)
        self._rate = max_events_per_second
        self._clock = clock
        self._held: dict[str, Events] = {}
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Make or take over the instance and let the events in; raises `KernelError` and then leaves nothing."""
        with ExitStack() as undo:
            self._instance.claim()
            undo.callback(self._instance.remove)
            self._describe()
            # The kernel rounds up to whole sub-buffers.
            self._instance.prepare(self._pages_per_cpu * self._layout.data_bytes >> 10)
            self._buffers = CpuBuffers(self._paths, self._layout.page_bytes, self._pages_per_cpu)
            undo.callback(self._buffers.close)
            for event in FIELDS:
                if self._instance.has(event):
                    self._instance.enable(event)
            self._undo = undo.pop_all()

    def _describe(self) -> None:
        """Learn from the instance what its pages and events look like, and size the buffers for them."""
        read = self._instance.read
        self._layout = PageLayout.parse(read("events/header_page"), read("events/header_event"))
        self._formats = [self._format(event, fields) for event, fields in FIELDS.items()]
        self._held = {kind.name: Events.none(kind) for kind in self._formats}
        self._paths = self._instance.buffers()
        self._pages_per_cpu = self._needed_pages()

    def _format(self, event: str, fields: frozenset[str]) -> EventFormat:
        if not self._instance.has(event):
            return EventFormat.absent(event, fields)
        return EventFormat.parse(self._instance.read(f"events/damon/{event}/format"), fields)

    def expect(self, max_events_per_second: float) -> None:
        """Be ready for more events than before: the buffers grow, and keep what they hold. Raises `KernelError`."""
        if max_events_per_second <= self._rate:
            return
        before, self._rate = self._rate, max_events_per_second
        if not self._held:
            return  # not open: they are made as large as that then
        pages = self._needed_pages()
        if pages > self._pages_per_cpu:
            try:
                self._instance.resize(pages * self._layout.data_bytes >> 10)
            except KernelError:
                self._rate = before
                raise
            self._buffers.hold(pages)
            self._pages_per_cpu = pages

    def _needed_pages(self) -> int:
        return buffer_pages(self._layout, self._formats[0].record_bytes, len(self._paths), self._rate)

    def close(self) -> None:
        """Disable the events and remove the instance; may be called twice.

        Raises `KernelError` if the folder cannot be removed; the next start takes it over.
        """
        self._held = {}
        self._undo.close()

    @property
    def buffer_bytes(self) -> int:
        """The memory of the buffers of all CPUs together."""
        return self._pages_per_cpu * self._layout.page_bytes * len(self._paths)

    @property
    def buffer_seconds(self) -> float:
        """How long a reader may be late at the highest rate: less than four seconds if memory is the limit."""
        records = self._layout.data_bytes // self._formats[0].record_bytes
        return self._pages_per_cpu * records / self._rate

    def wait(self, timeout_s: float) -> bool:
        """Wait so long, or until a buffer is a quarter full; tell whether one is.

        Kernels before 6.1 wake at the first event.
        """
        return self._buffers.wait(timeout_s)

    def read(self) -> TraceBatch:
        """Take what the buffers hold, in the order of time over all CPUs; raises `KernelError`.

        A kdamond may move to a CPU that has been read already in this pass, so what happened after the pass began
        waits for the next.
        """
        began_ns = self._clock()
        pages = self._buffers.read()
        decoded = decode(pages.view, self._layout, self._formats, began_ns + MOST_AHEAD_NS)
        # A CPU that was not read to its end may yet give events of the time right after its last page.
        ends = [int(decoded.page_end_ns[page]) for page in pages.unfinished]
        horizon_ns = min([began_ns, *ends])
        # What was held before is in order now, even if a time namespace sets our clock behind the kernel's.
        newest_held = max((int(held.ts[-1]) for held in self._held.values() if len(held)), default=0)
        until_ns = min([max(began_ns, newest_held), *ends])
        return TraceBatch(
            aggregated=self._release(AGGREGATED, decoded, until_ns),
            intervals_tuned=self._release(INTERVALS_TUNE, decoded, until_ns),
            scheme_stats=self._release(SCHEME_STATS, decoded, until_ns),
            effective_quotas=self._release(EFFECTIVE_QUOTA, decoded, until_ns),
            lost=decoded.lost,
            errors=decoded.errors,
            horizon_ns=horizon_ns,
        )

    def _release(self, event: str, decoded: Decoded, until_ns: int) -> Events:
        """Return what is not newer, in the order of time, and hold the rest."""
        held, fresh = self._held[event], decoded.events[event]
        known = held.merged_with(fresh) if len(held) else fresh.in_time_order()
        cut = int(np.searchsorted(known.ts, np.uint64(until_ns), side="right"))
        self._held[event] = known[cut:]
        return known[:cut]
