"""The cgroups (version 2) below /sys/fs/cgroup: those that a test names, those of processes, and all above them."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.tree import Directory, File, text_file

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel

CONTROLLERS = "cpuset cpu io memory hugetlb pids rdma misc\n"
NAME_MAX = 255


class Cgroup(Directory):
    """One cgroup. Its number for the kernel, as in kpagecgroup, is the folder's inode."""

    def __init__(self, kernel: "Kernel", cgroup_path: str) -> None:
        super().__init__()
        self._kernel = kernel
        self.cgroup_path = cgroup_path
        self.add("cgroup.controllers", text_file(CONTROLLERS))
        self.add("cgroup.procs", CgroupFile(self._procs, mode=0o644))
        if cgroup_path != "/":  # the root of all has neither
            self.add("cgroup.events", CgroupFile(self._events, mode=0o444))
            self.add("memory.current", CgroupFile(self._memory_current, mode=0o444))

    @property
    def heir(self) -> "Cgroup":
        """The cgroup that its memory is charged to: itself, or, once it is removed, the closest above that is not."""
        node: Directory | None = self
        while node is not None and node.removed:
            node = node.parent
        return node if isinstance(node, Cgroup) else self

    @property
    def cgroups(self) -> "list[Cgroup]":
        """Those right below it."""
        return [child for child in self.children.values() if isinstance(child, Cgroup)]

    @property
    def populated(self) -> bool:
        """Whether a process lives in it or below."""
        return bool(self._pids()) or any(cgroup.populated for cgroup in self.cgroups)

    def contains(self, cgroup: "Cgroup") -> bool:
        """Whether it is this one or one below."""
        return cgroup is self or (isinstance(cgroup.parent, Cgroup) and self.contains(cgroup.parent))

    def _pids(self) -> list[int]:
        return [process.pid for process in self._kernel.processes.living if process.cgroup == self.cgroup_path]

    def _procs(self) -> str:
        """The processes in it alone; zombies are in none any more."""
        return "".join(f"{pid}\n" for pid in self._pids())

    def _events(self) -> str:
        return f"populated {self.populated:d}\nfrozen 0\n"

    def _memory_current(self) -> str:
        """Bytes of the pages charged to it or below."""
        return f"{self._kernel.page_owners.charged_bytes(self)}\n"


class CgroupFile(File):
    """Files of cgroups have no size."""

    size = 0


class Cgroups:
    """All cgroups. Nobody but `update` makes or removes any."""

    def __init__(self, kernel: "Kernel", fs: Directory) -> None:
        self._kernel = kernel
        self.named: frozenset[str] = frozenset()
        """Those that are there although no process is in them."""
        self._by_path = {"/": Cgroup(kernel, "/")}
        fs.add("cgroup", self._by_path["/"])

    def find(self, path: str) -> Cgroup | None:
        """The cgroup at a path as ``/a/b``, if there is one."""
        return self._by_path.get(path)

    def at(self, path: str) -> Cgroup:
        """The cgroup at a path as ``/a/b``; KeyError if there is none."""
        return self._by_path[path]

    def update(self) -> None:
        """Make those that are wanted now, and remove what nobody names or lives in any more, as service managers do."""
        processes = (process.cgroup for process in self._kernel.processes.living)
        wanted = {path for leaf in (*self.named, *processes) if possible(leaf) for path in lineage(leaf)}
        for path in sorted(self._by_path.keys() - wanted - {"/"}, key=len, reverse=True):
            removed = self._by_path.pop(path)
            if removed.parent is not None:
                removed.parent.remove(removed.name)
        for path in sorted(wanted - self._by_path.keys(), key=len):
            above, _, name = path.rpartition("/")
            self._by_path[path] = Cgroup(self._kernel, path)
            self._by_path[above or "/"].add(name, self._by_path[path])


def lineage(path: str) -> Iterator[str]:
    """The cgroup and those above it but the root, the deepest first."""
    while path not in ("", "/"):
        yield path
        path = path.rpartition("/")[0]


def possible(path: str) -> bool:
    """Whether there can be a folder for it here: not if it is told from within another cgroup namespace, as ``/..``."""
    return all(name not in (".", "..") and len(os.fsencode(name)) <= NAME_MAX for name in path.split("/"))
