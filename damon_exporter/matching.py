"""Which processes a monitor's selectors match, whose they are, and what their group is called."""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from damon_exporter.command_lines import CommandLines
from damon_exporter.config import Processes
from damon_exporter.config.kubernetes import PodMatch
from damon_exporter.config.processes import Match
from damon_exporter.containers.named import Named, PodLookup
from damon_exporter.escaping import printable
from damon_exporter.kernel import procfs
from damon_exporter.kernel.cgroup_namespace import CgroupNamespace
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.procfs import Identity
from damon_exporter.roster import WatchedProcess
from damon_exporter.state import Owner

SHORTEST_LIFE = 1.0
"""How long (s) a process must have lived before it is watched, unless its pid is asked for.

Brief ones show nothing before they end, and kernels before 6.14 end a kdamond over a process that ends while a list
with it is taken over. That is rare only if such processes are not in the list.
"""

UNKNOWN = "unknown"
"""What stands in the name of a group for a word that nothing tells."""


@dataclass(frozen=True, slots=True)
class Matches:
    """The processes to watch, by pid, and how many match and are left out."""

    taken: tuple[WatchedProcess, ...] = ()
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A process and where it is, with the entries that fit it, each with the cgroup that it chooses by; "" if by none.

    Of the entries those with an expression for the command line may not fit after all.
    """

    process: procfs.Process
    cgroup: str
    pod: Named
    entries: Sequence[tuple[Match, str]]


class ProcessFinder:
    """Looks at /proc; ``pod_of`` names pods and containers."""

    def __init__(self, chosen: Processes, paths: KernelPaths, pod_of: PodLookup) -> None:
        self._chosen = chosen
        self._path = paths.procfs
        self._cgroups = CgroupNamespace(paths.sysfs, paths.procfs)
        self._pod_of = pod_of
        self._command_lines = CommandLines(paths.procfs)
        self._named_pids = {entry.pid for entry in chosen.match}

    def find(self, watched: Collection[Identity] = ()) -> Matches:
        """Return the processes to watch: ``watched`` ones that still match, then the largest others of enough size.

        A change of rank alone changes neither the choice nor the order: either would cost idle ages. Raises
        `KernelError` without procfs.
        """
        found = [*self._matching()]
        resident = {process.identity: procfs.resident_bytes(self._path, process.pid) for process in found}

        def rank(process: WatchedProcess) -> tuple[bool, int, int]:
            return process.identity not in watched, -resident[process.identity], process.pid

        enough = [
            process
            for process in found
            if process.identity in watched or resident[process.identity] >= self._chosen.min_rss
        ]
        taken = sorted(sorted(enough, key=rank)[: self._chosen.limit], key=lambda process: process.pid)
        return Matches(tuple(taken), len(found) - len(taken))

    def _matching(self) -> Iterator[WatchedProcess]:
        self._command_lines.begin()
        candidates = [
            candidate
            for process in self._processes()
            if process.alive
            and (process.pid in self._named_pids or self._is_grown(process))
            and (candidate := self._candidate(process))
        ]
        for candidate in sorted(candidates, key=self._line_length):
            if owner := self._owner(candidate):
                process = candidate.process
                yield WatchedProcess(process.pid, process.start_ticks, self._group_name(process, owner), owner)
        self._command_lines.end()

    def _is_grown(self, process: procfs.Process) -> bool:
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        return uptime - process.start_ticks / procfs.TICKS_PER_SECOND >= SHORTEST_LIFE

    def _processes(self) -> Iterator[procfs.Process]:
        """Look at named pids alone where every selector names one, at all processes otherwise."""
        pids = [entry.pid for entry in self._chosen.match]
        if any(pid is None for pid in pids):
            return procfs.processes(self._path)
        looked_up = (procfs.process(self._path, pid) for pid in dict.fromkeys(pids) if pid is not None)
        return (process for process in looked_up if process)

    def _candidate(self, process: procfs.Process) -> _Candidate | None:
        """Look at all but the command line, which costs most; None if no entry fits."""
        entries = [
            entry
            for entry in self._chosen.match
            if entry.pid in (None, process.pid) and entry.comm in (None, process.comm)
        ]
        if not entries:
            return None
        cgroup = self._cgroups.of_process(process.pid)
        pod = self._pod_of(cgroup)
        places = [(entry, entry.cgroup.deepest(cgroup) if entry.cgroup else "") for entry in entries]
        fitting = [(entry, where) for entry, where in places if where is not None and _fits_pod(entry.pod, pod)]
        return _Candidate(process, cgroup, pod, fitting) if fitting else None

    def _line_length(self, candidate: _Candidate) -> int:
        has_expression = any(entry.cmdline for entry, _ in candidate.entries)
        return len(self._command_lines.read(candidate.process)) if has_expression else 0

    def _owner(self, candidate: _Candidate) -> Owner | None:
        """Return whose the process is if any entry fits it: by the deepest cgroup that one of them matches."""
        chosen = [
            where
            for entry, where in candidate.entries
            if entry.cmdline is None or self._command_lines.fits(entry.cmdline, candidate.process)
        ]
        if not chosen:
            return None
        where, pod = max(chosen, key=len) or candidate.cgroup, candidate.pod
        return Owner(printable(where), pod.namespace, pod.pod, pod.container)

    def _group_name(self, process: procfs.Process, owner: Owner) -> str:
        words = {
            "comm": printable(process.comm),
            "pid": str(process.pid),
            "cgroup": owner.cgroup,
            "namespace": owner.namespace,
            "pod": owner.pod,
            "container": owner.container,
        }
        return self._chosen.group_by.format(**{word: text or UNKNOWN for word, text in words.items()})


def describe_selectors(chosen: Processes) -> str:
    """Say in words what is looked for."""
    return " or ".join(map(_described, chosen.match))


def describe_absence(chosen: Processes, path: Path, too_small: int) -> str:
    """Say what is looked for in vain; a pid that does not exist is hardly worth waiting for."""
    if too_small:
        matching = f"the processes that match {describe_selectors(chosen)} ({too_small})"
        return f"none of {matching} has as much resident memory as processes.min_rss asks for: waiting for one to grow"
    pids = [entry.pid for entry in chosen.match if entry.pid is not None]
    found = [process for pid in pids if (process := procfs.process(path, pid))]
    if len(pids) == len(found) == len(chosen.match) and all(process.kernel_thread for process in found):
        return f"pid {pids[0]} is a kernel thread, which has no memory of its own: give the pid of a program"
    if len(pids) < len(chosen.match) or found:
        return f"no process matches {describe_selectors(chosen)}: waiting for one"
    absent = f"pid {pids[0]} does" if len(pids) == 1 else f"pids {', '.join(map(str, pids))} do"
    return f"{absent} not exist: give one that does, or comm to find a process whenever it starts"


def _fits_pod(wanted: PodMatch | None, pod: Named) -> bool:
    if wanted is None:
        return True
    return (
        (wanted.namespace is None or wanted.namespace.matches(pod.namespace))
        and (wanted.name is None or wanted.name.matches(pod.pod))
        and wanted.labels.items() <= pod.labels.items()
    )


def _described(entry: Match) -> str:
    parts = [
        f"pid {entry.pid}" if entry.pid is not None else "",
        f"comm {entry.comm!r}" if entry.comm is not None else "",
        f"cmdline {entry.cmdline.text!r}" if entry.cmdline else "",
        f"cgroup {entry.cgroup.text!r}" if entry.cgroup else "",
        f"pod {_described_pod(entry.pod)}" if entry.pod else "",
    ]
    return " with ".join(filter(None, parts))


def _described_pod(pod: PodMatch) -> str:
    parts = [
        f"namespace {pod.namespace.text!r}" if pod.namespace else "",
        f"name {pod.name.text!r}" if pod.name else "",
        *(f"label {key}={value}" for key, value in pod.labels.items()),
    ]
    return ", ".join(filter(None, parts))
