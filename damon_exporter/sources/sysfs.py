"""Regions from a kdamond of ours through sysfs, where there is no tracepoint.

A command makes the kdamond lay out the regions of one aggregation as folders. That samples; it does not see every
aggregation, and it costs five files a region. So the next one is asked for only after a pause in proportion.
"""

import time
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import numpy as np

from damon_exporter.analysis.snapshot import Regions, Snapshot, impossible
from damon_exporter.kernel.claim import require_ours
from damon_exporter.kernel.commands import CommandWriter
from damon_exporter.kernel.damon_sysfs import Slot
from damon_exporter.kernel.files import names_in, read_number
from damon_exporter.kernel.plan import TARGETS

REST_PER_READING = 50
"""Pause at least this many times as long as reading kept a CPU busy: reading then uses at most 2 % of it."""

COLUMNS = ("start", "end", "nr_accesses", "age")


class Incomplete(Exception):
    """What was read is not the whole of one aggregation."""


class TriedRegions:
    """Reads one kdamond of ours again and again; `poll` never blocks for long."""

    def __init__(self, slot: Slot, pid: int, writer: CommandWriter, tuned: bool, shortest_period: float) -> None:
        self._slot = slot
        self._pid = pid
        self._writer = writer
        self._tuned = tuned
        self._shortest_period = shortest_period
        self._asked: Future[None] | None = None
        self._answered_ns = 0
        self.due = 0.0
        """When (CLOCK_MONOTONIC, s) the next snapshot may be asked for."""

    @property
    def asked(self) -> bool:
        """Is an answer of the kdamond's outstanding?"""
        return self._asked is not None

    def poll(self, now: float) -> Snapshot | None:
        """Return a snapshot if one has become ready, and ask for the next when it is due.

        Raises `KernelError` if the kdamond does not answer, has ended or is not ours any more, `Incomplete` if a
        reading is not whole.
        """
        if self._asked is None:
            if now >= self.due:
                self.due = now + self._shortest_period
                self._asked = self._ask()
            return None
        if not self._asked.done():
            return None
        asked, self._asked = self._asked, None
        self.due = now + self._shortest_period
        asked.result()
        busy = time.thread_time()
        intervals = self._slot.intervals()
        regions = read_regions(self._slot.folder / "contexts/0/schemes", self._slot.number(f"{TARGETS}/nr_targets"))
        busy = time.thread_time() - busy
        self.due = now + max(self._shortest_period, REST_PER_READING * busy)
        if self._slot.intervals() != intervals:
            raise Incomplete("the intervals changed while regions were read")
        return Snapshot(self._pid, self._answered_ns, regions, intervals, intervals.aggregation_us)

    def _ask(self) -> "Future[None]":
        """Queue the commands; with auto-tuning the files must be brought up to date first."""
        ours = partial(require_ours, self._slot, self._pid)
        longer = 2 * self._slot.intervals().aggregation_us / 1e6
        if self._tuned:
            self._writer.submit(self._slot.state_file, "update_tuned_intervals", ours, longer)
        asked = self._writer.submit(self._slot.state_file, "update_schemes_tried_regions", ours, longer)
        asked.add_done_callback(self._note_answer)
        return asked

    def _note_answer(self, _: "Future[None]") -> None:
        """What is read later is of now: by then the kdamond may have other targets."""
        self._answered_ns = time.monotonic_ns()


def read_regions(schemes: Path, targets: int) -> Regions:
    """Read the regions that scheme 0 was tried on, or those of the last schemes, one for each target, if they are many.

    Raises `Incomplete` if they are impossible or do not add up to the total that the kernel states beside them,
    `KernelError` if they vanish meanwhile.
    """
    count = read_number(schemes / "nr_schemes")
    folders = [schemes / str(i) for i in range(count - targets, count)] if targets > 1 else [schemes / "0"]
    tables = [_read_scheme(folder / "tried_regions") for folder in folders]
    rows = np.concatenate(tables)
    if not len(rows):
        raise Incomplete("no region: the kdamond has not been tried, or has ended")
    target = np.repeat(np.arange(len(tables), dtype=np.uint32), [len(table) for table in tables])
    return Regions(
        target=target,
        start=np.ascontiguousarray(rows[:, 0]),
        end=np.ascontiguousarray(rows[:, 1]),
        nr_accesses=rows[:, 2].astype(np.uint32),
        age=rows[:, 3].astype(np.uint32),
    )


def _read_scheme(folder: Path) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """Read one scheme's regions, shape (regions, 4); before 6.14 their numbers have gaps and no order."""
    numbers = [name for name in names_in(folder) if name.isdigit()]
    rows = [[read_number(folder / number / column) for column in COLUMNS] for number in numbers]
    table = np.asarray(rows, np.uint64).reshape(len(rows), len(COLUMNS))
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    if impossible(table[:, 0], table[:, 1]).any():
        raise Incomplete(f"the regions in {folder} overlap or end before they start")
    total = read_number(folder / "total_bytes")
    if int((table[:, 1] - table[:, 0]).sum()) != total:
        raise Incomplete(f"the regions in {folder} do not add up to its total_bytes, {total}")
    return table
