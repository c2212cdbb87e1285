"""Follows the living: keeps a running kdamond's list of targets up to the processes that match, without a restart."""

import logging
import time
from collections.abc import Set
from dataclasses import replace

from damon_exporter.config import Monitor
from damon_exporter.hold import Hold
from damon_exporter.kernel import procfs
from damon_exporter.kernel.errors import Gone, KernelError, NotOurs, Stuck
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.planning import Abilities, Planned, plan_monitor
from damon_exporter.roster import ListedTarget
from damon_exporter.seating import NOBODY, Seating, relabelled, reseated
from damon_exporter.targets import Targets

log = logging.getLogger(__name__)

MOST_TRIES = 5
"""How often a commit is begun anew at once because a process has just ended; later it is tried again."""

MOST_FAILURES = 3
"""After so many commits in a row that the kernel refuses, the kdamond is started anew."""


class Following:
    """What is known of the targets of one monitor's kdamond, from its start or adoption (`begin`) on.

    ``planned`` is what the kdamond runs with. While files are ``staged`` that it has not taken over yet, they are not
    what is planned. ``failures`` counts commits that the kernel did not take.
    """

    def __init__(self, monitor: Monitor, targets: Targets, paths: KernelPaths) -> None:
        self._monitor = monitor
        self._targets = targets
        self._paths = paths
        self._most = monitor.processes.limit if monitor.processes else None
        self.planned: Planned | None = None
        self.staged = False
        self.failures = 0
        self._failed_in_a_row = 0
        self._not_before = 0.0
        self._just_left: Set[int] = frozenset()

    def begin(self, planned: Planned) -> None:
        """A kdamond is to run with this plan."""
        self.planned = planned
        self.staged = False
        self._failed_in_a_row, self._not_before = 0, 0.0

    @property
    def listed(self) -> tuple[ListedTarget, ...]:
        """The targets, with what is resident of each process."""
        resident = self._targets.resident_bytes
        return tuple(
            replace(target, resident_bytes=resident.get(target.identity, 0)) if target.identity else target
            for target in (self.planned.targets if self.planned else ())
        )

    def catch_up(self, hold: Hold, pid: int, now: float) -> bool:
        """Take in who has come and who has left; False if that takes a restart.

        Raises `Gone` if the kdamond has ended over it, `NotOurs` and `Stuck`.
        """
        if self.planned is None:
            return False
        wanted, before = self._targets.find(now), self.planned.targets
        settling = _settling_seconds(self.planned, hold.abilities)
        after = relabelled(before, wanted, time.monotonic_ns(), round(settling * 1e9))
        self.planned = replace(self.planned, targets=after)
        # Before a place is given away, whoever reads reports must know that it was left.
        lingering = {i for i, target in enumerate(after) if self.lingers(target)}
        self._just_left = {i for i in lingering if before[i].name is not None}
        seated = {target.identity for target in after if target.name is not None}
        if all(process.identity in seated for process in wanted) and not (self.staged or lingering - self._just_left):
            return True
        if self._monitor.operations != "vaddr":  # ranges that are given stay, and with them the ages
            return False
        return now < self._not_before or self._commit(hold, pid, now)

    def lingers(self, target: ListedTarget) -> bool:
        """Is the target still watched for nothing, as its process has left the group and lives?"""
        left = target.name is None and target.process not in (None, NOBODY)
        return left and target.identity is not None and procfs.lives(self._paths.procfs, target.identity)

    def _commit(self, hold: Hold, pid: int, now: float) -> bool:
        """Have the kdamond take over who is wanted now; False if the kernel has refused it too often."""
        try:
            for _ in range(MOST_TRIES):
                if self._try(hold, pid, now):
                    self._failed_in_a_row = 0
                    break
        except (NotOurs, Stuck):
            raise
        except KernelError as problem:
            self.failures += 1
            if hold.slot.pid() != pid:
                raise Gone(str(problem)) from problem
            self._failed_in_a_row += 1
            log.info("monitor %s: its targets stay as they are for now: %s", self._monitor.name, problem)
        return self._failed_in_a_row < MOST_FAILURES

    def _try(self, hold: Hold, pid: int, now: float) -> bool:
        """Commit once, if that changes anything; False if a process has ended just before: then only files changed."""
        running = self.planned
        if running is None:
            return False
        kept = {i for i in self._just_left if self.lingers(running.targets[i])}
        seating = reseated(running.targets, self._targets.find(now), kept, self._most)
        listed, to_list = ([target.identity for target in targets] for targets in (running.targets, seating.targets))
        if to_list == listed and not self.staged:
            return True  # who comes waits for the places of those who have just left
        least = running.plan.max_regions
        planned = plan_monitor(self._monitor, seating.targets, hold.abilities, self._paths, least)
        shown, self.staged = None if self.staged else running.plan, True
        try:
            hold.claim.commit(
                hold.slot, pid, shown, planned.plan, seating.fresh, lambda: self._require_living(seating, kept)
            )
        except _JustEnded:
            return False
        self.planned = replace(planned, targets=seating.known_since(time.monotonic_ns()))
        self.staged = False
        if not hold.abilities.commits_keep_time:  # more frequent ones would put looks at mappings off for ever
            self._not_before = now + _settling_seconds(planned, hold.abilities)
        return True

    def _require_living(self, seating: Seating, kept: Set[int]) -> None:
        """Raise `_JustEnded` if a process has: the kernel would refuse the list, and an old one end the kdamond.

        Nobody follows those with the indexes ``kept``, who are listed though they have left.
        """
        ended = self._targets.ended() & {target.identity for target in seating.targets}
        if ended or not all(self.lingers(seating.targets[i]) for i in kept):
            raise _JustEnded("a process has just ended")


def _settling_seconds(planned: Planned, abilities: Abilities) -> float:
    """Return how long it takes at most until DAMON has looked at a process's mappings again."""
    intervals = planned.plan.intervals
    updates = 1 if abilities.commits_keep_time else 2  # one, and a commit that puts the second off
    return (updates * intervals.update_us + intervals.aggregation_us) / 1e6


class _JustEnded(KernelError):
    """A process that should be watched is not there any more."""
