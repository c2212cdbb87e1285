"""Schemes as the kdamond applies them. All actions only count here; nothing is reclaimed or moved."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from damon_exporter.testing.fake_kernel.parameters import Scheme, Watermarks
from damon_exporter.testing.fake_kernel.targets import MonitoredTarget

ULONG = 1 << 64


@dataclass(frozen=True, slots=True)
class TriedRegion:
    """A region that a scheme was applied to."""

    scheme: int
    start: int
    end: int
    nr_accesses: int
    age: int


@dataclass
class Stats:
    """The counters of a scheme since `on`. They are unsigned longs and wrap."""

    nr_tried: int = 0
    sz_tried: int = 0
    nr_applied: int = 0
    sz_applied: int = 0
    qt_exceeds: int = 0
    nr_snapshots: int = 0


@dataclass
class AppliedScheme:
    """A scheme of a running kdamond. ``next_apply`` is CLOCK_MONOTONIC, and counts only with an interval of its own."""

    scheme: Scheme
    next_apply: float = 0.0
    stats: Stats = field(default_factory=Stats)
    active: bool = False

    def apply(self, targets: Sequence[MonitoredTarget]) -> list[NDArray[np.intp]]:
        """Count one pass over all regions, and give the indices of those that match, per target."""
        matches = []
        for index, target in enumerate(targets):
            mask = self._matches(target)
            if self.scheme.only_target not in (None, index):
                mask[:] = False
            self._count(int(mask.sum()), int(target.sizes[mask].sum()))
            self.stats.nr_snapshots += bool(len(target))
            matches.append(np.flatnonzero(mask))
        return matches

    def _matches(self, target: MonitoredTarget) -> NDArray[np.bool_]:
        mask = np.ones(len(target), np.bool_)
        for (least, most), values in (
            (self.scheme.size, target.sizes),
            (self.scheme.nr_accesses, target.nr_accesses),
            (self.scheme.age, target.age),
        ):
            mask &= (np.uint64(least) <= values) & (values <= np.uint64(most))
        return mask

    def _count(self, regions: int, size: int) -> None:
        self.stats.nr_tried = (self.stats.nr_tried + regions) % ULONG
        self.stats.sz_tried = (self.stats.sz_tried + size) % ULONG
        if self.scheme.action != "stat":
            self.stats.nr_applied = (self.stats.nr_applied + regions) % ULONG
            self.stats.sz_applied = (self.stats.sz_applied + size) % ULONG

    def watch(self, free_permil: int) -> None:
        """damos_wmark_wait_us(): on between low and mid, then until above high or below low."""
        marks: Watermarks = self.scheme.watermarks
        if marks.metric == "none":
            self.active = True
        elif free_permil > marks.high or free_permil < marks.low:
            self.active = False
        elif free_permil < marks.mid:
            self.active = True


@dataclass
class Walk:
    """damos_walk(): collects what one full application of every scheme tries."""

    pending: set[int]
    regions: list[TriedRegion] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.schemes = frozenset(self.pending)

    @property
    def complete(self) -> bool:
        """Whether every scheme has been applied and has tried something."""
        return not self.pending and {region.scheme for region in self.regions} == self.schemes

    def collect(self, applied: dict[int, list[NDArray[np.intp]]], targets: Sequence[MonitoredTarget]) -> None:
        """Take the matches of one pass, in the kernel's order: by target, region, then scheme."""
        found = sorted(
            (target, int(region), scheme)
            for scheme, matches in applied.items()
            if scheme in self.pending
            for target, regions in enumerate(matches)
            for region in regions
        )
        for target, region, scheme in found:
            of = targets[target]
            self.regions.append(
                TriedRegion(
                    scheme,
                    int(of.start[region]),
                    int(of.end[region]),
                    int(of.nr_accesses[region]),
                    int(of.age[region]),
                )
            )
        self.pending -= applied.keys()
