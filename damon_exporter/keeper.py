"""One configured monitor and the slot that it has: started, looked after, left alone when somebody takes it."""

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

from damon_exporter import planning
from damon_exporter.analysis.snapshot import Intervals
from damon_exporter.backoff import BackOff
from damon_exporter.config import Monitor
from damon_exporter.kernel import procfs
from damon_exporter.kernel.claim import Claim, NotOurs
from damon_exporter.kernel.damon_sysfs import INTERVALS, Slot
from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.ownership import slot_token
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.plan import KdamondPlan, Leaf
from damon_exporter.planning import Abilities, NothingToWatch, Planned, WatchedProcess
from damon_exporter.roster import Waiting, Watched

log = logging.getLogger(__name__)

LONGEST_BACK_OFF = 3600.0
FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
LOOKS_BEFORE_CHANGED = 2
"""`damo report access` changes a tree for a second and puts it back: that is no change of owner."""

COMMAND_GRACE_SECONDS = 5.0


class Keeper:
    """Keeps one monitor running in its slot. ``now`` is always CLOCK_MONOTONIC in seconds."""

    def __init__(self, monitor: Monitor, index: int, paths: KernelPaths, first_back_off: float) -> None:
        self.monitor = monitor
        self.index = index
        self._paths = paths
        self._yielding = BackOff(max(first_back_off, FIRST_RETRY), LONGEST_BACK_OFF)
        self._failing = BackOff(FIRST_RETRY, LONGEST_RETRY)
        self._next_try = self._started = 0.0
        self._pid = 0
        self._planned: Planned | None = None
        self._processes: tuple[WatchedProcess, ...] = ()
        self._reason = "not started yet"
        self._restarts = 0
        self._differing_looks = 0
        self._command: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The pid of the kdamond that we run, 0 if none."""
        return self._pid

    def wanted(self) -> bool:
        """Is there anything to watch now?"""
        if self.monitor.operations == "paddr":
            return True
        if self.monitor.command:
            return self._command is None or self._command.poll() is None
        return bool(planning.matching_processes(self.monitor, self._paths.procfs))

    @property
    def command_ended(self) -> bool:
        """Has the command that we started ended?"""
        return self._command is not None and self._command.poll() is not None

    def adopt(self, claim: Claim, slot: Slot, abilities: Abilities) -> None:
        """Keep a kdamond that an earlier run left if it is just as we want it; stop it otherwise."""
        if not slot.running():
            return
        token = slot_token(slot)
        try:
            planned = self._plan(abilities)
        except (NothingToWatch, KernelError) as problem:
            self._reason = str(problem)
            planned = None
        if planned and token and token.fingerprint == planned.plan.fingerprint:
            difference = slot.difference(_lasting(planned.plan))
            if difference is None:
                self._pid, self._planned, self._reason = slot.pid(), planned, ""
                log.info("monitor %s: adopted the running kdamond %d with its ages", self.monitor.name, self._pid)
                return
            log.info("monitor %s: stopping the kdamond of an earlier run: %s", self.monitor.name, difference)
        claim.stop(slot, slot.pid())

    def look_after(self, claim: Claim, slot: Slot, abilities: Abilities, now: float) -> None:
        """Start what should run, restart what has changed, and notice what others did."""
        try:
            if self._pid:
                self._examine(claim, slot, now)
            if not self._pid and now >= self._next_try:
                self._start(claim, slot, abilities)
                self._started = now
                self._failing.reset()
        except NothingToWatch as nothing:
            self._explain(str(nothing))
        except NotOurs as theirs:
            self._retreat(now, str(theirs), self._yielding)
        except KernelError as error:
            self._retreat(now, str(error), self._failing)

    def forget(self, reason: str) -> None:
        """The slot is not ours any more."""
        self._pid = 0
        self._explain(reason)

    def describe(self) -> Watched | Waiting:
        """Return how the monitor stands."""
        if not self._pid or self._planned is None:
            return Waiting(self.monitor.name, self.monitor.operations, self._reason, self._restarts)
        plan = self._planned.plan
        intervals = Intervals(plan.intervals.sample_us, plan.intervals.aggregation_us)
        return Watched(
            name=self.monitor.name,
            operations=plan.operations,
            owner="foreign" if self._differing_looks >= LOOKS_BEFORE_CHANGED else "exporter",
            pid=self._pid,
            names=self._planned.names,
            intervals=intervals,
            max_nr_accesses=intervals.max_nr_accesses,
            tuned=plan.goal is not None,
            refreshed=False,
            reporting=True,
            restarts=self._restarts,
            slot=self.index,
        )

    def end_command(self) -> None:
        """End the command that we started, if any, and reap it."""
        if self._command is None or self._command.poll() is not None:
            return
        self._command.terminate()
        try:
            self._command.wait(COMMAND_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._command.kill()
            self._command.wait()

    def _examine(self, claim: Claim, slot: Slot, now: float) -> None:
        """Compare a kdamond that we run with what we know of it."""
        pid = slot.pid() if slot.running() else 0
        if pid == 0 and not self._targets_alive():
            self._pid = 0
            self._explain("its processes have ended")
        elif pid != self._pid:
            what = f"its slot now runs kdamond {pid}" if pid else "it was turned off"
            raise NotOurs(f"{what} by somebody else: left alone for a while")
        else:
            if now - self._started > LONGEST_BACK_OFF:
                self._yielding.reset()
            self._compare(slot, self._planned)
            if not self._differing_looks and self._processes_changed():
                claim.stop(slot, self._pid)
                self._pid = 0
                self._restarts += 1

    def _compare(self, slot: Slot, planned: Planned | None) -> None:
        difference = slot.difference(_lasting(planned.plan)) if planned else None
        self._differing_looks = self._differing_looks + 1 if difference else 0
        if difference and self._differing_looks == LOOKS_BEFORE_CHANGED:
            log.warning(
                "monitor %s: somebody changed it (%s): only observed from now on",
                self.monitor.name,
                difference,
            )

    def _start(self, claim: Claim, slot: Slot, abilities: Abilities) -> None:
        planned = self._plan(abilities)
        claim.configure(slot, planned.plan)
        self._pid = claim.start(slot)
        self._planned = planned
        self._differing_looks = 0
        self._reason = ""
        log.info("monitor %s: kdamond %d started in slot %d", self.monitor.name, self._pid, self.index)

    def _plan(self, abilities: Abilities) -> Planned:
        if self.monitor.operations != "paddr":
            if not procfs.is_initial_pid_namespace(self._paths.procfs):
                raise NothingToWatch(
                    "pids in this pid namespace are not the kernel's: run in the host's (hostPID: true)"
                )
            self._processes = self._find_processes()
        return planning.plan_monitor(self.monitor, self._processes, abilities, self._paths)

    def _find_processes(self) -> tuple[WatchedProcess, ...]:
        if self.monitor.command:
            return (self._commanded(self.monitor.command),)
        found = planning.matching_processes(self.monitor, self._paths.procfs)
        if not found:
            raise NothingToWatch(f"no process matches {planning.describe_selectors(self.monitor)} now")
        return found

    def _commanded(self, command: tuple[str, ...]) -> WatchedProcess:
        """Start the command unless it has been; it is never started twice."""
        if self._command is None:
            try:
                self._command = subprocess.Popen(command)  # noqa: S603 - the configuration names it
            except OSError as error:
                raise NothingToWatch(f"cannot start {command[0]}: {error.strerror}") from error
        if (code := self._command.poll()) is not None:
            raise NothingToWatch(f"its command has ended with exit code {code}")
        return WatchedProcess(self._command.pid, 0, Path(command[0]).name)

    def _targets_alive(self) -> bool:
        """Does any process that we watch still have memory? Physical memory always is there."""
        if self.monitor.operations == "paddr":
            return True
        living = (procfs.process(self._paths.procfs, watched.pid) for watched in self._processes)
        return any(process is not None and process.alive for process in living)

    def _processes_changed(self) -> bool:
        if self.monitor.operations == "paddr" or self.monitor.command:
            return False
        found = planning.matching_processes(self.monitor, self._paths.procfs)
        return bool(found) and set(found) != set(self._processes)

    def _retreat(self, now: float, reason: str, back_off: BackOff) -> None:
        """Leave the slot alone for a while, twice as long every time."""
        self._pid = 0
        delay = back_off.next()
        self._next_try = now + delay
        self._explain(f"{reason} (next try in {delay:g} s)")

    def _explain(self, reason: str) -> None:
        if reason != self._reason:
            log.warning("monitor %s does not run: %s", self.monitor.name, reason)
        self._reason = reason


def _lasting(plan: KdamondPlan) -> Iterator[Leaf]:
    """Yield the files that nobody but another tool changes: auto-tuning rewrites the intervals."""
    tuned = (f"{INTERVALS}/sample_us", f"{INTERVALS}/aggr_us") if plan.goal else ()
    return (leaf for leaf in plan.leaves() if leaf[0] not in tuned)
