"""The kernel thread that monitors: aggregates, applies schemes, tunes its intervals, and reports to the trace."""

import errno
import time
from collections.abc import Callable
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.parameters import Attributes, Context, Target
from damon_exporter.testing.fake_kernel.schemes import AppliedScheme, Walk
from damon_exporter.testing.fake_kernel.targets import MonitoredTarget
from damon_exporter.testing.fake_kernel.tree import fail
from damon_exporter.testing.fake_kernel.tuning import next_sample_us

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel

MICROSECOND = 1e-6
NEVER = float("inf")


class Kdamond:
    """A monitoring context and its thread. All methods are called with the kernel's lock held.

    ``repeat`` is called when ``repeat_ms`` (0: never) have passed since the last time: DAMON's repeating calls.
    """

    def __init__(self, kernel: "Kernel", context: Context, name: str) -> None:
        self.kernel = kernel
        self.context = context
        self.attributes = context.attributes
        self.name = name
        self.pid = -1
        self.alive = False
        self.stopping = False
        self.targets = [MonitoredTarget(target) for target in context.targets]
        self.schemes = [AppliedScheme(scheme, 0.0) for scheme in context.schemes]
        self.walk: Walk | None = None
        self.aggregations = 0
        self.started = self.next_aggregation = self.next_update = self.last_repeat = 0.0
        self.repeat: Callable[[], None] = lambda: None
        self.repeat_ms: Callable[[], int] = lambda: 0
        self.memory_version = -1

    def start(self) -> None:
        """Begin to monitor, as a process that /proc shows."""
        self.started = self.last_repeat = time.monotonic()
        self.pid = self.kernel.processes.add_kernel_thread(self.name, self.cpu_seconds)
        self.alive = True
        for scheme in self.schemes:
            scheme.watch(self.kernel.free_memory_permil)
        self.lay_out()
        self.restart_schedule()
        Thread(target=self._run, name=self.name, daemon=True).start()

    def stop(self) -> None:
        """Ask the thread to end and wait until it has."""
        self.stopping = True
        self.kernel.lock.notify_all()
        while self.alive:
            self.kernel.lock.wait()

    def cpu_seconds(self) -> float:
        """Processor time used: one percent of the time that it has been running."""
        return 0.01 * (time.monotonic() - self.started)

    @property
    def deactivated(self) -> bool:
        """Whether the watermarks of all schemes keep it asleep."""
        return bool(self.schemes) and not any(scheme.active for scheme in self.schemes)

    def restart_schedule(self) -> None:
        """Count aggregation, update and apply intervals from now on."""
        now = time.monotonic()
        self.next_aggregation = now + self.attributes.aggr_us * MICROSECOND
        self.next_update = now + self.attributes.update_us * MICROSECOND
        for scheme in self.schemes:
            scheme.next_apply = now + scheme.scheme.apply_interval_us * MICROSECOND

    def next_call(self) -> float:
        """When it serves damon_call() next: after the sample that is being taken, or at the watermarks' check."""
        now = time.monotonic()
        pause = self.attributes.sample_us * MICROSECOND
        if self.deactivated:
            pause = min(scheme.scheme.watermarks.interval_us for scheme in self.schemes) * MICROSECOND
        return now + pause - ((now - self.started) % pause if pause else 0)

    def _run(self) -> None:
        with self.kernel.lock:
            while not (self.stopping or self._lost_all_targets()):
                rest = self._next_event() - time.monotonic()
                if rest > 0:
                    self.kernel.lock.wait(min(rest, 60.0))
                else:
                    self._work(time.monotonic())
            self.alive = False
            self.kernel.processes.remove(self.pid)
            self.pid = -1
            self.kernel.lock.notify_all()

    def _lost_all_targets(self) -> bool:
        """damon_va_target_valid(): as long as one task exists, even as a zombie, it goes on. paddr never ends."""
        if self.context.operations == "paddr":
            return False
        return not any(self._exists(target.target) for target in self.targets)

    def _exists(self, target: Target) -> bool:
        return target.pid is None or self.kernel.processes.exists(target.pid)

    def _next_event(self) -> float:
        events = [self._next_repeat()]
        if self.deactivated:
            events.append(self.next_call())
        elif not self.context.paused:
            events += [self.next_aggregation, self.next_update]
            events += [scheme.next_apply for scheme in self.schemes if scheme.scheme.apply_interval_us]
        return min(events)

    def _next_repeat(self) -> float:
        period = self.repeat_ms()
        return self.last_repeat + period / 1000 if period else NEVER

    def _work(self, now: float) -> None:
        """One turn of the main loop in which something is due."""
        if now >= self._next_repeat():
            self.last_repeat = now
            self.repeat()
        for scheme in self.schemes:
            scheme.watch(self.kernel.free_memory_permil)
        if self.deactivated or self.context.paused:
            return
        aggregated = now >= self.next_aggregation
        if aggregated:
            self._aggregate()
        self._apply_schemes(now, aggregated=aggregated)
        if aggregated:
            self._report()
            self.next_aggregation = (
                max(self.next_aggregation, now - 0.5) + self.attributes.aggr_us * MICROSECOND
            )
        if now >= self.next_update:
            self.next_update = now + self.attributes.update_us * MICROSECOND
            self.lay_out(update=True)

    def _aggregate(self) -> None:
        """End the window: count accesses, then ages (kdamond_merge_regions)."""
        if self.memory_version != self.kernel.memory_version:
            self.lay_out()
        for target in self.targets:
            target.sample(self.attributes.samples_per_aggregation)
        threshold = max((int(target.nr_accesses.max(initial=0)) for target in self.targets), default=0) // 10
        for target in self.targets:
            target.grow_older(threshold, flip_resets=self.kernel.profile.since("7.3"))
        self.aggregations += 1

    def _apply_schemes(self, now: float, *, aggregated: bool) -> None:
        applied = {}
        living = [target for target in self.targets if self._exists(target.target)]
        for index, scheme in enumerate(self.schemes):
            interval = scheme.scheme.apply_interval_us * MICROSECOND
            due = now >= scheme.next_apply if interval else aggregated
            if not due:
                continue
            scheme.next_apply = max(scheme.next_apply + interval, now)
            if scheme.active:
                applied[index] = scheme.apply(living)
        if self.walk and applied:
            self.walk.collect(applied, living)
            self.kernel.lock.notify_all()

    def _report(self) -> None:
        """Tune the intervals, then tell the trace what the ended window saw."""
        goal = self.attributes.goal
        if goal and self.aggregations % goal.aggrs == 0:
            self._tune()
        for index, target in enumerate(self.targets):
            if len(target):
                self.kernel.trace.damon_aggregated(self.pid, index, target)

    def _tune(self) -> None:
        """The trace gets the ended window with ages that already count in the new interval."""
        samples = self.attributes.samples_per_aggregation
        accessed = sum(int((target.sizes * target.nr_accesses).sum()) for target in self.targets)
        possible = sum(int(target.sizes.sum()) for target in self.targets) * samples
        old = self.attributes
        sample_us = next_sample_us(old, accessed, possible)
        self.attributes = replace(old, sample_us=sample_us, aggr_us=sample_us * samples)
        for target in self.targets:
            target.rescale_ages(old.aggr_us, self.attributes.aggr_us)
        self.kernel.trace.damon_monitor_intervals_tune(self.pid, sample_us)

    def lay_out(self, *, update: bool = False) -> None:
        """Make regions: from the user's ranges, else from the process's memory. paddr without ranges has none.

        An ``update`` takes the process's memory anew even where the user gave ranges (except for fvaddr).
        """
        self.memory_version = self.kernel.memory_version
        ranges = [self._ranges(target.target, update=update) for target in self.targets]
        total = sum(end - start for of_target in ranges for start, end in of_target)
        for target, of_target in zip(self.targets, ranges, strict=True):
            heats = self.kernel.heat(target.target.pid, of_target)
            target.lay_out(of_target, heats, total // self.attributes.min_regions)

    def _ranges(self, target: Target, *, update: bool) -> list[tuple[int, int]]:
        given = list(target.regions)
        if target.pid is None or self.context.operations == "fvaddr" or (given and not update):
            return given
        return self.kernel.processes.address_ranges(target.pid)

    def commit(self, context: Context) -> None:
        """damon_commit_ctx(): scheme i goes on as scheme i, target i as target i; new targets wait for an update."""
        attributes_differ = context.attributes != self.attributes
        self.targets = merged_targets(self.targets, context.targets)
        now = time.monotonic()
        old = self.schemes[: len(context.schemes)]
        for running, scheme in zip(old, context.schemes, strict=False):
            running.scheme = scheme
        added = context.schemes[len(old) :]
        self.schemes = old + [AppliedScheme(s, now + s.apply_interval_us * MICROSECOND) for s in added]
        self.context = context
        self.attributes = context.attributes
        if attributes_differ or not self.kernel.profile.since("6.18"):
            self.restart_schedule()
        if any(target.regions for target in context.targets):
            self.lay_out()
        for scheme_ in self.schemes:
            scheme_.watch(self.kernel.free_memory_permil)
        self.kernel.lock.notify_all()


def merged_targets(running: list[MonitoredTarget], wanted: tuple[Target, ...]) -> list[MonitoredTarget]:
    """Targets after a commit: by index; obsolete ones and those missing at the end leave; unknown obsolete: EINVAL."""
    if any(target.obsolete for target in wanted[len(running) :]):
        raise fail(errno.EINVAL)
    merged = []
    for index, target in enumerate(wanted):
        if target.obsolete:
            continue
        monitored = running[index] if index < len(running) else MonitoredTarget(target)
        monitored.target = target
        merged.append(monitored)
    return merged
