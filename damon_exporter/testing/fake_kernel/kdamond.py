"""The kernel thread that monitors: aggregates, applies schemes, tunes its intervals, and reports to the trace."""

import time
from collections.abc import Callable
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.memory import Range
from damon_exporter.testing.fake_kernel.parameters import Context, IntervalsGoal, Target
from damon_exporter.testing.fake_kernel.schemes import AppliedScheme, Walk
from damon_exporter.testing.fake_kernel.targets import MonitoredTarget, merged_targets
from damon_exporter.testing.fake_kernel.tuning import next_sample_us

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel

NEVER = float("inf")
SHORTEST = 0.001  # seconds; whoever asks for less gets this, so that the fake stays awake for others


def seconds(microseconds: int) -> float:
    """An interval as the thread keeps it."""
    return max(microseconds * 1e-6, SHORTEST)


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
        self.targets = [MonitoredTarget(target, self._first_ranges(target)) for target in context.targets]
        self.schemes = [AppliedScheme(scheme) for scheme in context.schemes]
        self.walk: Walk | None = None
        self.aggregations = 0
        self.repeat: Callable[[], None] = lambda: None
        self.repeat_ms: Callable[[], int] = lambda: 0
        self._started = self._last_repeat = 0.0
        self._next_aggregation = self._next_update = self._next_watch = 0.0
        self._memory_version = -1

    def start(self) -> None:
        """Begin to monitor, as a process that /proc shows."""
        self._started = self._last_repeat = time.monotonic()
        self.pid = self.kernel.processes.add_kernel_thread(self.name, self._cpu_seconds)
        self.alive = True
        self._watch()
        self._lay_out()
        self._restart_schedule()
        Thread(target=self._run, name=self.name, daemon=True).start()

    def stop(self) -> None:
        """Ask the thread to end and wait until it has."""
        self.stopping = True
        self.kernel.lock.notify_all()
        while self.alive:
            self.kernel.lock.wait()

    @property
    def deactivated(self) -> bool:
        """Whether the watermarks of all schemes keep it asleep."""
        return bool(self.schemes) and not any(scheme.active for scheme in self.schemes)

    def next_call(self) -> float:
        """When it serves damon_call() next: after the sample that is being taken, or at the watermarks' check."""
        if self.deactivated:
            return self._next_watch
        now, pause = time.monotonic(), seconds(self.attributes.sample_us)
        return now + pause - (now - self._started) % pause

    def commit(self, context: Context) -> None:
        """damon_commit_ctx(): scheme i goes on as scheme i, target i as target i; new targets wait for an update."""
        self.targets = merged_targets(self.targets, context.targets)
        attributes_differ = context.attributes != self.attributes
        self.schemes = self.schemes[: len(context.schemes)]
        for running, scheme in zip(self.schemes, context.schemes, strict=False):
            running.scheme = scheme
        now = time.monotonic()
        for scheme in context.schemes[len(self.schemes) :]:
            self.schemes.append(AppliedScheme(scheme, now + seconds(scheme.apply_interval_us)))
        self.context = context
        self.attributes = context.attributes
        if attributes_differ or not self.kernel.profile.since("6.18"):
            self._restart_schedule()
        self._lay_out()
        self._watch()
        self.kernel.lock.notify_all()

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

    def _cpu_seconds(self) -> float:
        """Processor time used: one percent of the time that it has been running."""
        return 0.01 * (time.monotonic() - self._started)

    def _restart_schedule(self) -> None:
        """Count aggregation, update and apply intervals from now on."""
        now = time.monotonic()
        self._next_aggregation = now + seconds(self.attributes.aggr_us)
        self._next_update = now + seconds(self.attributes.update_us)
        for scheme in self.schemes:
            scheme.next_apply = now + seconds(scheme.scheme.apply_interval_us)

    def _next_event(self) -> float:
        events = [self._next_repeat()]
        if self.deactivated:
            events.append(self._next_watch)
        elif not self.context.paused:
            events += [self._next_aggregation, self._next_update]
            events += [scheme.next_apply for scheme in self.schemes if scheme.scheme.apply_interval_us]
        return min(events)

    def _next_repeat(self) -> float:
        period = self.repeat_ms()
        return self._last_repeat + period / 1000 if period else NEVER

    def _work(self, now: float) -> None:
        """One turn of the main loop in which something is due; whoever waits for it looks afterwards."""
        self.kernel.lock.notify_all()  # they wait for the lock, too
        if now >= self._next_repeat():
            self._last_repeat = now
            self.repeat()
        self._watch()
        if self.deactivated or self.context.paused:
            return
        aggregated = now >= self._next_aggregation
        if aggregated:
            self._aggregate()
        self._apply_schemes(now, aggregated=aggregated)
        if aggregated:
            self._tune()
            self._report()
            self._next_aggregation = max(self._next_aggregation + seconds(self.attributes.aggr_us), now)
        if now >= self._next_update:
            self._update_ranges()
            self._next_update = now + seconds(self.attributes.update_us)

    def _watch(self) -> None:
        """Look at the watermarks, and again after the shortest of their intervals."""
        for scheme in self.schemes:
            scheme.watch(self.kernel.free_memory_permil)
        pause = min((scheme.scheme.watermarks.interval_us for scheme in self.schemes), default=0)
        self._next_watch = time.monotonic() + seconds(pause)

    def _aggregate(self) -> None:
        """End the window: count accesses, then ages (kdamond_merge_regions)."""
        if self._memory_version != self.kernel.memory_version:
            self._lay_out()
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
            interval_us = scheme.scheme.apply_interval_us
            if not (now >= scheme.next_apply if interval_us else aggregated):
                continue
            interval_us = max(interval_us, self.attributes.sample_us)  # no oftener than it samples
            scheme.next_apply = max(scheme.next_apply + seconds(interval_us), now)
            if scheme.active:
                applied[index] = scheme.apply(living)
        if self.walk and applied:
            self.walk.collect(applied, living)

    def _tune(self) -> None:
        """kdamond_tune_intervals(). The window that it ends is reported with ages that count in the new interval."""
        goal: IntervalsGoal | None = self.attributes.goal
        if goal is None or self.aggregations % goal.aggrs:
            return
        samples = self.attributes.samples_per_aggregation
        accessed = sum(int((target.sizes * target.nr_accesses).sum()) for target in self.targets)
        possible = sum(target.total_bytes for target in self.targets) * samples
        old = self.attributes
        sample_us = next_sample_us(old.sample_us, goal, accessed, possible)
        self.attributes = replace(old, sample_us=sample_us, aggr_us=sample_us * samples)
        for target in self.targets:
            target.rescale_ages(old.aggr_us, self.attributes.aggr_us)
        self.kernel.trace.damon_monitor_intervals_tune(self.pid, sample_us)

    def _report(self) -> None:
        """kdamond_reset_aggregated(): tell the trace what the ended window saw."""
        for index, target in enumerate(self.targets):
            if len(target):
                self.kernel.trace.damon_aggregated(self.pid, index, target)

    def _first_ranges(self, target: Target) -> tuple[Range, ...]:
        """Those that the user gave, else the process's. Physical memory has none of its own."""
        if target.regions or target.pid is None:
            return target.regions
        return self.kernel.processes.address_ranges(target.pid)

    def _update_ranges(self) -> None:
        """The ops update, for vaddr only: the process's memory as it is now, whatever the user gave at first."""
        if self.context.operations == "vaddr":
            for target in self.targets:
                if target.target.pid is not None:
                    target.ranges = self.kernel.processes.address_ranges(target.target.pid) or target.ranges
            self._lay_out()

    def _lay_out(self) -> None:
        """Cut all targets into at least ``min_regions`` regions, by how hot memory is now."""
        self._memory_version = self.kernel.memory_version
        largest = sum(target.total_bytes for target in self.targets) // self.attributes.min_regions
        for target in self.targets:
            target.lay_out(self.kernel.heat(target.target.pid, target.ranges), largest)
