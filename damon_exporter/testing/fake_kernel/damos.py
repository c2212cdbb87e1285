"""All schemes of a context, and how they are applied together: kdamond_apply_schemes()."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.charging import Charging
from damon_exporter.testing.fake_kernel.paddr import PhysicalMemory
from damon_exporter.testing.fake_kernel.parameters import Attributes, Context
from damon_exporter.testing.fake_kernel.passes import Indexed, Pass
from damon_exporter.testing.fake_kernel.scheme_parameters import Scheme
from damon_exporter.testing.fake_kernel.schemes import AppliedScheme
from damon_exporter.testing.fake_kernel.vaddr import VirtualMemory
from damon_exporter.testing.fake_kernel.walks import Walk

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel

NEVER = float("inf")
SHORTEST = 0.001  # seconds; whoever asks for less gets this, so that the fake stays awake for others


def seconds(microseconds: int) -> float:
    """An interval as kdamonds keep it."""
    return max(microseconds * 1e-6, SHORTEST)


class Damos:
    """``kept`` are schemes of a kdamond before, which go on as those of `context` with what they have counted.

    ``walk`` is what somebody waits for who wants to see regions.
    """

    def __init__(self, kernel: "Kernel", context: Context, kept: Sequence[AppliedScheme] = ()) -> None:
        self._kernel = kernel
        self.schemes = [*kept]
        self.walk: Walk | None = None
        self.commit(context)

    def commit(self, context: Context) -> None:
        """damon_commit_schemes(): scheme i goes on as scheme i, and those beyond the last one are forgotten."""
        self._operations = (PhysicalMemory if context.operations == "paddr" else VirtualMemory)(self._kernel)
        del self.schemes[len(context.schemes) :]
        for running, scheme in zip(self.schemes, context.schemes, strict=False):
            running.commit(scheme)
        added = [self._new(scheme) for scheme in context.schemes[len(self.schemes) :]]
        restart(added, context.attributes, time.monotonic())
        self.schemes += added

    def _new(self, scheme: Scheme) -> AppliedScheme:
        since = self._kernel.profile.since
        return AppliedScheme(scheme, Charging(from_start=since("6.18"), in_pages=since("7.2")))

    def watch(self, free_permil: int) -> int:
        """Look at all watermarks: the microseconds to sleep until the next look, 0 if any scheme wants none."""
        return min([running.watch(free_permil) for running in self.schemes], default=0)

    def begin_walk(self, *, needs_regions: bool) -> Walk:
        """Collect from now on what is tried, instead of for whoever asked before."""
        self.walk = Walk(set(range(len(self.schemes))), needs_regions)
        return self.walk

    @property
    def next_apply(self) -> float:
        """When the next scheme with an interval of its own is due."""
        return min((s.next_apply for s in self.schemes if s.active and s.scheme.apply_interval_us), default=NEVER)

    def apply(self, pid: int, targets: Indexed, attributes: Attributes, now: float, *, aggregated: bool) -> None:
        """Apply those that are due. If watermarks keep all of them asleep, they stay due."""
        due = {number: each for number, each in enumerate(self.schemes) if is_due(each, now, aggregated=aggregated)}
        passes = [self._pass(number, each, attributes) for number, each in due.items() if each.active]
        if not passes:
            return
        for each in passes:
            if each.adjust_quota(targets, now, self._kernel.measure):
                self._kernel.trace.damos_esz(pid, each.number, each.applied.charging.effective)
        for each in passes:
            each.go(targets)
        if self.walk:
            self.walk.collect([region for each in passes for region in each.tried], set(due))
        for number, running in due.items():
            running.next_apply = max(running.next_apply + apply_seconds(running.scheme, attributes), now)
            self._kernel.trace.damos_stat_after_apply_interval(pid, number, running.stats)

    def _pass(self, number: int, running: AppliedScheme, attributes: Attributes) -> Pass:
        is_watched = self.walk is not None and number in self.walk.pending
        return Pass(number, running, self._operations, attributes, is_watched, self._kernel.profile.since("7.3"))


def restart(schemes: Sequence[AppliedScheme], attributes: Attributes, now: float) -> None:
    """Count apply intervals from now on."""
    for running in schemes:
        running.next_apply = now + apply_seconds(running.scheme, attributes)


def apply_seconds(scheme: Scheme, attributes: Attributes) -> float:
    """damos_set_next_apply_sis(): whole samples, and no oftener than with each."""
    sample_us = max(attributes.sample_us, 1)
    samples = (scheme.apply_interval_us or attributes.aggr_us) // sample_us
    return seconds(max(samples, 1) * sample_us)


def is_due(running: AppliedScheme, now: float, *, aggregated: bool) -> bool:
    """Whether its interval is over; without one of its own it has that of aggregations."""
    return now >= running.next_apply if running.scheme.apply_interval_us else aggregated
