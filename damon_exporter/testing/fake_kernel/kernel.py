"""The whole fake kernel: its files, its processes and what it has in common."""

import threading
from collections.abc import Sequence

from damon_exporter.testing.fake_kernel.cgroups import Cgroups
from damon_exporter.testing.fake_kernel.core import Core
from damon_exporter.testing.fake_kernel.damon_sysfs import DamonSysfs
from damon_exporter.testing.fake_kernel.faults import Faults
from damon_exporter.testing.fake_kernel.machine import (
    BLOCK_BYTES,
    DEFAULT_MEMORY_MAP,
    MemoryMapEntry,
    NumaNodes,
    blocks_by_node,
    build_machine,
    memory_blocks,
    system_ram,
)
from damon_exporter.testing.fake_kernel.memory import Heat, Range, default_heat
from damon_exporter.testing.fake_kernel.modules import build_modules
from damon_exporter.testing.fake_kernel.page_owners import PageOwners
from damon_exporter.testing.fake_kernel.procfs import Processes, ProcFile
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
        self._blocks_by_node = blocks_by_node(memory_blocks(self.system_ram), numa_nodes)
        with self.lock:
            self.boot()

    def boot(self) -> None:
        """Make all files, and start the modules that run from boot. The root must be empty."""
        self.free_memory_permil = 600
        self.goal_values: dict[str, int] = {}
        self.physical_heat: list[Heat] | None = None
        self.memory_version = 0
        self.processes = Processes(self.root.make("proc"))
        self.root.make("proc/sys/kernel").add("osrelease", text_file(f"{self.profile.name}.0-fake\n"))
        self.root.make("proc").add("meminfo", ProcFile(self._meminfo))
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

    def measure(self, metric: str) -> int | None:
        """What a metric of quota goals is now: what a test has said, else by the free memory, else unknown."""
        free_bp = self.free_memory_permil * 10
        known = {"node_mem_free_bp": free_bp, "node_mem_used_bp": 10_000 - free_bp, **self.goal_values}
        return known.get(metric)

    def _meminfo(self) -> str:
        """As much of /proc/meminfo as tells how much memory is free."""
        total = sum(end - start for start, end in self.system_ram) >> 10
        return f"MemTotal: {total} kB\nMemFree: {-(-total * self.free_memory_permil // 1000)} kB\n"

    def has_node(self, node: int) -> bool:
        """Whether there is such a NUMA node, with memory."""
        return 0 <= node < len(self._blocks_by_node) and bool(self._blocks_by_node[node])

    def node_of(self, address: int) -> int | None:
        """The NUMA node of a physical address."""
        block = address // BLOCK_BYTES
        return next((node for node, blocks in enumerate(self._blocks_by_node) if block in blocks), None)
