"""Cgroup paths of processes as the host has them, wherever we stand."""

import os
import posixpath
from pathlib import Path

from damon_exporter.kernel import procfs
from damon_exporter.kernel.cgroups import walk
from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.files import read_value

OUTSIDE = "/.."
"""How the path of a cgroup begins that lies outside of our cgroup namespace."""


class CgroupNamespace:
    """Most container runtimes give us a cgroup namespace: /proc/PID/cgroup then shows paths relative to our cgroup.

    Which one that is on the host is found, once and only if need be, by looking for our own pid in the host's tree.
    Where that is not to be seen, paths stay relative: ``/..`` is how no cgroup of the host's begins.
    """

    def __init__(self, sysfs: Path, path: Path) -> None:
        self._root = sysfs / "fs/cgroup"
        self._procfs = path
        self._prefix: str | None = None

    def of_process(self, pid: int) -> str:
        """Return the cgroup of a process; "" if it has ended."""
        shown = procfs.cgroup(self._procfs, pid)
        if shown is None:
            return ""
        if self._prefix is None and (shown.startswith(OUTSIDE) or self._own() == "/"):
            self._prefix = self._find_prefix()
        if not self._prefix:
            return shown
        return posixpath.normpath(f"{self._prefix}{shown}")

    def _own(self) -> str | None:
        return procfs.cgroup(self._procfs, os.getpid())

    def _find_prefix(self) -> str:
        """Return the host's path of the root of our namespace, "" if that cannot be told."""
        own = next((path for _, path in walk(self._root) if self._holds_us(path)), "")
        return own.removesuffix((self._own() or "").rstrip("/"))

    def _holds_us(self, path: str) -> bool:
        try:
            return str(os.getpid()) in read_value(Path(f"{self._root}{path}/cgroup.procs")).split()
        except KernelError:
            return False
