"""One scheme's way through all regions: damon_do_apply_schemes().

The kernel goes from region to region and there from scheme to scheme; here each scheme goes from region to region. The
outcome is the same, as what a scheme does to a region can only matter to the schemes after it on that same region.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from damon_exporter.testing.fake_kernel.filters import Mask, judge
from damon_exporter.testing.fake_kernel.goals import Measure
from damon_exporter.testing.fake_kernel.operations import NOTHING, Operations, scores
from damon_exporter.testing.fake_kernel.parameters import Attributes
from damon_exporter.testing.fake_kernel.schemes import AppliedScheme
from damon_exporter.testing.fake_kernel.scores import least_score
from damon_exporter.testing.fake_kernel.targets import MonitoredTarget, Region
from damon_exporter.testing.fake_kernel.walks import TriedRegion

Indexed = Sequence[tuple[int, MonitoredTarget]]
"""Targets with their places among all targets of the context, as some of those may be gone."""


@dataclass
class Pass:
    """``number`` is the scheme's; ``is_watched``: somebody wants to know which regions are tried.

    ``leaves_out_filtered``: 7.3 does not take regions that core filters reject for a part of what has a high score.
    """

    number: int
    applied: AppliedScheme
    operations: Operations
    attributes: Attributes
    is_watched: bool
    leaves_out_filtered: bool
    tried: list[TriedRegion] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._scheme, self._stats, self._charging = self.applied.scheme, self.applied.stats, self.applied.charging
        self._quota = self._scheme.quota
        self._action = self.operations.action(self._scheme)

    def adjust_quota(self, targets: Indexed, now: float, measure: Measure) -> bool:
        """damos_adjust_quota(): whether the effective quota is a new one."""
        if not self._charging.is_set(self._quota):
            return False
        is_first, before = not self._charging.has_begun, self._charging.effective
        if self._charging.turn(self._quota, now, measure):
            self._stats.qt_exceeds += 1
        self._charging.least_score = self._least_score(targets)
        return is_first or self._charging.effective != before

    def _least_score(self, targets: Indexed) -> int:
        found, sizes = [], []
        for index, target in targets:
            fitting = self.applied.fitting(target)
            if self.leaves_out_filtered:
                fitting &= ~judge(self._scheme, index, target).rejected
            found.append(scores(self.operations, self._scheme, target, self.attributes)[fitting])
            sizes.append(target.sizes[fitting])
        return least_score(np.concatenate(found), np.concatenate(sizes), self._charging.effective) if found else 0

    def go(self, targets: Indexed) -> None:
        """Try the regions of all targets, from where the last charge window ended, until the quota is full."""
        if not any(target is self._charging.resume_in for _, target in targets):
            self._charging.resume_in = None
        for index, target in targets:
            if self._charging.resume_in in (None, target) and not self._is_full:
                self._go_through(index, target)

    @property
    def _is_full(self) -> bool:
        return self._charging.is_full(self._quota)

    def _go_through(self, index: int, target: MonitoredTarget) -> None:
        first = self._resume(target)
        if self.applied.has_all_snapshots or not len(target):
            return
        chosen, allowed = self._choose(index, target, first)
        if self._charging.limits(self._quota) or self.is_watched or self._action:
            last = self._try_one_by_one(index, target, chosen, allowed)
        else:
            last = self._count_all(target, chosen)
        was_at_end = not self._is_full or last == len(target) - 1
        if was_at_end and first < target.end[-1]:
            self._stats.nr_snapshots += 1

    def _resume(self, target: MonitoredTarget) -> int:
        """damos_skip_charged_region(): the address before which all was tried in the last window."""
        if self._charging.resume_in is None:
            return 0
        self._charging.resume_in = None
        target.cut(self._charging.resume_at)
        return self._charging.resume_at

    def _choose(self, index: int, target: MonitoredTarget, first: int) -> tuple[Mask, Mask]:
        """Which regions are to be tried, and for which of them ops filters are skipped."""
        chosen = self.applied.fitting(target)
        if self._charging.limits(self._quota):
            chosen &= scores(self.operations, self._scheme, target, self.attributes) >= self._charging.least_score
        verdict = judge(self._scheme, index, target)
        return chosen & ~verdict.rejected & (target.start >= np.uint64(first)), verdict.allowed

    def _count_all(self, target: MonitoredTarget, chosen: Mask) -> int | None:
        """For what only counts, and is what monitors are made of: all at once."""
        size = int(target.sizes[chosen].sum())
        self._stats.count(size, regions=int(chosen.sum()))
        self._charging.charge(self._quota, size, applied=0)
        self._reset_ages(target, chosen)
        return None

    def _reset_ages(self, target: MonitoredTarget, tried: Mask | list[int]) -> None:
        """Every action but ``stat`` does, even one that there is not."""
        if self._scheme.action != "stat":
            target.age[tried] = 0

    def _try_one_by_one(self, index: int, target: MonitoredTarget, chosen: Mask, allowed: Mask) -> int | None:
        """damos_apply_scheme() until the quota is full; returns the place of the region tried last."""
        regions = target.regions()
        queue = deque((place, regions[place], bool(allowed[place])) for place in np.flatnonzero(chosen).tolist())
        places, cuts = [], 0
        while queue and not self._is_full:
            place, region, is_allowed = queue.popleft()
            size = self._size_to_try(region)
            if not size:
                self._stats.count(0)  # before 7.2: less than a page is left, and tried with nothing
                continue
            places.append(place + cuts)
            if size < region.size:
                region, rest = region.cut(size)
                target.cut(rest.start)
                queue.appendleft((place, rest, is_allowed))
                cuts += 1
            self._try(index, target, region, is_allowed=is_allowed)
        self._reset_ages(target, places)
        return places[-1] if places else None

    def _size_to_try(self, region: Region) -> int:
        """All of it, or the whole pages that the quota has left."""
        charging = self._charging
        exceeds = charging.limits(self._quota) and charging.charged + region.size > charging.effective
        return charging.rest if exceeds else region.size

    def _try(self, index: int, target: MonitoredTarget, region: Region, *, is_allowed: bool) -> None:
        outcome = self._action.apply(target, region, is_allowed=is_allowed) if self._action else NOTHING
        if self.is_watched:
            self.tried.append(TriedRegion(index, region.start, self.number, region, outcome.passed))
        self._charging.charge(self._quota, region.size, outcome.applied)
        if self._is_full:
            self._charging.resume_in, self._charging.resume_at = target, region.end
        self._stats.count(region.size, outcome.applied, outcome.passed)
