"""The processes of the fake kernel, as /proc shows them."""

import errno
import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from damon_exporter.testing.fake_kernel.memory import PAGE, Heat, Range
from damon_exporter.testing.fake_kernel.ranges import bytes_of, without
from damon_exporter.testing.fake_kernel.tree import Directory, File

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
FIRST_KERNEL_THREAD = 700
KTHREADD = 2
PF_KTHREAD = 0x0020_0000
PATH_MAX = 4096
DEFAULT_MEMORY = (
    Heat(0x5555_5000_0000, 0x5555_5000_0000 + (64 << 20), 1.0),
    Heat(0x7F00_0000_0000, 0x7F00_0000_0000 + (128 << 20), 0.0),
    Heat(0x7FFF_F000_0000, 0x7FFF_F000_0000 + (132 << 10), 0.4),
)


@dataclass
class Process:
    """What a test says about a process. ``memory`` are its mapped ranges and how hot they are; kernel threads: none.

    Lone surrogates in ``comm`` and elsewhere stand for bytes that are no UTF-8.
    """

    pid: int
    comm: str
    cmdline: tuple[str, ...] = ()
    cgroup: str = "/"
    rss_bytes: int = 0
    ppid: int = 1
    memory: tuple[Heat, ...] = DEFAULT_MEMORY
    cpu_seconds: Callable[[], float] = lambda: 0.0
    state: str = "S"
    start_ticks: int | None = None
    """When it started, in ticks after boot. None: long ago, the later, the larger the pid."""
    paged_out: tuple[Range, ...] = ()

    @property
    def mapped(self) -> tuple[Range, ...]:
        """The mapped ranges."""
        return tuple((heat.start, heat.end) for heat in self.memory)

    @property
    def virtual_bytes(self) -> int:
        """Sum of the mapped ranges."""
        return bytes_of(self.mapped)

    @property
    def resident(self) -> tuple[Range, ...]:
        """What is in memory as page tables see it: all that is mapped and was not paged out, whatever its rss is."""
        ranges = self.mapped
        for start, end in self.paged_out:
            ranges = tuple(without(ranges, start, end))
        return ranges

    @property
    def resident_bytes(self) -> int:
        """Its rss: what the test has said without what was paged out since."""
        return max(self.rss_bytes - bytes_of(self.paged_out), 0)

    def page_out(self, start: int, end: int) -> None:
        """MADV_PAGEOUT of what is not accessed, and so does not come back."""
        self.paged_out = (*without(self.paged_out, start, end), (start, end))

    def folder(self) -> Directory:
        """/proc/PID."""
        files = {
            "comm": lambda: f"{self.comm}\n",
            "cmdline": lambda: "".join(f"{word}\0" for word in self.cmdline),
            "cgroup": self.cgroups,
            "stat": self.stat,
            "statm": self.statm,
            "status": self.status,
        }
        folder = Directory({name: ProcFile(read, mode=0o444) for name, read in files.items()}, mode=0o555)
        folder.add("maps", ProcFile(self.maps, mode=0o444))
        return folder

    def cgroups(self) -> str:
        """Its cgroup of version 2; a path of PATH_MAX bytes or more is ENAMETOOLONG."""
        if len(os.fsencode(self.cgroup)) >= PATH_MAX:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        return f"0::{self.cgroup}\n"

    def stat(self) -> str:
        """52 fields, of which pid, comm, state, parent, flags, processor time, start, size and rss are true."""
        fields = ["0"] * 49
        fields[0] = str(self.ppid)  # field 4
        fields[5] = str(PF_KTHREAD if KTHREADD in (self.pid, self.ppid) else 0)  # 9: flags
        fields[11] = str(round(self.cpu_seconds() * TICKS_PER_SECOND))  # 15: stime, where kernel threads spend theirs
        fields[16] = "1"  # 20: threads
        fields[18] = str(self.pid if self.start_ticks is None else self.start_ticks)  # 22: start time
        fields[19] = str(self.virtual_bytes)  # 23
        fields[20] = str(self.resident_bytes // PAGE)  # 24
        return f"{self.pid} ({self.comm}) {self.state} {' '.join(fields)}\n"

    def statm(self) -> str:
        """In pages."""
        return f"{self.virtual_bytes // PAGE} {self.resident_bytes // PAGE} 0 0 0 {self.virtual_bytes // PAGE} 0\n"

    def status(self) -> str:
        """The lines that tools look at. Here alone comm is escaped."""
        lines = {
            "Name": self.comm.replace("\\", "\\\\").replace("\n", "\\n"),
            "State": f"{self.state} ({'zombie' if self.state == 'Z' else 'sleeping'})",
            "Tgid": self.pid,
            "Pid": self.pid,
            "PPid": self.ppid,
            "Uid": "0\t0\t0\t0",
            "Gid": "0\t0\t0\t0",
            "NSpid": self.pid,
            "VmSize": f"{self.virtual_bytes // 1024:8} kB",
            "VmRSS": f"{self.resident_bytes // 1024:8} kB",
            "RssAnon": f"{self.resident_bytes // 1024:8} kB",
        }
        if self.ppid == KTHREADD:
            lines = {name: value for name, value in lines.items() if "Vm" not in name and "Rss" not in name}
        return "".join(f"{name}:\t{value}\n" for name, value in lines.items())

    def maps(self) -> str:
        """Anonymous mappings."""
        return "".join(f"{heat.start:x}-{heat.end:x} rw-p 00000000 00:00 0 \n" for heat in self.memory)


def ticks_after_boot(seconds_ago: float) -> int:
    """A time as /proc/PID/stat has it, by this machine's own clock."""
    return round((time.clock_gettime(time.CLOCK_BOOTTIME) - seconds_ago) * TICKS_PER_SECOND)


class ProcFile(File):
    """proc files have no size."""

    size = 0


class Processes:
    """All processes. The pids of kernel threads go up and are not used again."""

    def __init__(self, proc: Directory) -> None:
        self._proc = proc
        self._by_pid: dict[int, Process] = {}
        self._kernel_thread_pids = itertools.count(FIRST_KERNEL_THREAD)
        self._booted = time.monotonic()
        self.add(Process(1, "systemd", ("/sbin/init",), "/init.scope", 12 << 20, ppid=0))
        self.add(Process(KTHREADD, "kthreadd", ppid=0, memory=()))

    @property
    def living(self) -> Sequence[Process]:
        """All but zombies."""
        return [process for process in self._by_pid.values() if process.state != "Z"]

    def add(self, process: Process) -> None:
        """Make a process, or put one in the place of another with its pid."""
        if process.pid in self._by_pid:
            self.remove(process.pid)
        self._by_pid[process.pid] = process
        self._proc.add(str(process.pid), process.folder())

    def remove(self, pid: int) -> None:
        """End a process and reap it."""
        del self._by_pid[pid]
        self._proc.remove(str(pid))

    def end(self, pid: int) -> None:
        """Let a process be a zombie: it is still there, but has no memory any more."""
        process = self._by_pid[pid]
        process.state, process.memory, process.rss_bytes = "Z", (), 0

    def get(self, pid: int | None) -> Process | None:
        """The process, unless it is gone or has no memory."""
        process = self._by_pid.get(pid) if pid is not None else None
        return process if process and process.memory else None

    def exists(self, pid: int) -> bool:
        """Whether find_get_pid() finds it."""
        return pid in self._by_pid

    def add_kernel_thread(self, comm: str, cpu_seconds: Callable[[], float]) -> int:
        """Start a thread of the kernel. Returns its pid."""
        pid = next(self._kernel_thread_pids)
        self.add(Process(pid, comm, ppid=KTHREADD, memory=(), cpu_seconds=cpu_seconds))
        return pid

    def memory(self, pid: int) -> tuple[Heat, ...]:
        """A process's mappings and how hot they are; none of one that is gone."""
        process = self._by_pid.get(pid)
        return process.memory if process else ()

    def address_ranges(self, pid: int) -> tuple[Range, ...]:
        """What vaddr monitors, without the joining of all but the two largest gaps."""
        process = self.get(pid)
        return process.mapped if process else ()
