"""The handle by which a test starts a fake kernel and orders what happens in it."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.testing.fake_kernel.fuse_mount import unmount

START_SECONDS = 20.0
END_SECONDS = 5.0


class FakeKernel:
    """A fake kernel below ``root``, from entering the context to leaving it.

    ``enabled`` are the modules that run from boot, as damon_stat does on Debian's 7.3. ``memory_map`` is the
    physical memory as (start, end, type), end exclusive; 4 GiB by default. ``numa_nodes`` is how many nodes share it
    evenly, or which addresses, as (start, end), each has.
    """

    def __init__(
        self,
        root: Path,
        *,
        kernel: str = "7.3",
        cpus: int = 2,
        enabled: Sequence[str] = (),
        memory_map: Sequence[tuple[int, int, str]] | None = None,
        numa_nodes: int | Sequence[tuple[int, int]] = 1,
    ) -> None:
        self.root = root / "mnt"
        self.sysfs = self.root / "sys"
        self.procfs = self.root / "proc"
        self.tracefs = self.sysfs / "kernel/tracing"
        self.paths = KernelPaths(self.sysfs, self.procfs, self.tracefs)
        self.kdamonds = self.paths.damon_admin / "kdamonds"
        self._socket = root / "control"
        self._log = root / "log"
        self._options = [f"--kernel={kernel}", f"--cpus={cpus}", *(f"--enable={name}" for name in enabled)]
        self._options.append(f"--numa-nodes={json.dumps(numa_nodes)}")
        if memory_map is not None:
            self._options.append(f"--memory-map={json.dumps(memory_map)}")

    def __enter__(self) -> Self:
        self.root.mkdir(parents=True)
        command = [sys.executable, "-m", "damon_exporter.testing.fake_kernel", str(self.root)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [*command, f"--control={self._socket}", *self._options],
                stdin=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_mounted()
            self._connection = socket.socket(socket.AF_UNIX)
            self._connection.connect(str(self._socket))
            self._answers = self._connection.makefile("r")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answers.close()
        self._connection.close()
        log = self._end()
        if "Traceback" in log and kind is None:
            raise RuntimeError(f"the fake kernel crashed:\n{log}")

    def _wait_until_mounted(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.kdamonds.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the fake kernel did not start:\n{self._log.read_text()}")
            time.sleep(0.01)

    def _end(self) -> str:
        """Unmount, end the process, and return what it had to say."""
        unmount(self.root)
        try:
            self._process.communicate(timeout=END_SECONDS)  # ends its standard input
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return self._log.read_text()

    def _order(self, order: str, **arguments: Any) -> Any:
        self._connection.sendall(json.dumps({"order": order, **arguments}).encode() + b"\n")
        answer = self._answers.readline()
        if not answer:
            raise RuntimeError(f"the fake kernel crashed:\n{self._log.read_text()}")
        return json.loads(answer)

    def reboot(self) -> None:
        """Make everything as it was at first: nothing staged, nothing running but what runs from boot."""
        self._order("reboot")

    def write(self, path: str, text: object) -> None:
        """Write to a file below ``kdamonds`` as any other tool would: one write(2)."""
        file = self.kdamonds / path
        with file.open("wb", buffering=0) as raw:
            raw.write(f"{text}\n".encode())

    def parameter(self, module: str, name: str) -> Path:
        """A parameter of a module."""
        return self.paths.module_parameters(module) / name

    def read(self, path: str) -> str:
        """Read a file below ``kdamonds``, without the newline at its end."""
        return (self.kdamonds / path).read_text().removesuffix("\n")

    def add_process(
        self,
        pid: int,
        comm: str,
        *,
        cmdline: Sequence[str] = (),
        cgroup: str = "/",
        rss: int = 192 << 20,
        memory: Sequence[tuple[int, int, float]] | None = None,
        age: float | None = None,
    ) -> None:
        """Start a process. ``memory`` are its mappings as (start, end, share of samples that find it accessed).

        ``age`` is how long ago (s) it started, None is long ago, and before all processes with larger pids.
        Bytes that are no UTF-8 are lone surrogates, as os.fsdecode makes them: ``comm=os.fsdecode(b"\\xff")``. Its
        cgroup is made if there is none yet.
        """
        details = {"cmdline": list(cmdline), "cgroup": cgroup, "rss": rss, "memory": memory, "age": age}
        self._order("add_process", pid=pid, comm=comm, **details)

    def remove_process(self, pid: int) -> None:
        """End a process and reap it."""
        self._order("remove_process", pid=pid)

    def end_process(self, pid: int) -> None:
        """End a process and leave a zombie."""
        self._order("end_process", pid=pid)

    def set_physical_heat(self, heats: Sequence[tuple[int, int, float]] | None) -> None:
        """Say which physical addresses are how hot, as (start, end, ratio 0…1). None: the default pattern."""
        self._order("set_physical_heat", heats=heats)

    def set_cgroups(self, *paths: str) -> None:
        """The cgroups that there are, beside those that living processes are in, and those above them."""
        self._order("set_cgroups", paths=paths)

    def set_page_owners(self, owners: Sequence[tuple[int, int, str, str | None]]) -> None:
        """Say whose and what physical memory is, as (start, end, kind, cgroup): whole pages; all else is free.

        ``kind`` is anon, file, shmem, slab, free or hugetlb. The cgroup must exist, None is nobody. Where two overlap,
        the later one is right. Pages of a cgroup that is removed go to the closest above it that is not.
        """
        self._order("set_page_owners", owners=owners)

    def set_free_memory(self, permil: int) -> None:
        """The free memory that watermarks look at, 600 at first: more than the modules need to be at work."""
        self._order("set_free_memory", permil=permil)

    def set_goal_value(self, metric: str, value: int) -> None:
        """What the kernel measures of a metric that quotas have goals for, at first just what is aimed at.

        Of a node's memory it is by the free memory.
        """
        self._order("set_goal_value", metric=metric, value=value)

    def fail(self, path: str, operation: str, error: int, *, count: int | None = None) -> None:
        """Let operations (open, read, write, mkdir, rmdir) on paths that match fail ``count`` times, or always.

        ``path`` is a shell pattern below the mount; ``*`` matches slashes, too: ``*/kdamonds/0/state``.
        """
        self._order("add_fault", path=path, operation=operation, errno=error, delay=0.0, count=count)

    def delay(self, path: str, operation: str, seconds: float, *, count: int | None = None) -> None:
        """Let reads or writes on paths that match take long."""
        self._order("add_fault", path=path, operation=operation, errno=0, delay=seconds, count=count)

    def clear_faults(self) -> None:
        """End all failures and delays."""
        self._order("clear_faults")

    def kill_kdamond(self, index: int = 0) -> None:
        """End a kdamond as if it had failed inside."""
        self._order("kill_kdamond", index=index)
