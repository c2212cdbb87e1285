"""Cgroup paths of processes as the host has them, wherever we stand."""

import logging
import os
import posixpath
from pathlib import Path

from damon_exporter.kernel import procfs
from damon_exporter.kernel.cgroups import walk
from damon_exporter.kernel.files import is_there

log = logging.getLogger(__name__)

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
        self._said = False

    def of_process(self, pid: int) -> str:
        """Return the cgroup of a process; "" if it has ended, or if the kernel cannot tell: that is logged, once."""
        shown = procfs.cgroup(self._procfs, pid)
        if shown is None:
            return ""
        if not shown:
            self._say_untold(pid)
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
        hierarchy = self._hierarchy()
        places = (place.path for _, place in walk(hierarchy))
        own = next((path for path in places if _holds_us(f"{hierarchy}{path}")), "")
        return own.removesuffix((self._own() or "").rstrip("/"))

    def _hierarchy(self) -> Path:
        """Return the folder of the root of the cgroups that `procfs.cgroup` tells: v1 mounts each controller's own."""
        if is_there(self._root / "cgroup.controllers"):
            return self._root
        return self._root / ("memory" if is_there(self._root / "memory") else "unified")

    def _say_untold(self, pid: int) -> None:
        if not self._said:
            log.warning(
                "pid %d lies in cgroups nested so deep that the kernel cannot tell their path (ENAMETOOLONG): "
                "no cgroup or pod selector matches such a process",
                pid,
            )
        self._said = True


def _holds_us(folder: str) -> bool:
    try:
        return str(os.getpid()) in Path(f"{folder}/cgroup.procs").read_text().split()  # more than one read(2) may tell
    except OSError:
        return False
