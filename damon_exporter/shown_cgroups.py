"""Which cgroups are told apart by attribution, and under which names, from pass to pass."""

from collections.abc import Collection, Iterable, Sequence

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
        self._sizes: dict[Owner, float] = {}
        self._shown: frozenset[Owner] = frozenset()

    def unsupported(self) -> str | None:
        """Return why cgroups cannot be told, with the cure; None if they can."""
        return self._tree.unsupported()

    def owners(self, inodes: Sequence[int]) -> list[Owner | None]:
        """Return whose each inode is; None if it is no cgroup that is asked for, or has gone."""
        paths = self._tree.paths(inodes)
        matches = {inode: match for inode, path in paths.items() if (match := self._deepest(path))}
        living = {path for path in self._met.keys() | set(matches.values()) if self._tree.has(path)}
        self._met = {path: self._owner(path) for path in living}  # named anew: its pod may be known by now
        return [self._met.get(matches[inode]) if inode in matches else None for inode in inodes]

    def choose(self, found: Iterable[tuple[Owner | None, int]]) -> list[Owner]:
        """Return those to show, after a pass that has found so many bytes of each."""
        sizes: dict[Owner | None, int] = {}
        for owner, size in found:
            sizes[owner] = sizes.get(owner, 0) + size
        self._sizes = {
            owner: (1 - NEWEST_SHARE) * self._sizes.get(owner, 0.0) + NEWEST_SHARE * sizes.get(owner, 0)
            for owner in self._met.values()
        }
        largest = sorted(self._sizes, key=self._rank, reverse=True)[: self._limit]
        self._shown = frozenset(largest)
        return largest

    def living(self) -> Collection[Owner]:
        """Return those that are shown of which a cgroup is still there."""
        return {owner for path, owner in self._met.items() if owner in self._shown and self._tree.has(path)}

    def _rank(self, owner: Owner) -> float:
        return self._sizes[owner] * (SHOWN_COUNT if owner in self._shown else 1)

    def _deepest(self, path: str) -> str | None:
        matches = filter(None, (glob.deepest(path) for glob in self._globs))
        return max(matches, key=len, default=None)

    def _owner(self, path: str) -> Owner:
        pod = self._pod_of(path)
        return Owner("" if pod.container else printable(path), pod.namespace, pod.pod, pod.container)
