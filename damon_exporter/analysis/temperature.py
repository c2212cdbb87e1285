"""Temperature of regions, as damo weighs it by default, and one line of it over the addresses of a target."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from damon_exporter.analysis.bands import I64
from damon_exporter.analysis.snapshot import F64, Intervals, Regions

WEIGHT = 100
"""Of a percent of access rate, and of a microsecond of age."""


def temperatures(regions: Regions, intervals: Intervals, age_unit_us: int) -> I64:
    """Return how hot each region is: rate and age weighed, and negative where no access was seen.

    As in damo, the access rate is cut to whole percents, and what is left of it decides on the sign.
    """
    percent = (regions.nr_accesses * 100.0 / (intervals.aggregation_us / intervals.sample_us)).astype(np.int64)
    score = WEIGHT * (percent + regions.age.astype(np.int64) * age_unit_us)
    return np.where(percent > 0, score, -score)


@dataclass(frozen=True, slots=True)
class Column:
    """A range of addresses (bytes) and the byte-weighted mean temperature of it; None where nothing is monitored."""

    start: float
    end: float
    temperature: float | None


def columns(regions: Regions, of_regions: I64, count: int) -> tuple[float, list[Column]]:
    """Return the bytes of one column, and columns from the lowest address of one target to the highest.

    There are ``count`` or somewhat more: bytes are shared out among them as if there were no gaps, and each gap that
    is not narrower than a column is one column more, however wide it is.
    """
    width = float(regions.sizes.sum()) / count
    return width, list(_walk(regions, of_regions, width)) if width else []


def _walk(regions: Regions, of_regions: I64, width: float) -> Iterator[Column]:
    starts, ends, weights = (each.astype(np.float64) for each in (regions.start, regions.end, of_regions))
    start = starts[0]
    while start < ends[-1]:
        end = start + width
        within = (ends > start) & (starts < end)
        if within.any():
            yield Column(start, end, _mean(starts[within], ends[within], weights[within], start, end))
        else:
            following = starts[starts >= end]
            if not len(following):
                return
            end = max(following[0] // width * width, end)
            yield Column(start, end, None)
        start = end


def _mean(starts: F64, ends: F64, weights: F64, start: float, end: float) -> float:
    """Return the mean over a whole column, of which bytes between regions count as neither hot nor cold."""
    covered = np.minimum(ends, end) - np.maximum(starts, start)
    return float((covered * weights).sum() / (end - start))
