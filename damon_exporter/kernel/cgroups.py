"""Which cgroup an inode is, and whether this host's cgroups can be told at all."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.files import is_there, read_value


class CgroupTree:
    """The cgroups (version 2) of the host. Remembers what it has found, and looks again when it is asked for more."""

    def __init__(self, sysfs: Path) -> None:
        self._root = sysfs / "fs/cgroup"
        self._known: dict[int, str] = {}

    def unsupported(self) -> str | None:
        """Return why cgroups cannot be told, with the cure; None if they can."""
        try:
            controllers = read_value(self._root / "cgroup.controllers").split()
        except KernelError:
            return self._not_version_2()
        if "memory" not in controllers:
            return (
                f"{self._root}/cgroup.controllers lacks memory: boot without cgroup_disable=memory "
                "(some kernels need cgroup_enable=memory), and mount that controller nowhere else"
            )
        if is_there(self._root / "cgroup.events"):  # which every cgroup has but the root of all
            return f"{self._root} is only a part of the tree: mount the host's /sys/fs/cgroup there"
        return None

    def paths(self, inodes: Iterable[int]) -> Mapping[int, str]:
        """Return the path ("/a/b", "/" for the root) of each inode that is a cgroup now; the others are left out.

        What is known is checked with one stat(2) each. The tree is walked, once, only if that leaves anything open.
        Names are as Python decodes file names: bytes that are no UTF-8 are lone surrogates.
        """
        wanted = frozenset(inodes) - {0}
        found = {i: path for i in wanted if (path := self._known.get(i)) is not None and self._inode(path) == i}
        if len(found) < len(wanted):
            self._known = {inode: "/" for inode in [self._inode("/")] if inode} | dict(walk(self._root))
            found = {i: self._known[i] for i in wanted & self._known.keys()}
        return found

    def has(self, path: str) -> bool:
        """Is there such a cgroup now?"""
        return self._inode(path) is not None

    def _not_version_2(self) -> str:
        if is_there(self._root / "unified/cgroup.controllers"):
            kind = "a mixture of versions 1 and 2"
        elif is_there(self._root / "memory"):
            kind = "version 1"
        else:
            return f"no cgroups are to be seen in {self._root}: mount the host's /sys/fs/cgroup there"
        return (
            f"the cgroups in {self._root} are of {kind}: boot with systemd.unified_cgroup_hierarchy=1, "
            "or let whatever starts the host mount version 2 there"
        )

    def _inode(self, path: str) -> int | None:
        try:
            return os.stat(f"{self._root}{path}").st_ino  # noqa: PTH116 - once for every cgroup that is asked for
        except OSError:
            return None


def walk(root: Path) -> Iterator[tuple[int, str]]:
    """Yield inode and path of every cgroup below ``root``; what has vanished or cannot be listed is left out."""
    unlisted = [""]
    while unlisted:
        path = unlisted.pop()
        for name, inode in _folders(f"{root}{path}"):
            yield inode, f"{path}/{name}"
            unlisted.append(f"{path}/{name}")


def _folders(folder: str) -> list[tuple[str, int]]:
    """Return name and inode of each folder in a folder, as its listing tells them: without a stat(2) for any."""
    try:
        with os.scandir(folder) as entries:
            return [(entry.name, entry.inode()) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
