"""When which addresses of a target were accessed how often: `damo report heatmap`."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from damon_exporter.analysis.snapshot import F64
from damon_exporter.analysis.time_space import (
    Frame,
    Ranges,
    all_intervals_known,
    heat_by_time_and_space,
    monitored_ranges,
    observed_ns,
)
from damon_exporter.report import spelling
from damon_exporter.report.paint import HOTTEST, Paint
from damon_exporter.report.subjects import Subject

UNSEEN = " "


@dataclass(frozen=True, slots=True)
class Guide:
    """From when to when a target was observed (ns, CLOCK_MONOTONIC), and where; no ranges if it never had regions."""

    subject: Subject
    start_ns: int
    end_ns: int
    ranges: Ranges

    def lines(self, raw: bool) -> list[str]:
        """As damo's guide spells them."""
        if not len(self.ranges):
            return [f"# {self.subject.title}", "no region"]
        return [
            f"# {self.subject.title}",
            f"time: {_time_range(self.start_ns, self.end_ns, raw)}",
            *(
                f"region\t{index:2d}: {_address_range(start, end, raw)}"
                for index, (start, end) in enumerate(_pairs(self.ranges))
            ),
        ]

    def json(self) -> dict[str, object]:
        """What `report heatmap --guide --json` holds of one target."""
        seen = len(self.ranges) > 0
        return {
            **self.subject.identity(),
            "start_seconds": self.start_ns / 1e9 if seen else None,
            "end_seconds": self.end_ns / 1e9 if seen else None,
            "ranges": [{"start": start, "end": end, "bytes": end - start} for start, end in _pairs(self.ranges)],
        }


@dataclass(frozen=True, slots=True)
class Map:
    """Heat (hz, or samples per aggregation where intervals are not known) by rows of time and columns of space."""

    subject: Subject
    frame: Frame
    heat: F64
    unit: str

    def lines(self, paint: Paint) -> list[str]:
        """The map and its legend, which are damo's but for the colours."""
        frame = self.frame
        width, height = frame.column_bytes * frame.columns, frame.row_ns * frame.rows
        seen = self.heat[~np.isnan(self.heat)]
        lowest, highest = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 0.0)
        levels = "".join(paint.heat(level) for level in range(HOTTEST + 1))
        return [
            f"# {self.subject.title}",
            *_drawn(self.heat, lowest, highest, paint),
            f"# access_frequency: {levels} ({lowest:.3f}-{highest:.3f} {self.unit})",
            f"# x-axis: space {_address_range(frame.start, frame.start + width, raw=False)}",
            f"# y-axis: time {_time_range(frame.start_ns, frame.start_ns + height, raw=False)}",
            f"# resolution: {frame.columns}x{frame.rows} ({spelling.size(frame.column_bytes)} and "
            f"{spelling.nanoseconds(frame.row_ns)} for each character)",
        ]

    def json(self) -> dict[str, object]:
        """What `report heatmap --json` holds of one map; cells in which nothing was monitored are null."""
        return {
            **self.subject.identity(),
            "start_seconds": self.frame.start_ns / 1e9,
            "row_seconds": self.frame.row_ns / 1e9,
            "start": self.frame.start,
            "column_bytes": self.frame.column_bytes,
            "unit": self.unit,
            "heat": [[None if np.isnan(heat) else heat for heat in row] for row in self.heat.tolist()],
        }


def guide(subject: Subject) -> Guide:
    """Return when and where a target was observed."""
    start_ns, end_ns = observed_ns(subject.snapshots) if subject.snapshots else (0, 0)
    return Guide(subject, start_ns, end_ns, monitored_ranges(subject.snapshots))


def maps(found: Guide, rows: int, columns: int, every_range: bool) -> Iterator[Map]:
    """Yield the map of the hottest range of a target, or one of each range; none if it never had regions."""
    ranges, subject = found.ranges, found.subject
    if not len(ranges):
        return
    pairs = list(_pairs(ranges))
    unit = "hz" if all_intervals_known(subject.snapshots) else "samples"
    for start, end in pairs if every_range else [pairs[ranges.hottest]]:
        frame = Frame(found.start_ns, found.end_ns, start, end, rows, columns)
        heat = heat_by_time_and_space(subject.snapshots, frame)
        yield Map(subject, frame, heat, unit)


def _drawn(heat: F64, lowest: float, highest: float, paint: Paint) -> Iterator[str]:
    step = (highest + 1 - lowest) / HOTTEST  # one more, so that a map of a single heat has levels, too
    for row in heat.tolist():
        yield "".join(UNSEEN if np.isnan(each) else paint.heat(int((each - lowest) / step)) for each in row)


def _pairs(ranges: Ranges) -> Iterator[tuple[int, int]]:
    return zip(ranges.start.tolist(), ranges.end.tolist(), strict=True)


def _time_range(start_ns: int, end_ns: int, raw: bool) -> str:
    start, end, length = (spelling.nanoseconds(each, raw) for each in (start_ns, end_ns, end_ns - start_ns))
    return f"[{start}, {end}) ({length})"


def _address_range(start: int, end: int, raw: bool) -> str:
    return (
        f"[{spelling.size(start, raw, digits=6)}, {spelling.size(end, raw, digits=6)}) "
        f"({spelling.size(end - start, raw)})"
    )
