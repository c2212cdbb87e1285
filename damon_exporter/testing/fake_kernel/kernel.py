"""The whole fake kernel: its files, its processes and what it has in common."""

import threading
from collections.abc import Sequence

from damon_exporter.testing.fake_kernel.cgroups import Cgroups
from damon_exporter.testing.fake_kernel.core import Core
from damon_exporter.testing.fake_kernel.damon_sysfs import DamonSysfs
from damon_exporter.testing.fake_kernel.faults import Faults
from damon_exporter.testing.fake_kernel.machine import (
    DEFAULT_MEMORY_MAP,
    MemoryMapEntry,
    NumaNodes,
    build_machine,
    system_ram,
)
from damon_exporter.testing.fake_kernel.memory import Heat, Range, default_heat
from damon_exporter.testing.fake_kernel.modules import build_modules
from damon_exporter.testing.fake_kernel.page_owners import PageOwners
from damon_exporter.testing.fake_kernel.procfs import Processes
from damon_exporter.testing.fake_kernel.profile import Profile
from damon_exporter.testing.fake_kernel.tracefs import Trace
from damon_exporter.testing.fake_kernel.tree import Root, text_file


class Kernel:
    """``lock`` guards everything; who waits for something to happen waits on it."""

    def __init__(
        self,
        profile: Profile,
        cpus: int,
        memory_map: Sequence[MemoryMapEntry] = DEFAULT_MEMORY_MAP,
        enabled: Sequence[str] = (),
        numa_nodes: NumaNodes = 1,
    ) -> None:
        self.profile = profile
        self.cpus = cpus
        self.system_ram = system_ram(memory_map)
        self.lock = threading.Condition()
        self.faults = Faults()
        self.root = Root()
        self._memory_map = memory_map
        self._enabled = enabled
        self._numa_nodes = numa_nodes
        with self.lock:
            self.boot()

    def boot(self) -> None:
        """Make all files, and start the modules that run from boot. The root must be empty."""
        self.free_memory_permil = 500
        self.physical_heat: list[Heat] | None = None
        self.memory_version = 0
        self.processes = Processes(self.root.make("proc"))
        self.root.make("proc/sys/kernel").add("osrelease", text_file(f"{self.profile.name}.0-fake\n"))
        build_machine(self.root.make("sys"), self._memory_map, self.cpus, self._numa_nodes)
        self.cgroups = Cgroups(self, self.root.make("sys/fs"))
        self.cgroups.update()
        self.page_owners = PageOwners(self, self.root.make("proc"))
        self.core = Core(self)
        self.trace = Trace(self, self.root.make("sys/kernel"))
        self.damon = DamonSysfs(self, self.root.make("sys/kernel/mm"))
        self.modules = build_modules(self)
        for module in self._enabled:
            self.modules[module].start()

    def shut_down(self) -> None:
        """End all that runs and remove all files."""
        self.faults.abandon()
        for kdamond in self.core.running:
            kdamond.stop()
        for name in list(self.root.children):
            self.root.remove(name)

    def heat(self, pid: int | None, ranges: Sequence[Range]) -> Sequence[Heat]:
        """How hot what is: of a process, or of physical memory (``pid`` None)."""
        if pid is not None:
            return self.processes.memory(pid)
        return default_heat(ranges) if self.physical_heat is None else self.physical_heat
