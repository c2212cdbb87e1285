"""One configured monitor and the slot that it has: started, looked after, left alone when somebody takes it."""

import logging
import time

from damon_exporter import planning
from damon_exporter.analysis.snapshot import Intervals
from damon_exporter.backoff import BackOff
from damon_exporter.config import Monitor
from damon_exporter.containers.named import PodLookup
from damon_exporter.following import Following
from damon_exporter.hold import Hold
from damon_exporter.kernel import procfs
from damon_exporter.kernel.damon_sysfs import Slot
from damon_exporter.kernel.errors import Gone, KernelError, NotOurs, Rejected, Unsupported
from damon_exporter.kernel.ownership import slot_token
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.others import foreign_schemes
from damon_exporter.own_schemes import OwnSchemes
from damon_exporter.planning import Abilities, Planned
from damon_exporter.roster import ListedTarget, Waiting, Watched
from damon_exporter.seating import recognised, seated
from damon_exporter.targets import NothingToWatch, targets_of

log = logging.getLogger(__name__)

LONGEST_BACK_OFF = 3600.0
FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
CHANGE_SECONDS = 3.0
"""For how long (s) somebody may change what is ours and put it back, as `damo report access` does for a second."""


class Keeper:
    """Keeps one monitor running in its slot. ``now`` is always CLOCK_MONOTONIC in seconds."""

    def __init__(
        self, monitor: Monitor, index: int, paths: KernelPaths, first_back_off: float, pod_of: PodLookup
    ) -> None:
        self.monitor = monitor
        self.index = index
        self._paths = paths
        self.targets = targets_of(monitor, paths, pod_of)
        self._following = Following(monitor, self.targets, paths)
        self._schemes = OwnSchemes()
        self._yielding = BackOff(max(first_back_off, FIRST_RETRY), LONGEST_BACK_OFF)
        self._failing = BackOff(FIRST_RETRY, LONGEST_RETRY)
        self._next_try = 0.0
        self._reason = ""
        self._told_dropped: int | None = None
        self._starts = 0
        self._has_warned = False
        self._inherited_at: float | None = None
        self._pid = 0
        self._intervals: Intervals | None = None
        self._started = 0.0
        self._ending = False
        self._changed_since: float | None = None
        self._is_theirs = False
        self._known_since_ns = 0

    def missing(self, now: float) -> str | None:
        """Return why there is nothing to watch now, None if there is something."""
        return self.targets.missing(now)

    @property
    def dropped(self) -> int | None:
        """How many processes matched and were left out at the last look, None where none are matched."""
        return self.targets.dropped

    @property
    def failed_commits(self) -> int:
        """How many changes of its targets the kernel did not take."""
        return self._following.failures

    @property
    def _planned(self) -> Planned | None:
        """What the kdamond is, or was last, to run with."""
        return self._following.planned

    @property
    def command_ended(self) -> bool:
        """Is the monitor about a command that we have started and that has ended?"""
        return bool(self.monitor.command) and not self.targets.alive(())

    def is_theirs(self, slot: Slot) -> bool:
        """Is what runs in our slot somebody else's, or changed by somebody?"""
        if self._is_theirs or self._pid:
            return self._is_theirs or self._pid != slot.pid()
        return self._planned is not None and _difference(slot, self._planned) is not None

    def adopt(self, hold: Hold, now: float) -> None:
        """Keep a kdamond that an earlier run left if it is just as we want it; stop it otherwise."""
        slot = hold.slot
        pid = slot.pid()
        if not pid:
            return
        try:
            planned = self._plan(self._recognise(slot, pid, now), hold.abilities)
        except (NothingToWatch, KernelError) as problem:
            difference: str | None = str(problem)
        else:
            difference = _difference(slot, planned)
            if difference is None:
                self._following.begin(planned)
                self._run(pid, planned, now)
                self._inherited_at, self._intervals = now, slot.intervals()
                return
        log.info("monitor %s: stopping the kdamond of an earlier run: %s", self.monitor.name, difference)
        hold.claim.stop(slot, pid)

    def look_after(self, hold: Hold, now: float) -> None:
        """Start what should run, restart what has changed, and notice what others did; raises `Ending`."""
        hold.claim.require_going()
        try:
            if self._pid:
                self._examine(hold, now)
            if not self._pid and now >= self._next_try:
                self._start(hold, now)
        except NothingToWatch as nothing:
            self._explain(str(nothing), dropped=self.dropped)
        except NotOurs as theirs:
            self._retreat(now, str(theirs), self._yielding)
        except KernelError as error:
            if self._pid:
                log.warning("monitor %s goes on as it is: %s", self.monitor.name, error)
            else:
                self._retreat(now, str(error), self._failing)

    def wait(self, reason: str, dropped: int | None = None) -> None:
        """The tree is not ours, or not any more, or has nothing for us to watch."""
        self._pid = 0
        self._explain(reason, logging.INFO, dropped)

    def describe(self) -> Watched | Waiting:
        """Return how the monitor stands."""
        restarts = max(self._starts - 1, 0)
        if not self._pid or self._planned is None:
            return Waiting(self.monitor.name, self.monitor.operations, self._reason, restarts, self._told_dropped)
        plan = self._planned.plan
        planned = Intervals(plan.intervals.sample_us, plan.intervals.aggregation_us)
        intervals = self._intervals or planned
        return Watched(
            name=self.monitor.name,
            operations=plan.operations,
            owner="foreign" if self._is_theirs else "exporter",
            pid=self._pid,
            targets=self._following.listed(),
            intervals=intervals,
            max_nr_accesses=(intervals if self._is_theirs else planned).max_nr_accesses,  # tuning keeps it
            tuned=plan.tuned,
            refreshed=plan.refresh_ms is not None,
            reporting=not plan.pause,
            restarts=restarts,
            slot=self.index,
            dropped=self.dropped,
            addr_unit=plan.addr_unit or 1,
            schemes=self._schemes.schemes,
            in_force_since_ns=self._known_since_ns if intervals == planned else None,
            inherited_at=self._inherited_at,
        )

    @property
    def pid(self) -> int:
        """That of the kdamond which we run, 0 if we run none."""
        return self._pid

    @property
    def disputed(self) -> bool:
        """Has somebody changed what we run?"""
        return self._is_theirs or self._changed_since is not None

    def rehearse(self, abilities: Abilities) -> None:
        """Look whether this monitor can be planned here, whoever its targets are; raises `KernelError`."""
        self._plan((), abilities)

    def succeed(self, before: "Keeper | None", hold: Hold, now: float) -> None:
        """Keep from now on what ``before`` kept in this slot; raises `KernelError`, `Ending`.

        By a commit if that suffices, otherwise by a restart.
        """
        hold.claim.require_going()
        if before:
            self.inherit(before)
        nothing = self.missing(now)
        if before and before._pid and not nothing and before._goes_on_as(self.monitor):
            self._go_on(before, hold, now)
            return
        if before and before._pid:
            before.stop(hold)
        self._next_try = 0.0
        try:
            if nothing:
                raise NothingToWatch(nothing)
            self._start(hold, now)
        except NothingToWatch as found:
            self.wait(str(found), self.dropped)

    def _goes_on_as(self, monitor: Monitor) -> bool:
        """Can the kdamond that runs become another monitor's? Ranges that processes are given stay as they are."""
        return self._planned is not None and self.monitor.operations == monitor.operations != "fvaddr"

    def inherit(self, before: "Keeper") -> None:
        """Watch on the same processes, or the same command, which is not started twice; count restarts on."""
        if before.monitor.name == self.monitor.name:
            self._starts = max(self._starts, before._starts)
        if _watch_the_same(before.monitor, self.monitor) and self.targets is not before.targets:
            self.targets.end()
            self.targets = before.targets
            self._following = Following(self.monitor, self.targets, self._paths)

    def _go_on(self, before: "Keeper", hold: Hold, now: float) -> None:
        """Take over a kdamond that runs."""
        self._pid, self._started, self._intervals = before._pid, before._started, before._intervals
        self._starts = max(self._starts, 1)
        self._inherited_at = before._inherited_at if before.monitor.name == self.monitor.name else now
        try:
            self._following.succeed(before._following, hold, self._pid, now)
            self._known_since_ns = time.monotonic_ns()
            if self._planned:
                self._schemes.carry_on(before._schemes, self._planned.plan)
            self._warn()
        except KernelError:
            if hold.slot.pid() != self._pid:
                self._pid = before._pid = 0
            raise

    def stop(self, hold: Hold) -> None:
        """Turn the kdamond off if it is on; raises `KernelError`, `NotOurs` if another runs there by now."""
        if pid := hold.slot.pid():
            hold.claim.stop(hold.slot, self._pid or pid)
        self._pid = 0

    def begin_anew(self) -> None:
        """Take what runs for nothing of ours: start at the next look."""
        self._pid, self._next_try = 0, 0.0

    def end(self) -> None:
        """End the command that we started, if any, and reap it."""
        self.targets.end()

    def _plan(self, targets: tuple[ListedTarget, ...], abilities: Abilities) -> Planned:
        return planning.plan_monitor(self.monitor, targets, abilities, self._paths)

    def _recognise(self, slot: Slot, pid: int, now: float) -> tuple[ListedTarget, ...]:
        """Return the targets of a kdamond that an earlier run has left.

        A process that has started after the kdamond may have got the pid of one that was watched.
        """
        if self.monitor.operations == "paddr":
            return ()
        listed = slot.pid_targets()
        living = [process for pid in listed if (process := procfs.process(self._paths.procfs, pid))]
        self.targets.resume({process.identity for process in living})
        kdamond = procfs.process(self._paths.procfs, pid)
        started = kdamond.start_ticks if kdamond else 0
        return recognised(listed, [found for found in self.targets.find(now) if found.start_ticks < started])

    def _start(self, hold: Hold, now: float) -> None:
        """Start the monitor, unless a command whose answer came late has done so."""
        slot = hold.slot
        pid, planned = slot.pid(), self._planned
        if not pid or planned is None or _difference(slot, planned) is not None:
            planned = self._plan(seated(self.targets.find(now)), hold.abilities)
            self._following.begin(planned)
            hold.claim.configure(slot, planned.plan)
            self._is_theirs = False
            pid = self._turn_on(hold, planned)
        self._run(pid, planned, now)

    def _turn_on(self, hold: Hold, planned: Planned) -> int:
        """Turn the kdamond on; that a process has ended just then is no failure, and no reason to wait for long."""
        try:
            return hold.claim.start(hold.slot)
        except (Rejected, Gone):
            ended = self.targets.ended()
            if any(target.identity in ended for target in planned.targets):
                raise NothingToWatch("a process ended just when it was to be watched") from None
            raise

    def _run(self, pid: int, planned: Planned, now: float) -> None:
        self._pid, self._intervals, self._started = pid, None, now
        self._starts += 1
        self._ending, self._changed_since, self._is_theirs = False, None, False
        self._schemes.begin()
        self._inherited_at, self._known_since_ns = None, 0
        self._failing.reset()
        log.info("monitor %s: kdamond %d runs in slot %d", self.monitor.name, pid, self.index)
        self._warn()

    def _warn(self) -> None:
        """Say once what is asked for and not done here."""
        if self._planned is None or self._has_warned:
            return
        self._has_warned = True
        instead = planning.instead_of_tuning(self.monitor)
        if instead and not self._planned.plan.tuned:
            log.warning("monitor %s: %s: %s", self.monitor.name, planning.NO_TUNING, instead)
        for sentence in self._planned.left_out:
            log.warning("monitor %s: %s", self.monitor.name, sentence)

    def _examine(self, hold: Hold, now: float) -> None:
        """Compare a kdamond that we run with what we know of it."""
        slot = hold.slot
        try:
            pid = slot.pid()
        except Unsupported:  # somebody has thrown the slot away
            pid = 0
        alive = self._is_anybody_alive()  # asked now, as a kdamond ends when its last process has ended
        if pid != self._pid:
            self._pid, self._is_theirs = 0, bool(pid)
            if pid:
                raise NotOurs(f"its slot now runs kdamond {pid} of somebody else: left alone for a while")
            if alive and not self._ending:
                raise NotOurs("it was turned off by somebody else, or has failed: left alone for a while")
            return
        self._compare(slot, now)
        self._intervals = slot.intervals()
        if now - self._started > LONGEST_BACK_OFF:
            self._yielding.reset()
        if self._changed_since is None and not self._ending:
            self._ending = not alive or self._needs_restart(hold, now)
        if self._ending:
            if slot.pid() == self._pid:
                hold.claim.stop(slot, self._pid)
            self._pid = 0
            return
        self._look_at_schemes(hold)

    def _look_at_schemes(self, hold: Hold) -> None:
        if self._is_theirs:
            self._schemes.schemes = foreign_schemes(hold.slot)
        elif self._changed_since is not None:
            self._schemes.distrust()
        elif self._planned and not self._following.staged:
            self._schemes.look(hold, self._pid, self._planned.plan)

    def _needs_restart(self, hold: Hold, now: float) -> bool:
        """Follow the processes that come and go, without a restart if that is possible."""
        try:
            return not self._following.catch_up(hold, self._pid, now)
        except NothingToWatch:  # those that matched live, and do not match any more
            return True
        except Gone as problem:
            log.warning("monitor %s is started again: %s", self.monitor.name, problem)
            return True
        except NotOurs:
            if hold.slot.pid() or self._is_anybody_alive():
                raise
            return True  # it has ended with its last process, just when another was to join

    def _is_anybody_alive(self) -> bool:
        listed = self._planned.targets if self._planned else ()
        return self.targets.alive(listed) or any(map(self._following.lingers, listed))

    def _compare(self, slot: Slot, now: float) -> None:
        """Notice what somebody has changed, and what has been put back."""
        staged = self._following.staged
        difference = _difference(slot, self._planned) if self._planned and not staged else None
        if difference is None:
            self._changed_since, self._is_theirs = None, False
            return
        if self._changed_since is None:
            self._changed_since = now
        if not self._is_theirs and now - self._changed_since >= CHANGE_SECONDS:
            self._is_theirs = True
            log.warning("monitor %s: somebody changed it, it is only observed now: %s", self.monitor.name, difference)

    def _retreat(self, now: float, reason: str, back_off: BackOff) -> None:
        """Leave the slot alone for a while, twice as long every time."""
        delay = back_off.next()
        self._next_try = now + delay
        self._explain(f"{reason} (next try in {delay:g} s)")

    def _explain(self, reason: str, level: int = logging.WARNING, dropped: int | None = None) -> None:
        if reason != self._reason:
            log.log(level, "monitor %s does not run: %s", self.monitor.name, reason)
        self._reason, self._told_dropped = reason, dropped


def _watch_the_same(one: Monitor, other: Monitor) -> bool:
    return (one.processes, one.command) == (other.processes, other.command)


def _difference(slot: Slot, planned: Planned) -> str | None:
    """Return in which way a slot is not what is planned, None if in no way."""
    token = slot_token(slot)
    if token is None or token.fingerprint != planned.plan.fingerprint:
        return "it does not carry the token of this plan"
    return slot.difference(planned.plan.lasting())
