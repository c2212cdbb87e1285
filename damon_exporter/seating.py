"""Who has which place in a running kdamond's list of targets, as processes come and go.

A target cannot be taken out of the middle of the list before 6.19, and whoever comes must not be given the ages of
who was there before. So everybody keeps the place that he has. One that has been left stays in the list, untold, and
costs next to nothing; the next who comes takes it. `commit` refuses a list with a pid that does not exist (6.12 ends
the kdamond then), so the places that stay empty when it is committed are given to a process that has no memory.
"""

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, replace

from damon_exporter.kernel.procfs import KTHREADD_PID, Identity
from damon_exporter.roster import ListedTarget, WatchedProcess

NOBODY = WatchedProcess(KTHREADD_PID, 0, "")
"""A kernel thread: it is always there, and DAMON finds no memory to watch in it."""

Places = tuple[ListedTarget, ...]


@dataclass(frozen=True, slots=True)
class Seating:
    """A list of targets; ``fresh`` are the indexes of those that the kernel does not know yet."""

    targets: Places
    fresh: frozenset[int]

    def known_since(self, at_ns: int) -> Places:
        """Return the targets when the kernel has been told of the fresh ones."""
        return tuple(replace(t, since_ns=at_ns) if i in self.fresh else t for i, t in enumerate(self.targets))


def seated(processes: Sequence[WatchedProcess]) -> Places:
    """Return the list that a kdamond is started with."""
    return tuple(ListedTarget(process.name, process) for process in processes)


def recognised(pids: Sequence[int], found: Collection[WatchedProcess]) -> Places:
    """Return the list of a kdamond that an earlier run has left: of its ``pids``, who is among those ``found``."""
    by_pid = {process.pid: process for process in found}
    processes = [by_pid.get(pid) for pid in pids]
    return tuple(
        ListedTarget(process.name, process) if process else ListedTarget(None, WatchedProcess(pid, 0, ""))
        for pid, process in zip(pids, processes, strict=True)
    )


def relabelled(targets: Places, wanted: Collection[WatchedProcess], now_ns: int, settling_ns: int) -> Places:
    """Return the list as it is to be told of at ``now_ns`` (CLOCK_MONOTONIC): nothing of who is not wanted any more.

    A process that is wanted under another name, or again, has probably started another program (exec): until DAMON has
    looked at its memory again, after ``settling_ns`` at most, its regions are those of the program before. Who changes
    his name again meanwhile does not put that off: he could hide.
    """
    by_identity = {process.identity: process for process in wanted}

    def told(target: ListedTarget) -> ListedTarget:
        if target.process is None:  # physical memory
            return target
        process = by_identity.get(target.process.identity)
        if process is None:
            return replace(target, name=None)
        if process.name == target.name:
            return replace(target, process=process)
        is_settling = target.since_ns > now_ns
        return ListedTarget(process.name, process, target.since_ns if is_settling else now_ns + settling_ns)

    return tuple(map(told, targets))


def reseated(
    targets: Places, wanted: Sequence[WatchedProcess], kept: Set[int] = frozenset(), most: int | None = None
) -> Seating:
    """Return the list to commit: those who come take the places that have been left, then new ones at the end.

    ``targets`` are as `relabelled` has them, but some may have ended since. Empty places at the end are given up. Those
    with the indexes ``kept`` are not given away this time. No more come than makes ``most`` processes with those.
    """
    living = {process.identity for process in wanted}
    # What is no process, physical memory, stays.
    stays = [target.process is None or target.identity in living for target in targets]
    places = [target if there else replace(target, name=None) for target, there in zip(targets, stays, strict=True)]
    staying = {target.identity for target in places if target.name is not None}
    coming = [process for process in wanted if process.identity not in staying]
    if most is not None:
        coming = coming[: max(most - len(staying) - len(kept), 0)]
    left = [i for i, target in enumerate(places) if target.name is None and i not in kept]
    for index, process in zip([*left, *range(len(places), len(places) + len(coming))], coming, strict=False):
        places[index : index + 1] = [ListedTarget(process.name, process)]
    while places and places[-1].name is None and len(places) - 1 not in kept:
        places.pop()
    committed = tuple(
        target if target.name is not None or i in kept else ListedTarget(None, NOBODY)
        for i, target in enumerate(places)
    )
    return _seating(targets, committed)


def vacated(targets: Places, seating: Seating, ended: Collection[Identity]) -> Seating:
    """Return the list with nobody where processes have ``ended``; ``targets`` is the one that the kernel knows.

    As long as before, so that little is to be written.
    """
    places = (ListedTarget(None, NOBODY) if target.identity in ended else target for target in seating.targets)
    return _seating(targets, tuple(places))


def _seating(known: Places, committed: Places) -> Seating:
    processes = [target.process for target in known]
    fresh = {i for i, target in enumerate(committed) if target.process not in processes[i : i + 1]}
    return Seating(committed, frozenset(fresh))
