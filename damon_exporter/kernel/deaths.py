"""Which processes have ended, noticed by their pidfds: no process needs to be looked at again and again."""

import logging
import os
import resource
import select
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from damon_exporter.kernel import procfs
from damon_exporter.kernel.procfs import Identity

log = logging.getLogger(__name__)


class Deaths:
    """Follows processes; ``path`` is where procfs is mounted. Used by one thread.

    Where there are no pidfds, as the sandbox forbids them, or the procfs is but a folder of files, and of processes
    that would take more than half of the files that we may open, /proc/PID/stat is looked at whenever somebody asks.
    """

    open_pidfds: ClassVar[int] = 0
    """How many there are together, however many follow processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._has_pidfds = procfs.own_pid(path) == os.getpid()
        self._epoll = select.epoll()
        self._pidfds: dict[Identity, int] = {}
        self._looked_at: set[Identity] = set()
        self._ended: set[Identity] = set()

    def follow(self, processes: Iterable[Identity]) -> None:
        """Follow these processes from now on, and no others."""
        wanted = set(processes)
        for gone in self._pidfds.keys() - wanted:
            os.close(self._pidfds.pop(gone))  # which takes it out of the epoll, too
            Deaths.open_pidfds -= 1
        self._ended &= wanted
        self._looked_at &= wanted
        for process in wanted - self._pidfds.keys() - self._looked_at - self._ended:
            self._begin(process)

    def ended(self) -> frozenset[Identity]:
        """Return those of the processes followed that have ended, zombies too."""
        if self._pidfds:
            by_fd = {fd: process for process, fd in self._pidfds.items()}
            self._ended |= {by_fd[fd] for fd, _ in self._epoll.poll(0, len(by_fd))}
        self._ended |= {process for process in self._looked_at - self._ended if not procfs.lives(self._path, process)}
        return frozenset(self._ended)

    def close(self) -> None:
        """Follow nobody any more."""
        self.follow(())
        self._epoll.close()

    def _begin(self, process: Identity) -> None:
        """Open the pidfd first and look second: then it is this process's and not that of a later one with its pid."""
        fd = self._open(process[0])
        if not procfs.lives(self._path, process):
            self._ended.add(process)
            if fd is not None:
                os.close(fd)
        elif fd is None:
            self._looked_at.add(process)
        else:
            self._epoll.register(fd, select.EPOLLIN)
            self._pidfds[process] = fd
            Deaths.open_pidfds += 1

    def _open(self, pid: int) -> int | None:
        if not self._has_pidfds or Deaths.open_pidfds >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2:
            return None
        try:
            return os.pidfd_open(pid)
        except OSError as error:
            log.debug("process %d is looked at, as it has no pidfd for us: %s", pid, error.strerror)
            return None
