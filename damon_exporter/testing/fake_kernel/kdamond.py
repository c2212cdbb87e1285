"""The kernel thread that monitors: aggregates, applies schemes, tunes its intervals, and reports to the trace."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.damos import NEVER, SHORTEST, Damos, restart, seconds
from damon_exporter.testing.fake_kernel.memory import PAGE, Range
from damon_exporter.testing.fake_kernel.parameters import Context, IntervalsGoal, Target
from damon_exporter.testing.fake_kernel.schemes import AppliedScheme
from damon_exporter.testing.fake_kernel.targets import MonitoredTarget, merged_targets
from damon_exporter.testing.fake_kernel.tuning import next_sample_us

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel


class Kdamond:
    """A monitoring context and its thread. All methods are called with the kernel's lock held.

    ``repeat`` is called when ``repeat_ms`` (0: never) have passed since the last time: DAMON's repeating calls.
    ``kept`` are schemes of a kdamond before that go on.
    """

    def __init__(self, kernel: "Kernel", context: Context, name: str, kept: Sequence[AppliedScheme] = ()) -> None:
        self.kernel = kernel
        self.context = context
        self.attributes = context.attributes
        self.name = name
        self.pid = -1
        self.alive = False
        self.stopping = False
        self.targets = [MonitoredTarget(target, self._first_ranges(target)) for target in context.targets]
        self.damos = Damos(kernel, context, kept)
        self.aggregations = 0
        self.repeat: Callable[[], None] = lambda: None
        self.repeat_ms: Callable[[], int] = lambda: 0
        self._started = self._last_repeat = 0.0
        self._next_aggregation = self._next_update = 0.0
        self._next_watch: float | None = None
        self._memory_version = -1
        self._largest = 0

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
        return self._next_watch is not None

    def next_call(self) -> float:
        """When it serves damon_call() next: after the sample that is being taken, or at the watermarks' check."""
        if self._next_watch is not None:
            return self._next_watch
        now, pause = time.monotonic(), seconds(self.attributes.sample_us)
        return now + pause - (now - self._started) % pause

    def commit(self, context: Context) -> None:
        """damon_commit_ctx(): scheme i goes on as scheme i, target i as target i; new targets wait for an update.

        A commit finds all schemes active. What is due is applied before watermarks are looked at again.
        """
        self.targets = merged_targets(self.targets, context.targets)
        attributes_differ = context.attributes != self.attributes
        self.damos.commit(context)
        self.context = context
        self.attributes = context.attributes
        if attributes_differ or not self.kernel.profile.since("6.18"):
            self._restart_schedule()
        self._lay_out()
        if not (self.deactivated or context.paused):
            self._apply_schemes(time.monotonic(), aggregated=False)
        self._watch()
        self.kernel.lock.notify_all()

    def _run(self) -> None:
        with self.kernel.lock:
            while not (self.stopping or self._lost_all_targets()):
                rest = self._next_event() - time.monotonic()
                if rest > 0:
                    self.kernel.lock.wait(min(rest, 60.0))
                    self._watch_if_awake()
                else:
                    self._work(time.monotonic())
                    self.kernel.lock.wait(SHORTEST)  # others want the lock, even if the next turn is due already
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
        restart(self.damos.schemes, self.attributes, now)

    def _next_event(self) -> float:
        if self._next_watch is not None:
            return self._next_watch
        if self.context.paused:
            return self._next_repeat()
        return min(self._next_repeat(), self._next_aggregation, self._next_update, self.damos.next_apply)

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
        """kdamond_wait_activation(): sleep while no scheme is active, for the shortest of their intervals."""
        sleep_us = self.damos.watch(self.kernel.free_memory_permil)
        self._next_watch = time.monotonic() + seconds(sleep_us) if sleep_us else None

    def _watch_if_awake(self) -> None:
        """Once it sleeps, it does not look before that is over; awake it looks with every sample."""
        if not self.deactivated:
            self._watch()

    def _aggregate(self) -> None:
        """End the window: count accesses, then ages (kdamond_merge_regions)."""
        if self._memory_version != self.kernel.memory_version:
            self._lay_out()
        for target in self.targets:
            target.sample(self.attributes.samples_per_aggregation)
        threshold = max((int(target.nr_accesses.max(initial=0)) for target in self.targets), default=0) // 10
        for target in self.targets:
            target.grow_older(threshold, flip_resets=self.kernel.profile.since("7.3"))
            target.join(self._largest, of_one_age=False)
        self.aggregations += 1

    def _apply_schemes(self, now: float, *, aggregated: bool) -> None:
        living = [(index, target) for index, target in enumerate(self.targets) if self._exists(target.target)]
        self.damos.apply(self.pid, living, self.attributes, now, aggregated=aggregated)
        for _, target in living:
            target.join(self._largest, of_one_age=True)

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
        self._largest = max(sum(target.total_bytes for target in self.targets) // self.attributes.min_regions, PAGE)
        for target in self.targets:
            target.lay_out(self.kernel.heat(target.target.pid, target.ranges), self._largest)
