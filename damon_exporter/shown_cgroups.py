"""Which cgroups are told apart by attribution, and under which names, from pass to pass."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from damon_exporter.containers.named import PodLookup
from damon_exporter.escaping import printable
from damon_exporter.kernel.cgroups import CgroupTree
from damon_exporter.patterns import CgroupGlob
from damon_exporter.state import Owner

SHOWN_COUNT = 2
"""How many times the size of a series that has been shown counts when the largest are chosen."""

NEWEST_SHARE = 0.25
"""What the newest pass counts for in the size by which they are chosen, so that chance makes no series come and go."""


class ShownCgroups:
    """Remembers which cgroups have been met: one of which no page is drawn this time has 0 bytes, and is still there.

    ``globs`` choose them: the deepest match names the series, and deeper cgroups are summed into it. No more than
    ``limit`` are shown, the largest.
    """

    def __init__(self, globs: Sequence[CgroupGlob], limit: int, tree: CgroupTree, pod_of: PodLookup) -> None:
        self._globs = globs
        self._limit = limit
        self._tree = tree
        self._pod_of = pod_of
        self._met: dict[str, Owner] = {}
        self._sizes: dict[str, float] = {}
        self._shown: frozenset[str] = frozenset()

    def unsupported(self) -> str | None:
        """Return why cgroups cannot be told, with the cure; None if they can."""
        return self._tree.unsupported()

    def told(self, inode_bytes: Mapping[int, int]) -> tuple[list[Owner], list[int]]:
        """Return whose memory is shown after a pass that has found so many bytes of each cgroup.

        And for each inode which of them it belongs to, -1 if it is no cgroup that is asked for, has gone, or is small.
        """
        matches = self._matches(inode_bytes)
        sizes = dict.fromkeys(self._met, 0)
        for inode, path in matches.items():
            sizes[path] += inode_bytes[inode]
        before = {path: self._sizes.get(path, float(size)) for path, size in sizes.items()}
        self._sizes = {path: (1 - NEWEST_SHARE) * before[path] + NEWEST_SHARE * size for path, size in sizes.items()}
        shown = self._largest()
        index = {owner: i for i, owner in enumerate(shown)}
        self._shown = frozenset(path for path, owner in self._met.items() if owner in index)
        return shown, [index.get(self._met[matches[inode]], -1) if inode in matches else -1 for inode in inode_bytes]

    def living(self) -> Collection[Owner]:
        """Return those that are shown of which a cgroup is still there."""
        return {self._met[path] for path in self._shown if self._tree.has(path)}

    def _matches(self, inodes: Iterable[int]) -> dict[int, str]:
        """Return the cgroup that names the series of each inode, of those that are there, and meet it."""
        paths = self._tree.paths([*inodes])
        matches = {inode: match for inode, path in paths.items() if (match := self._deepest(path))}
        living = {path for path in self._met.keys() | set(matches.values()) if self._tree.has(path)}
        self._met = {path: self._owner(path) for path in living}  # named anew: its pod may be known by now
        return {inode: match for inode, match in matches.items() if match in living}

    def _largest(self) -> list[Owner]:
        """Return the largest; what has been shown, under whatever name, counts as more."""
        ranks: dict[Owner, float] = {}
        for path, owner in self._met.items():
            weight = SHOWN_COUNT if path in self._shown else 1
            ranks[owner] = ranks.get(owner, 0.0) + weight * self._sizes[path]
        return sorted(ranks, key=ranks.__getitem__, reverse=True)[: self._limit]

    def _deepest(self, path: str) -> str | None:
        matches = filter(None, (glob.deepest(path) for glob in self._globs))
        return max(matches, key=len, default=None)

    def _owner(self, path: str) -> Owner:
        pod = self._pod_of(path)
        return Owner("" if pod.container else printable(path), pod.namespace, pod.pod, pod.container)
