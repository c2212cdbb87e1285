"""What the monitored memory does: which ranges are accessed, and how often. A test may replace it at any time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from damon_exporter.analysis.snapshot import F64, U64

PAGE = 4096
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Heat:
    """A range of addresses and the share of samples, 0…1, that find it accessed."""

    start: int
    end: int
    ratio: float


@dataclass(frozen=True, slots=True)
class Layout:
    """The regions of one target as parallel arrays, with the share of samples that find each one accessed."""

    start: U64
    end: U64
    ratio: F64


def default_heat(ranges: Sequence[Range]) -> list[Heat]:
    """Of every range the first eighth is always accessed, the next one in two samples of five, and the rest never."""
    heats = []
    for start, end in ranges:
        eighth = (end - start) // 8 // PAGE * PAGE
        heats += [Heat(start, start + eighth, 1.0), Heat(start + eighth, start + 2 * eighth, 0.4)]
    return heats


def lay_out(ranges: Sequence[Range], heats: Sequence[Heat], largest: int) -> Layout:
    """Cut ranges into regions of one heat each and of at most ``largest`` bytes, rounded up to pages."""
    rows: list[tuple[int, int, float]] = []
    for start, end in ranges:
        inside = {address for heat in heats for address in (heat.start, heat.end) if start < address < end}
        edges = sorted({start, end} | inside)
        for low, high in pairwise(edges):
            ratio = max((heat.ratio for heat in heats if heat.start <= low < heat.end), default=0.0)
            count = -(-(high - low) // max(largest, PAGE))
            step = max(-(-(high - low) // count // PAGE) * PAGE, PAGE)
            rows += [(at, min(at + step, high), ratio) for at in range(low, high, step)]
    starts, ends, ratios = zip(*rows, strict=True) if rows else ((), (), ())
    return Layout(np.array(starts, np.uint64), np.array(ends, np.uint64), np.array(ratios, np.float64))
