"""Who is being watched: what the supervisor knows, handed to the sampler as one immutable value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from damon_exporter.analysis.bands import Groups
from damon_exporter.analysis.snapshot import U32, Intervals

PHYSICAL = "physical"


@dataclass(frozen=True, slots=True)
class Watched:
    """A kdamond that runs. ``names`` are the targets by index, None where their owner does not tell us.

    ``intervals`` are those of files and parameters; if ``tuned``, the kernel changes them, and the files follow
    only if ``refreshed``. ``reporting`` says that silence is a fault: the module DAMON_RECLAIM, say, may sleep.
    """

    name: str
    operations: str
    owner: str
    pid: int
    names: tuple[str, ...] | None
    intervals: Intervals | None
    max_nr_accesses: int | None
    tuned: bool
    refreshed: bool
    reporting: bool
    restarts: int = 0
    slot: int | None = None

    def grouping(self, target: U32) -> tuple[tuple[str, ...], Groups]:
        """Return the names of the targets, and for each region the position of its target among them.

        Indexes that share a name are one target; regions of an index that nobody told us of are named by it.
        """
        if self.operations == "paddr":
            return (PHYSICAL,), np.zeros(len(target), np.intp)
        known = self.names or ()
        indexes, index_of_region = np.unique(target, return_inverse=True)
        present = [known[i] if i < len(known) else f"target{i}" for i in indexes.tolist()]
        position = {name: place for place, name in enumerate(dict.fromkeys((*known, *present)))}
        place_of_index = np.asarray([position[name] for name in present], np.intp)
        return tuple(position), place_of_index[index_of_region]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A configured monitor that does not run, and why."""

    name: str
    operations: str
    reason: str
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Roster:
    """Everything that the supervisor tells.

    ``blocked`` maps one of `state.CONTROL_BLOCKED_REASONS` to a sentence. ``looked_at`` is when the look at the
    kernel began (CLOCK_MONOTONIC, s): a kdamond that was heard of later may be missing.
    """

    looked_at: float = 0.0
    watched: tuple[Watched, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    blocked: Mapping[str, str] = field(default_factory=dict)
    features: Mapping[str, bool] = field(default_factory=dict)

    def identify(self, pid: int, heard_at: float) -> Watched | None:
        """Return the kdamond with this pid, None while that is not known.

        Before 7.2 no file tells DAMON_STAT's pid. Modules exclude all other users, so a kdamond that no slot
        claims belongs to the one that is enabled, if we have looked since it was first heard of.
        """
        for kdamond in self.watched:
            if kdamond.pid == pid:
                return kdamond
        nameless = [kdamond for kdamond in self.watched if kdamond.pid == 0]
        if len(nameless) == 1 and self.looked_at > heard_at:
            return replace(nameless[0], pid=pid)
        return None
