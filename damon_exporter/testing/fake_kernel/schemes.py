"""A scheme as the kdamond keeps it: its counters, its watermarks, and which regions it is for."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from damon_exporter.testing.fake_kernel.charging import Charging
from damon_exporter.testing.fake_kernel.filters import bounds
from damon_exporter.testing.fake_kernel.scheme_parameters import ULONG, Scheme
from damon_exporter.testing.fake_kernel.targets import MonitoredTarget


@dataclass
class Stats:
    """``struct damos_stat``: what a scheme has done since it is there. They are unsigned longs and wrap."""

    nr_tried: int = 0
    sz_tried: int = 0
    nr_applied: int = 0
    sz_applied: int = 0
    sz_ops_filter_passed: int = 0
    qt_exceeds: int = 0
    nr_snapshots: int = 0

    def count(self, tried: int, applied: int = 0, passed: int = 0, *, regions: int = 1) -> None:
        """damos_update_stat(): bytes, of one region if nothing is said."""
        self.nr_tried = (self.nr_tried + regions) & ULONG
        self.sz_tried = (self.sz_tried + tried) & ULONG
        self.nr_applied = (self.nr_applied + (regions if applied else 0)) & ULONG
        self.sz_applied = (self.sz_applied + applied) & ULONG
        self.sz_ops_filter_passed = (self.sz_ops_filter_passed + passed) & ULONG


@dataclass
class AppliedScheme:
    """A scheme of a context. ``next_apply`` is CLOCK_MONOTONIC, and counts only with an interval of its own.

    Watermarks find a scheme active: one that begins between high and mid is at work until memory leaves the marks.
    """

    scheme: Scheme
    charging: Charging
    next_apply: float = 0.0
    stats: Stats = field(default_factory=Stats)
    active: bool = True

    def commit(self, scheme: Scheme) -> None:
        """damos_commit(): other parameters, and active again; what was counted and charged stays."""
        self.scheme = scheme
        self.active = True

    def watch(self, free_permil: int) -> int:
        """damos_wmark_wait_us(): 0 if it is active, else the microseconds until the next look."""
        marks = self.scheme.watermarks
        if marks.metric == "none":
            return 0
        if free_permil > marks.high or free_permil < marks.low:
            self.active = False
        elif free_permil < marks.mid:
            self.active = True
        return 0 if self.active else marks.interval_us

    @property
    def has_all_snapshots(self) -> bool:
        """Whether ``max_nr_snapshots`` lets it do no more."""
        return 0 < self.scheme.max_nr_snapshots <= self.stats.nr_snapshots

    def fitting(self, target: MonitoredTarget) -> NDArray[np.bool_]:
        """Which regions have the access pattern.

        Those that lie across the bound of an address filter are cut there. The first part was looked at as a whole,
        the second one has to fit by itself.
        """
        mask = self._matches(target)
        starts = target.start[mask]
        for address in bounds(self.scheme):
            index = target.at(address)
            if index is not None and mask[index]:
                target.cut(address)
                mask = self._matches(target) | np.isin(target.start, starts)
        return mask

    def _matches(self, target: MonitoredTarget) -> NDArray[np.bool_]:
        """__damos_valid_target()."""
        mask = np.ones(len(target), np.bool_)
        for (least, most), values in (
            (self.scheme.size, target.sizes),
            (self.scheme.nr_accesses, target.nr_accesses),
            (self.scheme.age, target.age),
        ):
            mask &= (np.uint64(least) <= values) & (values <= np.uint64(most))
        return mask
