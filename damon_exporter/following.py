"""Follows the living: keeps a running kdamond's list of targets up to the processes that match, without a restart."""

import logging
import time
from collections.abc import Set
from dataclasses import replace

from damon_exporter.config import Monitor
from damon_exporter.hold import Hold
from damon_exporter.kernel import procfs
from damon_exporter.kernel.errors import Gone, KernelError, NotOurs, Rejected, Stuck, Unsupported
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.plan import KdamondPlan
from damon_exporter.kernel.procfs import Identity
from damon_exporter.planning import Abilities, Planned, plan_monitor
from damon_exporter.resident import ResidentSizes
from damon_exporter.roster import ListedTarget
from damon_exporter.seating import NOBODY, Seating, relabelled, reseated, vacated
from damon_exporter.targets import NothingToWatch, Targets

log = logging.getLogger(__name__)

MOST_TRIES = 5
"""How often a commit is tried at once, each time without those who have just ended; later it is begun anew."""

MOST_FAILURES = 3
"""After so many commits in a row that the kernel refuses though all its processes live, the kdamond is started anew."""


class Following:
    """What is known of the targets of one monitor's kdamond, from its start or adoption (`begin`) on.

    ``planned`` is what the kdamond runs with, ``_shown`` what its files show; None if they may show anything.
    ``failures`` counts commits that the kernel did not take.
    """

    def __init__(self, monitor: Monitor, targets: Targets, paths: KernelPaths) -> None:
        self._monitor = monitor
        self._targets = targets
        self._paths = paths
        self._most = monitor.processes.limit if monitor.processes else None
        self.planned: Planned | None = None
        self._shown: KdamondPlan | None = None
        self.failures = 0
        self._resident = ResidentSizes(paths.procfs)
        self._failed_in_a_row = 0
        self._not_before = 0.0
        self._just_left: Set[int] = frozenset()

    def begin(self, planned: Planned) -> None:
        """A kdamond is to run with this plan."""
        self.planned, self._shown = planned, planned.plan
        self._failed_in_a_row, self._not_before = 0, 0.0

    def succeed(self, before: "Following", hold: Hold, pid: int, now: float) -> None:
        """Have the kdamond that ``before`` followed take over this monitor's plan; raises `KernelError`."""
        if before.planned is None:
            raise Gone("the kdamond has ended")
        self.begin(before.planned)
        self._shown = before._shown
        try:
            self._commit(hold, pid, self._relabelled(before.planned, hold, now), now, insisting=True)
        except NothingToWatch as nothing:
            raise Gone(f"nothing to watch: {nothing}") from nothing

    @property
    def staged(self) -> bool:
        """Do the files show what the kdamond has not taken over yet?"""
        return self.planned is not None and self._shown is not self.planned.plan

    def listed(self) -> tuple[ListedTarget, ...]:
        """The targets, with what is resident of each process."""
        targets = self.planned.targets if self.planned else ()
        told = [target.identity for target in targets if target.identity and target.name is not None]
        sizes = self._resident.of(told)
        return tuple(
            replace(target, resident_bytes=sizes[who]) if (who := target.identity) and who in sizes else target
            for target in targets
        )

    def catch_up(self, hold: Hold, pid: int, now: float) -> bool:
        """Take in who has come and who has left; False if that takes a restart.

        Raises `Gone` if the kdamond has ended over it, `NotOurs` and `Stuck`.
        """
        if self.planned is None:
            return False
        wanted, before = self._targets.find(now), self.planned.targets
        self.planned = self._relabelled(self.planned, hold, now)
        after = self.planned.targets
        # Before a place is given away, whoever reads reports must know that it was left.
        lingering = {i for i, target in enumerate(after) if self.lingers(target)}
        self._just_left = {i for i in lingering if before[i].name is not None}
        seated = {target.identity for target in after if target.name is not None}
        if all(process.identity in seated for process in wanted) and not (self.staged or lingering - self._just_left):
            return True
        if self._monitor.operations == "fvaddr":  # ranges that are given stay, and with them the ages
            return False
        return now < self._not_before or self._commit(hold, pid, self.planned, now)

    def _relabelled(self, planned: Planned, hold: Hold, now: float) -> Planned:
        """Return it with its targets as they are to be told of now."""
        settling = _settling_seconds(planned, hold.abilities)
        wanted = self._targets.find(now)
        return replace(planned, targets=relabelled(planned.targets, wanted, time.monotonic_ns(), round(settling * 1e9)))

    def lingers(self, target: ListedTarget) -> bool:
        """Is the target still watched for nothing, as its process has left the group and lives?"""
        return _has_left(target) and target.identity is not None and procfs.lives(self._paths.procfs, target.identity)

    def _commit(self, hold: Hold, pid: int, running: Planned, now: float, insisting: bool = False) -> bool:
        """Have the kdamond take over who is wanted now; False if the kernel has refused it too often.

        ``insisting`` raises `KernelError` instead, and commits even if the targets are the same.
        """
        kept = {i for i in self._just_left if self.lingers(running.targets[i])}
        seating = reseated(running.targets, self._targets.find(now), kept, self._most)
        if self.staged:
            self._shown = None  # since an earlier look: others may have written there
        try:
            for _ in range(MOST_TRIES):
                if self._try(hold, pid, running, seating, now, insisting):
                    self._failed_in_a_row = 0
                    break
                seating = vacated(running.targets, seating, self._ended(seating))
            else:
                if insisting:
                    raise Gone("processes that should be watched end all the time: try again")
        except (NotOurs, Stuck):
            raise
        except KernelError as problem:
            if insisting:
                raise
            self.failures += 1
            if hold.slot.pid() != pid:
                raise Gone(str(problem)) from problem
            if not (self._ended(seating) or isinstance(problem, Unsupported)):
                self._failed_in_a_row += 1
            log.info("monitor %s: its targets stay as they are for now: %s", self._monitor.name, problem)
        return self._failed_in_a_row < MOST_FAILURES

    def _try(self, hold: Hold, pid: int, running: Planned, seating: Seating, now: float, insisting: bool) -> bool:
        """Commit once, if that changes anything; False if that failed over a process that ended just then."""
        listed, to_list = ([target.identity for target in targets] for targets in (running.targets, seating.targets))
        if to_list == listed and not (self.staged or insisting):
            return True  # who comes waits for the places of those who have just left
        most = 0 if insisting else running.plan.max_regions
        planned = plan_monitor(self._monitor, seating.targets, hold.abilities, self._paths, most).going_on()
        shown, self._shown = self._shown, None
        hold.claim.stage(hold.slot, pid, shown, planned.plan, seating.fresh)
        try:
            hold.claim.commit(hold.slot, pid, lambda: self._require_living(seating))
        except Rejected as problem:
            if hold.slot.pid() != pid or not self._ended(seating):
                raise
            self.failures += not isinstance(problem, _JustEnded)
            log.debug("monitor %s: %s", self._monitor.name, problem)
            self._shown = planned.plan.beginning(seating.fresh)
            return False
        hold.claim.settle(hold.slot, planned.plan, seating.fresh)
        self.planned = replace(planned, targets=seating.known_since(time.monotonic_ns()))
        self._shown = planned.plan
        if not hold.abilities.commits_keep_time:  # more frequent ones would put looks at mappings off for ever
            self._not_before = now + _settling_seconds(planned, hold.abilities)
        return True

    def _require_living(self, seating: Seating) -> None:
        """Raise `_JustEnded` if a process has: the kernel would refuse the list, and an old one end the kdamond."""
        if self._ended(seating):
            raise _JustEnded("a process that should be watched has just ended")

    def _ended(self, seating: Seating) -> frozenset[Identity]:
        """Return who is on the list and has ended. Nobody follows those who are listed though they have left."""
        followed = self._targets.ended()
        return frozenset(
            target.identity
            for target in seating.targets
            if target.identity and (target.identity in followed or (_has_left(target) and not self.lingers(target)))
        )


class _JustEnded(Rejected):
    """We know before the kernel does that a process is not there any more."""


def _has_left(target: ListedTarget) -> bool:
    """Is the place that of a process which is not told of any more?"""
    return target.name is None and target.process not in (None, NOBODY)


def _settling_seconds(planned: Planned, abilities: Abilities) -> float:
    """Return how long it takes at most until DAMON has looked at a process's mappings again."""
    intervals = planned.plan.intervals
    updates = 1 if abilities.commits_keep_time else 2  # one, and a commit that puts the second off
    return (updates * intervals.update_us + intervals.aggregation_us) / 1e6
