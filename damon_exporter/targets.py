"""What a monitor is about: physical memory, the processes that match, or a command that we start."""

import subprocess
import time
from collections.abc import Collection, Set
from pathlib import Path
from typing import Protocol

from damon_exporter.config import Monitor, Processes
from damon_exporter.containers.named import PodLookup
from damon_exporter.kernel import procfs
from damon_exporter.kernel.deaths import Deaths
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.procfs import WHOEVER, Identity
from damon_exporter.matching import Matches, ProcessFinder, describe_absence
from damon_exporter.roster import ListedTarget, WatchedProcess

COMMAND_GRACE_SECONDS = 5.0

REST_PER_LOOK = 3
"""Pause at least so many times as long as a look at all processes keeps a CPU busy, however often it is asked for."""


class NothingToWatch(Exception):
    """What the monitor is about does not exist now; it may later."""


class Targets(Protocol):
    """``now`` is CLOCK_MONOTONIC in seconds."""

    @property
    def dropped(self) -> int | None:
        """How many processes match and are left out, None where none are matched."""

    def resume(self, watched: Collection[Identity]) -> None:
        """These are watched already, by a kdamond that an earlier run has left."""

    def missing(self, now: float) -> str | None:
        """Return why there is nothing to watch, None if there is something."""

    def find(self, now: float) -> tuple[WatchedProcess, ...]:
        """Return the processes to watch from now on; raises `NothingToWatch`."""

    def alive(self, targets: Collection[ListedTarget]) -> bool:
        """Has any of these targets still memory?"""

    def ended(self) -> Set[Identity]:
        """Return those of the processes found that have ended."""

    def end(self) -> None:
        """Leave nothing behind."""


def targets_of(monitor: Monitor, paths: KernelPaths, pod_of: PodLookup) -> Targets:
    """Return what the monitor is about; ``pod_of`` names containers."""
    if monitor.processes:
        return MatchingProcesses(monitor.processes, paths, pod_of)
    if monitor.command:
        return StartedCommand(monitor.command, paths.procfs)
    return PhysicalMemory()


class PhysicalMemory:
    """Always there, and no process."""

    dropped = None

    def resume(self, _: Collection[Identity]) -> None:
        """Nothing more to know."""

    def missing(self, _: float) -> None:
        """Nothing ever is."""

    def find(self, _: float) -> tuple[WatchedProcess, ...]:
        """No process."""
        return ()

    def alive(self, _: Collection[ListedTarget]) -> bool:
        """Always."""
        return True

    def ended(self) -> Set[Identity]:
        """None."""
        return frozenset()

    def end(self) -> None:
        """There is nothing to end."""


class MatchingProcesses:
    """Those that selectors match; looked for again after ``refresh`` seconds. Who is watched stays while it matches."""

    def __init__(self, chosen: Processes, paths: KernelPaths, pod_of: PodLookup) -> None:
        self._chosen = chosen
        self._path = paths.procfs
        self._finder = ProcessFinder(chosen, paths, pod_of)
        self._deaths = Deaths(paths.procfs)
        self._found = Matches()
        self._watched: Collection[Identity] = ()
        self._next_look = 0.0

    @property
    def dropped(self) -> int:
        """How many match and are left out."""
        return self._found.dropped

    def resume(self, watched: Collection[Identity]) -> None:
        """Let these stay while they match."""
        self._watched, self._next_look = watched, 0.0

    def missing(self, now: float) -> str | None:
        """Say that nothing matches, or nothing large enough."""
        if reason := _pids_mean_nothing(self._path):
            return reason
        found = self._look(now)
        return None if found.taken else describe_absence(self._chosen, self._path, found.dropped)

    def find(self, now: float) -> tuple[WatchedProcess, ...]:
        """Return those that match and have not ended since they were looked for."""
        if reason := self.missing(now):
            raise NothingToWatch(reason)
        ended = self.ended()
        living = tuple(found for found in self._found.taken if found.identity not in ended)
        if not living:
            raise NothingToWatch("its processes have ended")
        return living

    def alive(self, targets: Collection[ListedTarget]) -> bool:
        """Does any still live? A zombie does not."""
        ended = self.ended()
        followed = {found.identity for found in self._found.taken}
        return any(target.identity in followed and target.identity not in ended for target in targets)

    def ended(self) -> Set[Identity]:
        """Return those of the processes found that have ended, zombies too."""
        return self._deaths.ended()

    def end(self) -> None:
        """They are not ours to end."""
        self._deaths.close()

    def _look(self, now: float) -> Matches:
        if now >= self._next_look:
            began = time.thread_time()
            self._found = self._finder.find(self._watched)
            self._watched = {process.identity for process in self._found.taken}
            self._deaths.follow(self._watched)
            self._next_look = now + max(self._chosen.refresh, REST_PER_LOOK * (time.thread_time() - began))
        return self._found


class StartedCommand:
    """A program that we start once, never again, and end on exit. Its children are not watched."""

    dropped = None

    def __init__(self, command: tuple[str, ...], path: Path) -> None:
        self._command = command
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: str | None = None

    def resume(self, _: Collection[Identity]) -> None:
        """What an earlier run has started is not ours any more."""

    def missing(self, _: float) -> str | None:
        """Say that it has ended, and how."""
        if reason := _pids_mean_nothing(self._path):
            return reason
        code = self._process.poll() if self._process else None
        return self._failure if code is None else f"its command has ended with exit code {code}"

    def find(self, now: float) -> tuple[WatchedProcess, ...]:
        """Start it, unless that has been done."""
        if reason := self.missing(now):
            raise NothingToWatch(reason)
        if self._process is None:
            try:
                self._process = subprocess.Popen(self._command)  # noqa: S603 - the configuration names it
            except OSError as error:
                self._failure = f"cannot start {self._command[0]}: {error.strerror}"
                raise NothingToWatch(self._failure) from error
        return (WatchedProcess(self._process.pid, WHOEVER, Path(self._command[0]).name),)

    def alive(self, _: Collection[ListedTarget]) -> bool:
        """Has it not ended yet? It is reaped when it has."""
        return not self._failure and (self._process is None or self._process.poll() is None)

    def ended(self) -> Set[Identity]:
        """Not told: its list of targets never changes."""
        return frozenset()

    def end(self) -> None:
        """End it and reap it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(COMMAND_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _pids_mean_nothing(path: Path) -> str | None:
    """Return why the kernel would not understand pids as we see them, None if it does."""
    if procfs.is_initial_pid_namespace(path):
        return None
    if not procfs.is_mounted(path):
        return f"no process is to be seen in {path}: mount procfs there or set --path.procfs"
    return "pids in this pid namespace are not the kernel's: run in the host's (hostPID: true)"
