"""Processes as /proc shows them: names, start times, command lines, cgroups, memory, CPU time; pid namespaces."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from damon_exporter.kernel.errors import Gone, KernelError, Unsupported
from damon_exporter.kernel.files import names_in, read_text, read_value
from damon_exporter.kernel.memory import PAGE_SIZE

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

KTHREADD_PID = 2

LONGEST_COMMAND_LINE = 4096

UNIFIED = "0::"


Identity = tuple[int, int]
"""A pid, and when (ticks since boot) the process with that pid started: pids are used again."""

WHOEVER = 0
"""A time of start that fits any process: of a child that we have not reaped, nobody else gets the pid."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process: ``start_ticks`` since boot tells it from a later one with the same pid."""

    pid: int
    comm: str
    start_ticks: int
    state: str
    kernel_thread: bool
    cpu_seconds: float

    @property
    def identity(self) -> Identity:
        """What tells it from a later process with its pid."""
        return self.pid, self.start_ticks

    @property
    def alive(self) -> bool:
        """Has it memory that can be watched? Not a zombie, not dead, not a kernel thread."""
        return self.state not in "ZX" and not self.kernel_thread

    @property
    def is_kdamond(self) -> bool:
        """Is it one of DAMON's threads? In another pid namespace, a kdamond's pid is some other process's."""
        return self.kernel_thread and self.comm.startswith("kdamond")


PF_KTHREAD = 0x00200000


def process(procfs: Path, pid: int) -> Process | None:
    """Return the process, or None if there is none (any more)."""
    try:
        return _parse_stat(pid, read_value(f"{procfs}/{pid}/stat"))  # a string: there may be thousands
    except (KernelError, ValueError, IndexError):
        return None


def lives(procfs: Path, identity: Identity) -> bool:
    """Is this very process still there, with memory that can be watched?

    One that cannot be looked at just now, for want of files that may be open, say, is not taken for dead.
    """
    pid, start_ticks = identity
    try:
        found = _parse_stat(pid, read_value(f"{procfs}/{pid}/stat"))
    except (Unsupported, Gone, ValueError, IndexError):
        return False
    except KernelError:
        return True
    return found.alive and start_ticks in (found.start_ticks, WHOEVER)


def processes(procfs: Path) -> Iterator[Process]:
    """Yield all processes; those that vanish meanwhile are left out. Raises `KernelError` if there is no procfs."""
    for name in names_in(procfs):
        if name.isdigit() and (found := process(procfs, int(name))):
            yield found


def command_line(procfs: Path, pid: int) -> str:
    """Return the words that a process was started with, or shows instead, joined by one space; "" if it has ended.

    At most the first `LONGEST_COMMAND_LINE` bytes. Bytes that are no UTF-8 become lone surrogates.
    """
    try:
        text = read_text(f"{procfs}/{pid}/cmdline", LONGEST_COMMAND_LINE)
    except KernelError:
        return ""
    return text.rstrip("\0").replace("\0", " ")


def cgroup(procfs: Path, pid: int) -> str | None:
    """Return the process's cgroup as /proc/PID/cgroup has it: that of v2, or of v1's memory controller.

    Seen from a cgroup namespace of our own, cgroups of others begin with ``/..``. None if the process has ended, "" if
    the path is too long for the kernel to tell: of 4096 bytes or more.
    """
    try:
        text = read_text(f"{procfs}/{pid}/cgroup").removesuffix("\n")
    except KernelError as error:
        return "" if getattr(error.__cause__, "errno", None) == errno.ENAMETOOLONG else None
    if text.startswith(UNIFIED):  # v2 alone: a single line, whatever stands in it
        return text.removeprefix(UNIFIED)
    parts = [line.split(":", 2) for line in text.split("\n")]  # the path may hold colons
    found = {controllers: path for _, controllers, path in (part for part in parts if len(part) == 3)}
    memory = (path for controllers, path in found.items() if "memory" in controllers.split(","))
    return next(memory, found.get(""))


def resident_bytes(procfs: Path, pid: int) -> int:
    """Return the resident set of a process; 0 if it has ended."""
    try:
        return int(read_value(f"{procfs}/{pid}/statm").split()[1]) * PAGE_SIZE
    except (KernelError, ValueError, IndexError):
        return 0


def is_mounted(procfs: Path) -> bool:
    """Are there any processes to be seen?"""
    try:
        return any(name.isdigit() for name in names_in(procfs))
    except KernelError:
        return False


def is_initial_pid_namespace(procfs: Path) -> bool:
    """Do pids here, and ours, mean what the kernel's threads understand by them?

    Pid 2 is kthreadd only in the initial namespace. That one's procfs may be mounted while we are in another: then it
    knows us by another pid than we do, and the kernel would take the pids that we write for those of our namespace.
    """
    kthreadd = process(procfs, KTHREADD_PID)
    return kthreadd is not None and kthreadd.comm == "kthreadd" and own_pid(procfs) in (os.getpid(), None)


def own_pid(procfs: Path) -> int | None:
    """Return our pid as this procfs knows it, None if it is but a folder of files."""
    try:
        return int((procfs / "self").readlink().name)
    except (OSError, ValueError):
        return None


def kernel_release(procfs: Path) -> str:
    """Return the kernel's release, for people; features are probed, never derived from it."""
    try:
        return read_value(procfs / "sys/kernel/osrelease")
    except KernelError:
        return os.uname().release


def _parse_stat(pid: int, text: str) -> Process:
    """Parse /proc/PID/stat; comm stands in parentheses and may contain anything, parentheses too."""
    opening, closing = text.index("("), text.rindex(")")
    fields = text[closing + 2 :].split()
    return Process(
        pid=pid,
        comm=text[opening + 1 : closing],
        state=fields[0],
        kernel_thread=bool(int(fields[6]) & PF_KTHREAD),
        cpu_seconds=(int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND,
        start_ticks=int(fields[19]),
    )
