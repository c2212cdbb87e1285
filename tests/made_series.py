"""A series of one monitor, and the short way to tell it what its kdamond reports."""

from collections.abc import Sequence

import numpy as np
from made_regions import INTERVALS, MIB, regions

from damon_exporter.analysis.snapshot import Intervals, Regions, Snapshot
from damon_exporter.config import Export
from damon_exporter.series import MonitorSeries
from damon_exporter.state import TargetState

MS = 10**6
A_MS = 100
"""The aggregation interval of `INTERVALS`."""

SETTINGS = {
    "bands": {"idle": "0%", "cold": "50%", "hot": "100%"},
    "idle_age": ["100ms", "1s", "1m"],
    "working_set": {"window": "1s", "percentiles": [0, 50, 100]},
    "heatmap": {"bins": 4},
}

MIXED = regions((0, MIB, 0, 9), (MIB, 3 * MIB, 5, 0), (3 * MIB, 8 * MIB, 20, 0))
"""1 MiB idle for a second, 2 MiB cold, 5 MiB hot."""

IDLE = regions((0, 8 * MIB, 0, 6000))
"""All of it idle, for ten minutes if the kernel is to be believed."""


class Watching:
    """A series, and the short way to tell it something."""

    def __init__(self, **settings: object) -> None:
        self.series = MonitorSeries(Export.model_validate({**SETTINGS, **settings}), with_heatmap=True)
        self.now_ns = 0

    def see(
        self,
        made: Regions,
        at_ms: float,
        kdamond: int = 1,
        intervals: Intervals | None = INTERVALS,
        age_unit_us: int | None = 100_000,
        names: Sequence[str] = ("physical",),
        group: Sequence[int] | None = None,
    ) -> None:
        self.now_ns = round(at_ms * MS)
        group_of_regions = np.array([0] * len(made) if group is None else group, np.intp)
        self.series.observe(Snapshot(kdamond, self.now_ns, made, intervals, age_unit_us), names, group_of_regions)

    def targets(self, now_ms: float | None = None, offset: float = 0.0) -> dict[str, TargetState]:
        now_ns = self.now_ns if now_ms is None else round(now_ms * MS)
        return {target.name: target for target in self.series.targets(now_ns, offset)}

    @property
    def physical(self) -> TargetState:
        return self.targets()["physical"]


def band_bytes(target: TargetState) -> dict[str, int]:
    assert target.bands is not None
    return {band.name: band.bytes for band in target.bands}


def band_byte_seconds(target: TargetState) -> dict[str, float]:
    assert target.bands is not None
    return {band.name: band.byte_seconds for band in target.bands}


def idle_bytes(target: TargetState) -> tuple[float, ...]:
    assert target.idle_age is not None
    return target.idle_age.counts
