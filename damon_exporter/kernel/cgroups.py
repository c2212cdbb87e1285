"""Which cgroup an inode is, and whether this host's cgroups can be told at all."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.files import is_there, read_value

PATH_MAX = 4096
"""So many bytes, with a zero at the end, are the longest path that a system call takes. Cgroups may lie deeper."""

UP = ".."

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """A path ("/a/b", "" for the root) that system calls take, and the inode of the cgroup there."""

    path: str
    inode: int


class CgroupTree:
    """The cgroups (version 2) of the host. Remembers what it has found, and looks again when it is asked for more."""

    def __init__(self, sysfs: Path) -> None:
        self._root = sysfs / "fs/cgroup"
        self._known: dict[int, Place] = {}

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

        One that lies too deep for a path has that of the deepest cgroup above it that does not, and keeps it as long as
        that one is there. What is known is checked with one stat(2) each. The tree is walked, once, only if that leaves
        anything open. Names are as Python decodes file names: bytes that are no UTF-8 are lone surrogates.
        """
        wanted = frozenset(inodes) - {0}
        found = {i: place for i in wanted if (place := self._known.get(i)) and self._inode(place.path) == place.inode}
        if len(found) < len(wanted):
            self._known = dict(walk(self._root))
            found = {i: self._known[i] for i in wanted & self._known.keys()}
        return {inode: place.path or "/" for inode, place in found.items()}

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


def lacks(sysfs: Path, path: str) -> bool:
    """Is there certainly no memory cgroup of this path? False also where only a part of the tree can be seen.

    In version 2 a cgroup counts memory only if the controller is enabled for it; the root always does.
    """
    root, sign = sysfs / "fs/cgroup", "memory.current"
    if not is_there(root / "cgroup.controllers"):
        root, sign = root / "memory", "cgroup.procs"  # version 1 mounts each controller's own
    if path == "/" or not is_there(root) or is_there(root / "cgroup.events"):
        return False
    return not is_there(f"{root}{path}/{sign}")


def walk(root: Path) -> Iterator[tuple[int, Place]]:
    """Yield the inode of every cgroup, the root's first, and its place; what cannot be listed or has gone is left out.

    The place of one that lies too deep for a path is that of the deepest cgroup above it that does not.
    """
    try:
        unlisted = [Place("", root.stat().st_ino)]
    except OSError:
        return
    while unlisted:
        place = unlisted.pop()
        yield place.inode, place
        for name, inode in _folders(f"{root}{place.path}"):
            if len(os.fsencode(f"{root}{place.path}/{name}")) < PATH_MAX:
                unlisted.append(Place(f"{place.path}/{name}", inode))
            else:
                yield inode, place
                yield from ((below, place) for below in _below(f"{root}{place.path}", name))


def _below(folder: str, name: str) -> Iterator[int]:
    """Yield the inode of every cgroup below one in ``folder`` to which no path leads.

    Goes a level down or up at a time, so that no more than three folders are open at once however deep they lie. Up is
    always where we have come from: no cgroup is ever moved into another.
    """
    try:
        fd = os.open(folder, _FOLDER)
    except OSError:
        return
    steps = [name]
    try:
        while steps:
            name = steps.pop()
            try:
                there = os.open(name, _FOLDER, dir_fd=fd)
            except OSError:
                if name == UP:
                    return
                continue
            os.close(fd)
            fd = there
            if name != UP:
                folders = _folders(fd)
                yield from (inode for _, inode in folders)
                steps += [UP, *(name for name, _ in folders)]
    finally:
        os.close(fd)


def _folders(folder: str | int) -> list[tuple[str, int]]:
    """Return name and inode of each folder in a folder, as its listing tells them: without a stat(2) for any."""
    try:
        with os.scandir(folder) as entries:
            return [(entry.name, entry.inode()) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
