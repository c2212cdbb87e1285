"""The regions of each target in one snapshot: `damo report access`."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from damon_exporter.analysis import temperature
from damon_exporter.analysis.bands import access_ratios, estimated_access_bytes
from damon_exporter.analysis.snapshot import Snapshot, began_ns
from damon_exporter.analysis.temperature import Column
from damon_exporter.analysis.workingset import working_set_of_all
from damon_exporter.report import spelling
from damon_exporter.report.paint import HOTTEST, Paint
from damon_exporter.report.subjects import Subject

HEATMAP_COLUMNS = 80
WIDEST_GAP = 4
"""Columns of a gap that are drawn as dots; a wider one is cut short."""


@dataclass(frozen=True, slots=True)
class Accesses:
    """One target's regions in the snapshot at ``position`` of its snapshots; None if none tells of it."""

    subject: Subject
    position: int
    snapshot: Snapshot | None

    def lines(self, raw: bool, paint: Paint) -> list[str]:
        """A title of ours, and below it what damo prints of one snapshot in its default style, to the byte."""
        if self.snapshot is None:
            return [f"# {self.subject.title}", "no region"]
        count = len(self.subject.snapshots)
        return [
            f"# {self.subject.title}, snapshot {self.position} (0 to {count - 1})",
            *_heatmap(self.snapshot, raw, paint),
            f"intervals: {_intervals(self.snapshot, raw)}",
            *_regions(self.snapshot, raw),
            f"memory bw estimate: {_bandwidth(self.snapshot, raw)}",
            f"total size: {spelling.size(int(self.snapshot.regions.sizes.sum()), raw)}",
        ]

    def json(self) -> dict[str, object]:
        """What `report access --json` holds of one target."""
        return {**self.subject.identity(), "snapshot": self.snapshot and self._snapshot_json(self.snapshot)}

    def _snapshot_json(self, snapshot: Snapshot) -> dict[str, object]:
        intervals, regions = snapshot.intervals, snapshot.regions
        previous = self.subject.snapshots[self.position - 1].end_ns if self.position else None
        return {
            "index": self.position,
            "snapshots": len(self.subject.snapshots),
            "start_seconds": began_ns(snapshot, previous) / 1e9,
            "end_seconds": snapshot.end_ns / 1e9,
            "sample_interval_seconds": intervals and intervals.sample_us / 1e6,
            "aggregation_interval_seconds": intervals and intervals.aggregation_us / 1e6,
            "total_bytes": int(regions.sizes.sum()),
            "working_set_bytes": working_set_of_all(regions),
            "access_bytes_per_second": _bytes_per_second(snapshot),
            "regions": list(_region_objects(snapshot)),
        }


def accesses(subject: Subject, position: int) -> Accesses | None:
    """Return a target's snapshot, counted from the end if ``position`` is negative; None if there is no such one."""
    count = len(subject.snapshots)
    if not count:
        return Accesses(subject, 0, None)
    if not -count <= position < count:
        return None
    return Accesses(subject, position % count, subject.snapshots[position])


def _heatmap(snapshot: Snapshot, raw: bool, paint: Paint) -> Iterator[str]:
    if not len(snapshot.regions):
        yield "heatmap: n/a (no region)"
        return
    if snapshot.intervals is None or snapshot.age_unit_us is None:
        yield "heatmap: n/a (intervals are not known)"
        return
    of_regions = temperature.temperatures(snapshot.regions, snapshot.intervals, snapshot.age_unit_us)
    width, drawn = temperature.columns(snapshot.regions, of_regions, HEATMAP_COLUMNS)
    seen = [column.temperature for column in drawn if column.temperature is not None]
    if not seen:
        yield "heatmap: n/a (regions have no size)"
        return
    coldest, hottest = min(seen), max(seen)
    step = (hottest - coldest) / HOTTEST or hottest / HOTTEST or 1
    yield "heatmap: " + "".join(_drawn(column, width, coldest, step, paint) for column in drawn)
    yield (
        f"# min/max temperatures: {spelling.number(coldest, raw)}, {spelling.number(hottest, raw)}, "
        f"column size: {spelling.size(width, raw)}"
    )


def _drawn(column: Column, width: float, coldest: float, step: float, paint: Paint) -> str:
    if column.temperature is not None:
        return paint.heat(int((column.temperature - coldest) / step))
    as_wide_as = (column.end - column.start) / width
    return "[...]" if as_wide_as > WIDEST_GAP else "." * int(as_wide_as)


def _intervals(snapshot: Snapshot, raw: bool) -> str:
    intervals = snapshot.intervals
    if intervals is None:
        return "not known"
    most = intervals.aggregation_us / intervals.sample_us / (intervals.aggregation_us / 1e6)  # rounded as damo's is
    sample, aggregation = (spelling.microseconds(us, raw) for us in (intervals.sample_us, intervals.aggregation_us))
    return f"sample {sample} aggr {aggregation} (max access hz {spelling.frequency(most, raw, unit='')})"


def _regions(snapshot: Snapshot, raw: bool) -> Iterator[str]:
    regions = snapshot.regions
    columns = (regions.start, regions.sizes, regions.nr_accesses, regions.age)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for index, (start, size, count, age) in enumerate(rows):
        yield (
            f"{spelling.number(index, raw):<3} addr {spelling.size(start, raw):<12} "
            f"size {spelling.size(size, raw):<11} access {_frequency(snapshot, count, raw):<6} "
            f"age {_age(snapshot, age, raw):<13}"
        )


def _frequency(snapshot: Snapshot, count: int, raw: bool) -> str:
    if snapshot.intervals is None:
        return f"{count} samples"
    return spelling.frequency(count / (snapshot.intervals.aggregation_us / 1e6), raw)


def _age(snapshot: Snapshot, age: int, raw: bool) -> str:
    return "n/a" if snapshot.age_unit_us is None else spelling.microseconds(age * snapshot.age_unit_us, raw)


def _bytes_per_second(snapshot: Snapshot) -> float | None:
    if snapshot.intervals is None:
        return None
    (accessed,) = estimated_access_bytes(snapshot.regions, np.zeros(len(snapshot.regions), np.intp), 1).tolist()
    return float(accessed) / (snapshot.intervals.aggregation_us / 1e6)


def _bandwidth(snapshot: Snapshot, raw: bool) -> str:
    rate = _bytes_per_second(snapshot)
    return "n/a" if rate is None else f"{spelling.size(rate, raw)} per second"


def _region_objects(snapshot: Snapshot) -> Iterator[dict[str, object]]:
    intervals, unit, regions = snapshot.intervals, snapshot.age_unit_us, snapshot.regions
    ratios = access_ratios(regions, intervals).tolist() if intervals else [None] * len(regions)
    columns = (regions.start, regions.end, regions.nr_accesses, regions.age)
    rows = zip(*(column.tolist() for column in columns), ratios, strict=True)
    for start, end, count, age, ratio in rows:
        yield {
            "start": start,
            "end": end,
            "bytes": end - start,
            "nr_accesses": count,
            "access_ratio": ratio,
            "access_hz": intervals and count / (intervals.aggregation_us / 1e6),
            "age_seconds": None if unit is None else age * unit / 1e6,
        }
