"""Decides what should run and tells the sampler who is being watched."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from damon_exporter.config import Config, Monitor
from damon_exporter.containers.named import PodLookup, no_pod
from damon_exporter.keeper import Keeper
from damon_exporter.kernel import features, memory
from damon_exporter.kernel.commands import CommandWriter
from damon_exporter.kernel.damon_sysfs import DamonTree, Slot
from damon_exporter.kernel.errors import Busy, Denied, Ending, Gone, KernelError, Unsupported
from damon_exporter.kernel.modules import modules
from damon_exporter.kernel.ownership import Holder
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.obstacles import STUCK, modules_in_the_way, obstacles, reason_of
from damon_exporter.others import watched_module, watched_slot
from damon_exporter.repeating import Repeating
from damon_exporter.roster import Roster, Waiting, Watched
from damon_exporter.scheme_activity import SchemeActivity
from damon_exporter.succession import Succession
from damon_exporter.tenure import Tenure

log = logging.getLogger(__name__)

TICK_SECONDS = 2.0
RELOAD_PATIENCE = 15.0
"""How long (s) a reload waits for the look at DAMON that is under way, in which a command may be."""
NAMES_PAUSE_SECONDS = 0.1
"""How often it is looked, at start, whether the names of pods have been asked for."""


class Supervisor:
    """Runs in a thread of its own. Others read ``roster``, ``errors``, ``writer`` and ``commands_ended``.

    ``on_failure`` is that of `Repeating`.
    """

    def __init__(
        self,
        config: Config,
        paths: KernelPaths,
        sysfs_source: bool,
        on_failure: Callable[[], None],
        pod_of: PodLookup = no_pod,
        names_asked: Callable[[], bool] = lambda: True,
    ) -> None:
        self._kernel = config.kernel
        self._paths = paths
        self._sysfs_source = sysfs_source
        self._names_asked = names_asked
        self._awaits_names = False
        self._tree = DamonTree(paths.damon_admin)
        self._pod_of = pod_of
        self._former_failed_commits = 0
        keepers = [self._keeper(monitor, index, config) for index, monitor in enumerate(config.monitors)]
        self._tenure = Tenure(config.kernel, paths, self._tree, keepers, sysfs_source)
        self._looking = threading.Lock()
        self._blocked: Mapping[str, str] = {}
        self._said: Mapping[str, str] = {}
        self._activity = SchemeActivity()
        self._thread = Repeating("supervisor", self._work, on_failure)
        self.roster = Roster()
        self.errors = 0

    @property
    def writer(self) -> CommandWriter | None:
        """Where commands to our own kdamonds go, None while we hold no lock."""
        return self._tenure.writer

    @property
    def failed_commits(self) -> int:
        """How many changes of targets the kernel did not take."""
        return self._former_failed_commits + sum(keeper.failed_commits for keeper in self._keepers)

    @property
    def commands_ended(self) -> bool:
        """Have all monitors been commands, and have all of them ended?"""
        return bool(self._keepers) and all(keeper.command_ended for keeper in self._keepers)

    @property
    def _keepers(self) -> Sequence[Keeper]:
        return self._tenure.keepers

    def _keeper(self, monitor: Monitor, index: int, config: Config) -> Keeper:
        return Keeper(monitor, index, self._paths, config.kernel.settle, self._pod_of)

    def reload(self, config: Config) -> None:
        """Go on with other monitors; for other threads. Raises `KernelError` with everything as it was.

        `Ending` if the exporter is asked to end before it is done: then `stop` puts back what has been reached.
        """
        if not self._looking.acquire(timeout=RELOAD_PATIENCE):
            raise Busy("DAMON has not answered a command yet: nothing is changed, try again later")
        try:
            self._succeed(config)
        finally:
            self._looking.release()
            self.wake()

    def _succeed(self, config: Config) -> None:
        slots = self._tree.size() if self._tenure.held else 0
        succession = Succession(self._keepers, config.monitors, slots, partial(self._keeper, config=config))
        try:
            self._tenure.succeed(succession, config.kernel, time.monotonic())
            self._kernel = config.kernel
            going = set(succession.before) - set(succession.after)
            self._former_failed_commits += sum(keeper.failed_commits for keeper in going)
        finally:
            succession.forget(self._keepers)

    def start(self) -> None:
        """Begin to look after DAMON."""
        self._thread.start()

    def wake(self) -> None:
        """Look now rather than at the next tick: a kdamond that nobody knows has been heard of."""
        self._thread.wake()

    def cease(self) -> None:
        """Begin nothing more; for other threads. A command that is under way, and `stop`, are not affected."""
        self._tenure.ending.set()

    def stop(self) -> None:
        """Stop what we started and leave the tree as it was found, or keep it running if configured so."""
        self.cease()
        self._thread.stop()
        self.end()

    def end(self) -> None:
        """What `stop` does when the thread has ended."""
        try:
            self._tenure.end()
        finally:
            for keeper in self._keepers:
                keeper.end()

    def tick(self, now: float) -> None:
        """Look at everything once, act where it is ours, and publish the roster; raises `Ending`."""
        with self._looking:
            self._tick(now)

    def _tick(self, now: float) -> None:
        roster = self.roster
        try:
            self._awaits_names = self._must_ask_names_first()
            if self._awaits_names:
                self.roster = Roster(waiting=tuple(self._waiting("the names of pods are asked for first")))
                return
            self._blocked = self._control(now) if self._kernel.control == "auto" else {}
            roster = self._look_around(time.monotonic())
        except (Busy, Gone) as passing:
            log.debug("what was last known stands: %s", passing)  # a command of somebody's is under way
        except KernelError as error:
            self.errors += 1
            log.warning("DAMON cannot be looked after now: %s", error)
        blocked = {**self._blocked, **(STUCK if self._tenure.stuck else {})}
        self._say(blocked)
        self.roster = replace(roster, blocked=blocked)

    def _work(self) -> float:
        if not self._tenure.ending.is_set():
            with suppress(Ending):
                self.tick(time.monotonic())
        refreshes = (keeper.monitor.processes.refresh for keeper in self._keepers if keeper.monitor.processes)
        pause = min([TICK_SECONDS, *refreshes])
        return min(pause, NAMES_PAUSE_SECONDS) if self._awaits_names else pause

    def _must_ask_names_first(self) -> bool:
        """Would a kdamond that an earlier run has left be stopped, as nothing matches before pods have names?"""
        if self._kernel.control == "never" or self._tenure.held or self._names_asked():
            return False
        by_pod = any(keeper.monitor.processes and keeper.monitor.processes.by_pod for keeper in self._keepers)
        return by_pod and self._tenure.look().holder is Holder.US

    def _waiting(self, reason: str) -> Iterator[Waiting]:
        for keeper in self._keepers:
            keeper.wait(reason)
            described = keeper.describe()
            if isinstance(described, Waiting):
                yield described

    def _control(self, now: float) -> Mapping[str, str]:
        """Keep, take or wait for the tree; return what is in the way."""
        seen = self._tenure.look()
        self._tenure.check(seen, now)
        blocked: Mapping[str, str] = {}
        if not self._tenure.held:
            problem = self._tenure.lock_problem()
            found = features.probe(self._paths)
            blocked = obstacles(self._kernel.takeover, seen, modules(self._paths), found, problem)
        try:
            if not self._tenure.held:
                self._tenure.seek(seen, blocked, now)
            self._tenure.keep(now)
        except KernelError as error:
            self.errors += 1
            return {**blocked, reason_of(error): str(error)}
        return modules_in_the_way(self._kernel.takeover, modules(self._paths)) if self._tenure.held else blocked

    def _look_around(self, now: float) -> Roster:
        """Say who is being watched: our monitors, other people's slots, and the modules."""
        own = [keeper.describe() for keeper in self._keepers]
        watched = [described for described in own if isinstance(described, Watched)]
        waiting = [described for described in own if isinstance(described, Waiting)]
        own_pids = {kdamond.pid for kdamond in watched}
        try:
            others, looked_at = self._other_slots(own_pids), now
        except (Busy, Gone) as passing:  # of ours it must be told all the same who has left his place
            log.debug("what was last known of others stands: %s", passing)
            others, looked_at = self._others_before(own_pids), self.roster.looked_at
        enabled = [watched_module(module) for module in modules(self._paths) if module.enabled]
        if self._sysfs_source:  # nothing is heard of modules then
            enabled = [replace(module, reporting=False) for module in enabled]
        free = memory.free_permil(self._paths.procfs)
        present = {feature.name: feature.present for feature in features.probe(self._paths)}
        return Roster(
            looked_at=looked_at,
            watched=self._activity.told((*watched, *others, *enabled), free),
            waiting=tuple(waiting) if self._kernel.control == "auto" else (),
            features={**present, **self._tenure.slot_features},
        )

    def _other_slots(self, own_pids: set[int]) -> list[Watched]:
        """Return the kdamonds of slots that are not ours; what was known of one stands while its files are made anew.

        Raises `Busy` while a command is under way.
        """
        try:
            running = {pid: slot for slot in self._tree.slots() if (pid := slot.pid())}
        except (Denied, Unsupported):
            return []
        others = (self._described(slot, pid) for pid, slot in running.items() if pid not in own_pids)
        return [kdamond for kdamond in others if kdamond]

    def _others_before(self, own_pids: set[int]) -> list[Watched]:
        names = {keeper.monitor.name for keeper in self._keepers}
        before = (kdamond for kdamond in self.roster.watched if kdamond.owner == "foreign")
        return [kdamond for kdamond in before if kdamond.name not in names and kdamond.pid not in own_pids]

    def _described(self, slot: Slot, pid: int) -> Watched | None:
        try:
            return watched_slot(slot, pid)
        except KernelError:
            return next((kdamond for kdamond in self.roster.watched if kdamond.pid == pid), None)

    def _say(self, blocked: Mapping[str, str]) -> None:
        """Log what is in the way, once."""
        for reason, sentence in blocked.items():
            if self._said.get(reason) != sentence:
                log.warning("%s", sentence)
        if self._said and not blocked:
            log.info("nothing is in the way any more")
        self._said = blocked
