"""Trace pages → arrays: the binary sub-buffers of ``trace_pipe_raw``, decoded without a loop over events.

DAMON writes thousands of ``damon_aggregated`` events of one size, so nearly all of a page is one run of equal
records. Runs are found in all pages at once: a round looks how far the run goes from where each page stands;
then each page steps singly over what ended it (a time extend, padding, another kind of event), and the next
round goes on from there with the pages that are left. Most pages need one round.

The meaning of the records is that of ``kernel/trace/ring_buffer.c`` and of libtraceevent's ``kbuffer``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from damon_exporter.kernel.trace_layout import WORD, EventFormat, PageLayout

# These stand in none of the kernel's texts; trace-cmd relies on the same numbers.
MISSED_EVENTS = 1 << 31
MISSED_STORED = 1 << 30
LENGTH_MASK = (1 << 27) - 1
TIME_STAMP_BITS = 59
ALL_BITS = (1 << 64) - 1
TYPE_MASK = 0xFFFF  # common_type, an event's first two bytes

LATEST_NS = 1 << 62
"""No clock that counts from boot comes to this: 146 years."""

U64 = NDArray[np.uint64]
Span = tuple[int, int, int]
"""Equal records one behind the other: the first one's word, how many, and the time (ns) before the first."""


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one kind: structured ``data`` and, beside it, their times ``ts`` (ns of the trace clock)."""

    data: NDArray[Any]
    ts: U64

    @classmethod
    def none(cls, kind: EventFormat) -> Self:
        """No events of this kind."""
        return cls(np.empty(0, kind.dtype), np.empty(0, np.uint64))

    def __len__(self) -> int:
        return len(self.ts)

    def __getitem__(self, part: slice) -> Self:
        return replace(self, data=self.data[part], ts=self.ts[part])

    def merged_with(self, others: Self) -> Self:
        """All events of both in the order of time; at equal times these come first."""
        # As opaque bytes, because NumPy would copy structures field by field, ten times slower.
        opaque = np.dtype((np.void, self.data.dtype.itemsize))
        data = np.concatenate([self.data.view(opaque), others.data.view(opaque)])
        ts = np.concatenate([self.ts, others.ts])
        order = np.argsort(ts, kind="stable")
        return replace(self, data=data[order].view(self.data.dtype), ts=ts[order])

    def in_time_order(self) -> Self:
        """The same events, sorted; events of equal time keep their order."""
        if (self.ts[1:] >= self.ts[:-1]).all():
            return self
        return self[:0].merged_with(self)


@dataclass(frozen=True, slots=True)
class PageError:
    """A page that could not be read to its end: its number, bytes from its begin, and what is wrong there."""

    page: int
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"trace page {self.page}, offset {self.offset}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Decoded:
    """What some pages held.

    ``events`` keep the order of the pages. ``lost`` counts events that were overwritten before they could be
    read; where the kernel says only that some were, one. ``errors`` are pages cut short; what stood before the
    error is in ``events``. ``page_end_ns`` is the time of each page's last record.
    """

    events: Mapping[str, Events]
    lost: int
    errors: tuple[PageError, ...]
    page_end_ns: U64


def decode(
    pages: bytes | bytearray | memoryview,
    layout: PageLayout,
    formats: Sequence[EventFormat],
    latest_ns: int = LATEST_NS,
) -> Decoded:
    """Decode whole sub-buffers; the first of ``formats`` is the kind that the pages are full of.

    Events of other kinds than ``formats`` are passed over. Bad data raises nothing: see `Decoded.errors`. A time
    beyond ``latest_ns`` (of the trace clock) is bad data, seconds more or less.
    """
    view = memoryview(pages).cast("B")
    count, rest = divmod(len(view), layout.page_bytes)
    walk = _Walk(view[: count * layout.page_bytes], layout, formats, latest_ns)
    walk.to_the_end()
    if rest:
        walk.errors.append(PageError(count, 0, f"only {rest} of {layout.page_bytes} bytes"))
    events = {kind.name: _splice(view, kind, walk.spans[kind.number], layout) for kind in formats}
    return Decoded(events, walk.lost, tuple(walk.errors), walk.ts)


def _splice(view: memoryview, kind: EventFormat, spans: list[Span], layout: PageLayout) -> Events:
    """Copy the spans' records behind one another and add up their times."""
    spans.sort()
    record = np.dtype([("head", np.uint32), ("event", kind.dtype)])
    size = record.itemsize
    joined = b"".join([view[word * WORD : word * WORD + number * size] for word, number, _ in spans])
    records = np.frombuffer(joined, record)
    delta = (records["head"] >> layout.type_len_bits).astype(np.uint64)
    ts = np.cumsum(delta)
    numbers = np.array([number for _, number, _ in spans], np.int64)
    firsts = np.cumsum(numbers) - numbers
    before = np.array([before_ns for _, _, before_ns in spans], np.uint64)
    ts += np.repeat(before - (ts[firsts] - delta[firsts]), numbers)
    return Events(records["event"], ts)


class _Walk:
    """Where each page is being read: ``at`` and ``end`` in words of the whole, ``ts`` in nanoseconds."""

    def __init__(self, view: memoryview, layout: PageLayout, formats: Sequence[EventFormat], latest_ns: int) -> None:
        self.layout = layout
        self.formats = {kind.number: kind for kind in formats}
        self.spans: dict[int, list[Span]] = {kind.number: [] for kind in formats}
        self.errors: list[PageError] = []
        self.words = np.frombuffer(view, np.uint32)
        self._bulk = formats[0].number
        self._stride = formats[0].record_bytes // WORD
        self._type_mask = (1 << layout.type_len_bits) - 1
        self._delta_bits = 32 - layout.type_len_bits
        self._latest_ns = latest_ns

        table = np.frombuffer(view, np.uint8).reshape(-1, layout.page_bytes)
        self.ts = table[:, layout.timestamp_offset :][:, :8].copy().view(np.uint64)[:, 0]
        commit = table[:, layout.commit_offset :][:, :WORD].copy().view(np.uint32)[:, 0]
        length = (commit & LENGTH_MASK).astype(np.int64)
        for page in np.flatnonzero(length > layout.data_bytes).tolist():
            said = int(length[page])
            self.errors.append(PageError(page, layout.commit_offset, f"claims to hold {said} bytes"))
            length[page] = 0
        for page in np.flatnonzero((self.ts > latest_ns) & (length > 0)).tolist():
            self.errors.append(PageError(page, layout.timestamp_offset, _far_ahead(int(self.ts[page]))))
            length[page] = 0
        self.at = (np.arange(len(table)) * layout.page_bytes + layout.data_offset) // WORD
        self.end = self.at + length // WORD
        missed = np.flatnonzero(commit & MISSED_EVENTS).tolist()
        self.lost = sum(self._lost_before(page, bool(commit[page] & MISSED_STORED), view) for page in missed)

    def _lost_before(self, page: int, stored: bool, view: memoryview) -> int:
        """The count stands behind the data if there was room for it; else there is only the flag."""
        count_at = int(self.end[page]) * WORD
        after = count_at + self.layout.commit_bytes
        if not stored or after > (page + 1) * self.layout.page_bytes:
            return 1
        return max(int.from_bytes(view[count_at:after], "little"), 1)

    def to_the_end(self) -> None:
        active = np.flatnonzero(self.at < self.end)
        while len(active):
            self._take_runs(active)
            active = active[self.at[active] < self.end[active]]
            active = np.array([page for page in active.tolist() if self._step(page)], np.int64)

    def _take_runs(self, active: NDArray[np.int64]) -> None:
        """Take the records of the bulk kind that stand next, in all these pages at once."""
        at = self.at[active]
        fits = (self.end[active] - at) // self._stride
        steps = np.arange(fits.max())
        heads_at = at[:, np.newaxis] + self._stride * steps
        heads = self.words.take(heads_at, mode="clip")
        numbers = self.words.take(heads_at + 1, mode="clip")
        same = (heads & self._type_mask == self._stride - 1) & (numbers & TYPE_MASK == self._bulk)
        same &= steps < fits[:, np.newaxis]
        run = np.where(same.all(axis=1), len(steps), same.argmin(axis=1)) if len(steps) else fits
        deltas = np.where(steps < run[:, np.newaxis], heads >> self.layout.type_len_bits, 0)
        found = zip(at.tolist(), run.tolist(), self.ts[active].tolist(), strict=True)
        self.spans[self._bulk] += [span for span in found if span[1]]
        self.at[active] = at + run * self._stride
        self.ts[active] += deltas.sum(axis=1, dtype=np.uint64)

    def _step(self, page: int) -> bool:
        """Step over single records until a run may begin again; False at the page's end or at an error."""
        at, end, ts = int(self.at[page]), int(self.end[page]), int(self.ts[page])
        while at < end and not self._begins_run(at, end):
            try:
                length, ts = self._single(at, end, ts)
            except ValueError as error:
                self.errors.append(PageError(page, at * WORD - page * self.layout.page_bytes, str(error)))
                length = end - at
            at += length
        self.at[page], self.ts[page] = at, ts
        return at < end

    def _begins_run(self, at: int, end: int) -> bool:
        if at + self._stride > end:
            return False
        head, number = int(self.words[at]), int(self.words[at + 1])
        return head & self._type_mask == self._stride - 1 and number & TYPE_MASK == self._bulk

    def _single(self, at: int, end: int, before: int) -> tuple[int, int]:
        """Read one record: its length in words and its time; raises ValueError if it makes no sense."""
        head = int(self.words[at])
        kind, delta = head & self._type_mask, head >> self.layout.type_len_bits
        second = int(self.words[at + 1]) if at + 1 < end else 0
        long_delta = delta + (second << self._delta_bits)
        length, after, payload = 2, before + delta, None
        if kind == self.layout.padding:
            # Without a time it fills the page. With one it was an event, and the next counts from its time.
            length = 1 + _words(second) if delta else end - at
        elif kind == self.layout.time_extend:
            after = before + long_delta
        elif kind == self.layout.time_stamp:
            after = _whole_stamp(long_delta, before)
        elif kind == 0:
            length, payload = 1 + _words(second), at + 2
        else:
            length, payload = 1 + kind, at + 1
        if length > end - at:
            raise ValueError(f"a record of {length * WORD} bytes where {(end - at) * WORD} are left")
        if after > self._latest_ns:  # runs of events need no look: their deltas are fractions of a second
            raise ValueError(_far_ahead(after))
        if payload is not None:
            self._keep(payload, at + length, after)
        return length, after

    def _keep(self, payload: int, end: int, ts: int) -> None:
        """Keep one event as a span of its own; whatever word stands before the payload passes for its head."""
        if payload >= end:
            raise ValueError("a record without an event")
        kind = self.formats.get(int(self.words[payload]) & TYPE_MASK)
        if kind is None:
            return
        if (end - payload) * WORD < kind.dtype.itemsize:
            raise ValueError(f"{kind.name} of {(end - payload) * WORD} bytes instead of {kind.dtype.itemsize}")
        passing_for_delta = int(self.words[payload - 1]) >> self.layout.type_len_bits
        self.spans[kind.number].append((payload - 1, 1, (ts - passing_for_delta) & ALL_BITS))


def _far_ahead(ts_ns: int) -> str:
    return f"its time, {ts_ns} ns, lies far ahead of the clock"


def _words(length: int) -> int:
    return -(-length // WORD)


def _whole_stamp(stamp: int, before: int) -> int:
    """Give an absolute time stamp, which has 59 bits, the upper five of the time before it."""
    upper = before >> TIME_STAMP_BITS << TIME_STAMP_BITS
    if not upper:
        return stamp
    whole = upper | stamp
    return whole if whole >= before else whole + (1 << TIME_STAMP_BITS)
