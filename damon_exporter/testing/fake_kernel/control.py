"""The socket over which a test orders what users of the files cannot: one JSON object a line, one answer a line."""

import json
import socketserver
from pathlib import Path
from typing import Any

from damon_exporter.testing.fake_kernel.faults import Fault
from damon_exporter.testing.fake_kernel.kernel import Kernel
from damon_exporter.testing.fake_kernel.memory import Heat
from damon_exporter.testing.fake_kernel.page_owners import PageOwner
from damon_exporter.testing.fake_kernel.procfs import DEFAULT_MEMORY, Process, ticks_after_boot
from damon_exporter.testing.fake_kernel.slot import Slot
from damon_exporter.testing.fake_kernel.tree import expect


class Control:
    """``{"order": "add_process", "pid": 42, …}`` calls `add_process` with the other members as arguments."""

    def __init__(self, kernel: Kernel, socket: Path) -> None:
        self.kernel = kernel
        self.server = socketserver.ThreadingUnixStreamServer(str(socket), self._handler())
        self.server.daemon_threads = True

    def serve(self) -> None:
        """Take orders for ever."""
        self.server.serve_forever()

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        control = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    self.wfile.write(json.dumps(control.obey(json.loads(line))).encode() + b"\n")

        return Handler

    def obey(self, order: dict[str, Any]) -> Any:
        """Carry out one order."""
        name = order.pop("order")
        with self.kernel.lock:
            answer = getattr(self, name)(**order)
            self.kernel.cgroups.update()
            self.kernel.lock.notify_all()
            while self.kernel.root.dropped_names:
                self.kernel.lock.wait()
        return answer

    def reboot(self) -> None:
        """Everything as it was at first."""
        self.kernel.shut_down()
        self.kernel.boot()

    def add_process(
        self,
        pid: int,
        comm: str,
        cmdline: list[str],
        cgroup: str,
        rss: int,
        memory: list[list[float]] | None,
        age: float | None,
    ) -> None:
        """Start a process. ``memory``: (start, end, ratio) of its mappings."""
        heats = DEFAULT_MEMORY if memory is None else tuple(Heat(int(s), int(e), ratio) for s, e, ratio in memory)
        start_ticks = None if age is None else ticks_after_boot(age)
        process = Process(pid, comm, tuple(cmdline), cgroup, rss, memory=heats, start_ticks=start_ticks)
        self.kernel.processes.add(process)
        self.kernel.memory_version += 1

    def remove_process(self, pid: int) -> None:
        """End a process and reap it."""
        self.kernel.processes.remove(pid)
        self.kernel.memory_version += 1

    def end_process(self, pid: int) -> None:
        """End a process and leave a zombie."""
        self.kernel.processes.end(pid)
        self.kernel.memory_version += 1

    def set_physical_heat(self, heats: list[list[float]] | None) -> None:
        """Say which physical addresses are how hot; None: the default pattern."""
        self.kernel.physical_heat = None if heats is None else [Heat(int(s), int(e), ratio) for s, e, ratio in heats]
        self.kernel.memory_version += 1

    def set_cgroups(self, paths: list[str]) -> None:
        """The cgroups that there are, beside those of processes."""
        self.kernel.cgroups.named = frozenset(paths)

    def set_page_owners(self, owners: list[tuple[int, int, str, str | None]]) -> None:
        """Say whose and what physical memory is: (start, end, kind, cgroup); all else is free."""
        cgroups = self.kernel.cgroups
        self.kernel.page_owners.give(
            [PageOwner(start, end, kind, cgroups.at(path) if path else None) for start, end, kind, path in owners]
        )

    def set_free_memory(self, permil: int) -> None:
        """What watermarks look at."""
        self.kernel.free_memory_permil = permil

    def set_goal_value(self, metric: str, value: int) -> None:
        """What goals of quotas look at."""
        self.kernel.goal_values[metric] = value

    def add_fault(self, path: str, operation: str, errno: int, delay: float, count: int | None) -> None:
        """Let operations on matching paths fail or take long."""
        self.kernel.faults.ordered.append(Fault(path, operation, errno, delay, count))

    def clear_faults(self) -> None:
        """Back to normal."""
        self.kernel.faults.lift()

    def kill_kdamond(self, index: int) -> None:
        """End the kdamond of a slot, as the kernel does when it fails inside."""
        expect(self.kernel.damon.kdamonds.items[index], Slot).started.stop()
