"""From a configured monitor to the kdamond that it needs on this kernel, with these processes."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from damon_exporter.config import AutotunedIntervals, Monitor, Processes
from damon_exporter.kernel import memory, procfs
from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.files import read_value
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.plan import IntervalGoal, IntervalPlan, KdamondPlan, TargetPlan
from damon_exporter.roster import PHYSICAL
from damon_exporter.units import format_duration

REFRESH_MS = 1000
"""How often the kernel shows tuned intervals in their files, where it can."""

NO_TUNING = "this kernel cannot tune intervals and tell of it (kernels from 6.17 on do)"


class NothingToWatch(Exception):
    """What the monitor is about does not exist now; it may later."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the kernel offers to a kdamond of ours, as its slot's files show."""

    intervals_goal: bool
    """Are there files for a goal of auto-tuning?"""
    autotune: bool
    """May tuning be turned on: shall we hear of the intervals that come out of it?"""
    refresh: bool
    region_schemes: bool
    """Shall regions be read from sysfs (no tracepoint)?"""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and the name of each of its targets by index."""

    plan: KdamondPlan
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WatchedProcess:
    """A process that a monitor's selectors match, under the name of its group."""

    pid: int
    start_ticks: int
    name: str


def plan_monitor(
    monitor: Monitor, targets: tuple[WatchedProcess, ...], abilities: Abilities, paths: KernelPaths
) -> Planned:
    """Return the kdamond for a monitor; raises `KernelError` if physical memory cannot be found."""
    intervals, goal = _intervals(monitor, abilities)
    if monitor.operations == "paddr":
        ranges = monitor.ranges or memory.system_ram(paths.sysfs)
        planned: tuple[TargetPlan, ...] = (TargetPlan(None, ranges),)
        names: tuple[str, ...] = (PHYSICAL,)
    else:
        planned = tuple(TargetPlan(process.pid, monitor.ranges or ()) for process in targets)
        names = tuple(process.name for process in targets)
    plan = KdamondPlan(
        operations=monitor.operations,
        intervals=intervals,
        goal=goal,
        min_regions=monitor.regions.min,
        max_regions=monitor.regions.max,
        targets=planned,
        refresh_ms=REFRESH_MS if abilities.refresh else None,
        region_schemes=abilities.region_schemes,
    )
    return Planned(plan, names)


def instead_of_tuning(monitor: Monitor) -> str | None:
    """Say what is used where tuning that the configuration asks for is not to be had; None if it asks for none."""
    wanted = monitor.intervals
    if not isinstance(wanted, AutotunedIntervals) or not wanted.asked_for:
        return None
    sample, aggregation = format_duration(wanted.fallback.sample_us), format_duration(wanted.fallback.aggregation_us)
    return f"sample {sample} and aggregation {aggregation} are used instead of autotune"


def matching_processes(
    chosen: Processes, path: Path, watched: Iterable[WatchedProcess] = ()
) -> tuple[WatchedProcess, ...]:
    """Return the processes to watch, by pid: ``watched`` ones that still match, then the largest others of enough size.

    A change of rank alone changes neither the choice nor the order: either would cost all idle ages. Raises
    `KernelError` without procfs.
    """
    known = {(process.pid, process.start_ticks) for process in watched}
    ranked = []
    for process in _candidates(chosen, path):
        is_known = (process.pid, process.start_ticks) in known
        size = _resident_bytes(path, process.pid)
        if process.alive and (is_known or size >= chosen.min_rss):
            ranked.append((not is_known, -size, process.pid, process))
    taken = [process for *_, process in sorted(ranked)[: chosen.limit]]
    return tuple(
        WatchedProcess(process.pid, process.start_ticks, _group_name(chosen, process))
        for process in sorted(taken, key=lambda process: process.pid)
    )


def describe_selectors(chosen: Processes) -> str:
    """Say in words what is looked for."""
    return " or ".join(
        f"pid {entry.pid}" + (f" with comm {entry.comm!r}" if entry.comm is not None else "")
        if entry.pid is not None
        else f"comm {entry.comm!r}"
        for entry in chosen.match
    )


def describe_absence(chosen: Processes, path: Path) -> str:
    """Say what is looked for in vain; a pid that does not exist is hardly worth waiting for."""
    pids = [entry.pid for entry in chosen.match if entry.pid is not None]
    if len(pids) < len(chosen.match) or any(procfs.process(path, pid) for pid in pids):
        return f"no process matches {describe_selectors(chosen)}: waiting for one"
    absent = f"pid {pids[0]} does" if len(pids) == 1 else f"pids {', '.join(map(str, pids))} do"
    return f"{absent} not exist: give one that does, or comm to find a process whenever it starts"


def _candidates(chosen: Processes, path: Path) -> list[procfs.Process]:
    """Look at named pids alone where every selector names one, at all processes otherwise."""
    pids = [entry.pid for entry in chosen.match]
    if all(pid is not None for pid in pids):
        looked_up = [procfs.process(path, pid) for pid in dict.fromkeys(pids) if pid is not None]
    else:
        looked_up = list(procfs.processes(path))
    return [process for process in looked_up if process and _matches(chosen, process)]


def _matches(chosen: Processes, process: procfs.Process) -> bool:
    return any(
        (entry.pid is None or entry.pid == process.pid) and (entry.comm is None or entry.comm == process.comm)
        for entry in chosen.match
    )


def _group_name(chosen: Processes, process: procfs.Process) -> str:
    return chosen.group_by.format(comm=_printable(process.comm), pid=process.pid)


def _printable(comm: str) -> str:
    """Escape what is no printable text: any user may set a comm to any bytes."""
    raw = comm.encode(errors="surrogateescape")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _resident_bytes(path: Path, pid: int) -> int:
    """Return the resident set; 0 if the process has ended."""
    try:
        return int(read_value(path / str(pid) / "statm").split()[1]) * memory.PAGE_SIZE
    except KernelError:
        return 0


def _intervals(monitor: Monitor, abilities: Abilities) -> tuple[IntervalPlan, IntervalGoal | None]:
    wanted = monitor.intervals
    goal = IntervalGoal() if abilities.intervals_goal else None
    if isinstance(wanted, AutotunedIntervals):
        if abilities.autotune:
            goal = IntervalGoal(wanted.access_ratio_bp, wanted.aggregations, wanted.min_sample_us, wanted.max_sample_us)
        wanted = wanted.fallback
    return IntervalPlan(wanted.sample_us, wanted.aggregation_us, wanted.update_us), goal
