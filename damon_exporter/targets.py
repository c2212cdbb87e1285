"""What a monitor is about: physical memory, the processes that match, or a command that we start."""

import subprocess
from pathlib import Path
from typing import Protocol

from damon_exporter.config import Monitor, Processes
from damon_exporter.kernel import procfs
from damon_exporter.planning import NothingToWatch, WatchedProcess, describe_absence, matching_processes

COMMAND_GRACE_SECONDS = 5.0


class Targets(Protocol):
    """``now`` is CLOCK_MONOTONIC in seconds."""

    def missing(self, now: float) -> str | None:
        """Return why there is nothing to watch, None if there is something."""

    def find(self, now: float) -> tuple[WatchedProcess, ...]:
        """Return the processes to watch from now on; raises `NothingToWatch`."""

    def alive(self) -> bool:
        """Has any of what was found still memory?"""

    def changed(self, now: float) -> bool:
        """Would `find` return something else than it did?"""

    def end(self) -> None:
        """Leave nothing behind."""


def targets_of(monitor: Monitor, path: Path) -> Targets:
    """Return what the monitor is about; ``path`` is where procfs is mounted."""
    if monitor.processes:
        return MatchingProcesses(monitor.processes, path)
    if monitor.command:
        return StartedCommand(monitor.command, path)
    return PhysicalMemory()


class PhysicalMemory:
    """Always there, and no process."""

    def missing(self, _: float) -> None:
        """Nothing ever is."""

    def find(self, _: float) -> tuple[WatchedProcess, ...]:
        """No process."""
        return ()

    def alive(self) -> bool:
        """Always."""
        return True

    def changed(self, _: float) -> bool:
        """Never."""
        return False

    def end(self) -> None:
        """There is nothing to end."""


class MatchingProcesses:
    """Those that selectors match; looked for again after ``refresh`` seconds. Who is watched stays while it matches."""

    def __init__(self, chosen: Processes, path: Path) -> None:
        self._chosen = chosen
        self._path = path
        self._found: tuple[WatchedProcess, ...] = ()
        self._watched: tuple[WatchedProcess, ...] = ()
        self._next_look = 0.0

    def missing(self, now: float) -> str | None:
        """Say that nothing matches."""
        if reason := _pids_mean_nothing(self._path):
            return reason
        return None if self._look(now) else describe_absence(self._chosen, self._path)

    def find(self, now: float) -> tuple[WatchedProcess, ...]:
        """Return those that match and have not ended since they were looked for."""
        if reason := self.missing(now):
            raise NothingToWatch(reason)
        self._watched = self._found = tuple(found for found in self._look(now) if self._lives(found))
        if not self._watched:
            raise NothingToWatch("its processes have ended")
        return self._watched

    def alive(self) -> bool:
        """Does any still live? A zombie does not."""
        return any(self._lives(watched) for watched in self._watched)

    def changed(self, now: float) -> bool:
        """Do other processes match by now? As long as none does, those that were found are kept."""
        found = self._look(now)
        return bool(found) and set(found) != set(self._watched)

    def end(self) -> None:
        """They are not ours to end."""

    def _look(self, now: float) -> tuple[WatchedProcess, ...]:
        if now >= self._next_look:
            self._found = matching_processes(self._chosen, self._path, self._watched)
            self._next_look = now + self._chosen.refresh
        return self._found

    def _lives(self, watched: WatchedProcess) -> bool:
        found = procfs.process(self._path, watched.pid)
        return found is not None and found.alive and found.start_ticks == watched.start_ticks


class StartedCommand:
    """A program that we start once, never again, and end on exit."""

    def __init__(self, command: tuple[str, ...], path: Path) -> None:
        self._command = command
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: str | None = None

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
        return (WatchedProcess(self._process.pid, 0, Path(self._command[0]).name),)

    def alive(self) -> bool:
        """Has it not ended yet? It is reaped when it has."""
        return not self._failure and (self._process is None or self._process.poll() is None)

    def changed(self, _: float) -> bool:
        """Never: its children are not watched."""
        return False

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
