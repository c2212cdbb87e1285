"""/sys/kernel/tracing: trace instances with DAMON's events, and the ways that events take into them."""

import errno
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.profile import Profile
from damon_exporter.testing.fake_kernel.ring_buffer import RingBuffer, TracePipeRaw
from damon_exporter.testing.fake_kernel.scheme_events import EFFECTIVE_QUOTA, FORMATS, STAT, quota_record, stat_record
from damon_exporter.testing.fake_kernel.schemes import Stats
from damon_exporter.testing.fake_kernel.targets import MonitoredTarget
from damon_exporter.testing.fake_kernel.trace_settings import Clock, Filter, Setting, Size
from damon_exporter.testing.fake_kernel.tree import Directory, File, fail, text_file, walk
from damon_exporter.testing.trace_pages import TRACE_FILES, Region
from damon_exporter.testing.trace_texts import AGGREGATED, INTERVALS_TUNE

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel

DEFAULT_SIZE_KB = 1410
DEFAULT_PERCENT = 50
MIGRATE_EVERY = 3  # aggregations


class Instance(Directory):
    """A folder with buffers of its own. Its events are off at first, and its buffers of the default size."""

    def __init__(self, kernel: "Kernel") -> None:
        self.kernel = kernel
        self.buffers = [RingBuffer(kernel.profile.name, DEFAULT_SIZE_KB) for _ in range(kernel.cpus)]
        self.tracing_on = Setting(1, 1)
        self.percent = Setting(DEFAULT_PERCENT, 100)
        self.pipes = [TracePipeRaw(buffer, lambda: self.percent.value) for buffer in self.buffers]
        self.enabled: dict[str, Setting] = {}
        self.filters: dict[str, Filter] = {}
        super().__init__(
            {
                "trace_clock": Clock(self),
                "buffer_size_kb": Size(self),
                "buffer_percent": self.percent,
                "tracing_on": self.tracing_on,
                "events": Directory(),
                "per_cpu": Directory(),
            },
            mode=0o700,
        )
        for cpu, (buffer, pipe) in enumerate(zip(self.buffers, self.pipes, strict=True)):
            stats = File(read=partial(stats_of, buffer), mode=0o440)
            self.make("per_cpu").add(f"cpu{cpu}", Directory({"trace_pipe_raw": pipe, "stats": stats}))
        for path, text in trace_files(kernel.profile).items():
            folder, name = path.rsplit("/", 1)
            self.make(folder).add(name, text_file(text, mode=0o440))
            if name == "format":
                self._add_event(self.make(folder), text)

    def _add_event(self, folder: Directory, text: str) -> None:
        enable, filter_ = Setting(0, 1), Filter()
        self.enabled[folder.name], self.filters[folder.name] = enable, filter_
        folder.add("enable", enable)
        folder.add("filter", filter_)
        number = re.findall(r"^ID: (\d+)$", text, re.MULTILINE)[0]
        folder.add("id", text_file(f"{number}\n", mode=0o440))

    def clear(self) -> None:
        """Empty all buffers."""
        for buffer in self.buffers:
            buffer.clear()

    def records(self, event: str, pid: int) -> bool:
        """Whether an event of this process goes into the buffers."""
        if not self.tracing_on.value or event not in self.enabled:
            return False
        return bool(self.enabled[event].value) and self.filters[event].lets_through(pid)

    def wake_readers(self) -> None:
        """After events were added."""
        for pipe in self.pipes:
            if pipe.ready():
                pipe.wake_watchers()


def trace_files(profile: Profile) -> Mapping[str, str]:
    """The texts of an instance, by their paths in it."""
    return {**TRACE_FILES[profile.name], **(FORMATS if profile.since("7.0") else {})}


def stats_of(buffer: RingBuffer) -> str:
    """``per_cpu/cpuN/stats``."""
    return buffer.stats(time.monotonic_ns())


class Instances(Directory):
    """``instances``: mkdir makes one, rmdir removes it, EBUSY while any of its files is open."""

    def __init__(self, kernel: "Kernel") -> None:
        super().__init__(mode=0o700)
        self.kernel = kernel

    def mkdir(self, name: str) -> Directory:
        """Make an instance with all of its files and buffers."""
        if name in self.children:
            raise fail(errno.EEXIST)
        instance = Instance(self.kernel)
        self.add(name, instance)
        return instance

    def rmdir(self, name: str) -> None:
        """Remove an instance and all of its files."""
        if name not in self.children:
            raise fail(errno.ENOENT)
        if any(isinstance(node, File) and node.opens for node in walk(self.children[name])):
            raise fail(errno.EBUSY)
        self.remove(name)


class Trace:
    """Where kdamonds report. A kdamond wanders from CPU to CPU, at times in the middle of a snapshot."""

    def __init__(self, kernel: "Kernel", parent: Directory) -> None:
        self.kernel = kernel
        self.top = Instance(kernel)
        self.instances = Instances(kernel)
        self.top.add("instances", self.instances)
        parent.add("tracing", self.top)
        self._reports = 0
        self._last_ns = 0

    def damon_aggregated(self, pid: int, target_id: int, target: MonitoredTarget) -> None:
        """Tell all regions of a target, in every instance that wants them."""
        self._reports += 1
        here, there = self._cpus()
        columns = (target.start, target.end, target.nr_accesses, target.age)
        regions: list[Region] | None = None
        for instance in self._recording(AGGREGATED, pid):
            if regions is None:
                regions = list(zip(*(column.tolist() for column in columns), strict=True))
            middle = len(regions) // 2 if here != there else len(regions)
            for cpu, part in ((here, regions[:middle]), (there, regions[middle:])):
                last = instance.buffers[cpu].aggregated(self._now(), pid, target_id, part, len(regions))
                self._last_ns = max(self._last_ns, last)
            instance.wake_readers()

    def damon_monitor_intervals_tune(self, pid: int, sample_us: int) -> None:
        """Tell the new sampling interval."""
        here, _ = self._cpus()
        for instance in self._recording(INTERVALS_TUNE, pid):
            instance.buffers[here].intervals_tuned(self._now(), pid, sample_us)
            instance.wake_readers()

    def damos_stat_after_apply_interval(self, pid: int, scheme: int, stats: Stats) -> None:
        """Tell the counters of a scheme that was due."""
        self._tell(STAT, pid, lambda: stat_record(pid, scheme, stats))

    def damos_esz(self, pid: int, scheme: int, effective: int) -> None:
        """Tell a new effective quota."""
        self._tell(EFFECTIVE_QUOTA, pid, lambda: quota_record(pid, scheme, effective))

    def _tell(self, event: str, pid: int, record: Callable[[], bytes]) -> None:
        here, _ = self._cpus()
        for instance in self._recording(event, pid):
            self._last_ns = instance.buffers[here].record(self._now(), record())
            instance.wake_readers()

    def _now(self) -> int:
        """The time, but never before the end of what was told already."""
        return max(time.monotonic_ns(), self._last_ns + 1)

    def _cpus(self) -> tuple[int, int]:
        """Where a report begins and where it ends."""
        here = self._reports // MIGRATE_EVERY % self.kernel.cpus
        there = (self._reports + 1) // MIGRATE_EVERY % self.kernel.cpus
        return here, there

    def _recording(self, event: str, pid: int) -> list[Instance]:
        instances = [self.top, *(node for node in self.instances.children.values() if isinstance(node, Instance))]
        return [instance for instance in instances if instance.records(event, pid)]
