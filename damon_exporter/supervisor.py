"""Decides what should run and tells the sampler who is being watched."""

import logging
import threading
import time
from collections.abc import Mapping

from damon_exporter.config import Config
from damon_exporter.keeper import Keeper
from damon_exporter.kernel import features
from damon_exporter.kernel.commands import CommandWriter
from damon_exporter.kernel.damon_sysfs import DamonTree
from damon_exporter.kernel.errors import Busy, KernelError
from damon_exporter.kernel.modules import modules
from damon_exporter.kernel.ownership import Holder, Survey, survey
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.obstacles import obstacles
from damon_exporter.roster import Roster, Waiting, Watched
from damon_exporter.tenure import Tenure
from damon_exporter.watching import watched_module, watched_slot

log = logging.getLogger(__name__)

TICK_SECONDS = 2.0


class Supervisor:
    """Runs in a thread of its own; ``roster`` is the only thing that others read of it."""

    def __init__(self, config: Config, paths: KernelPaths, sysfs_source: bool) -> None:
        self._kernel = config.kernel
        self._paths = paths
        self._tree = DamonTree(paths.damon_admin)
        self._keepers = [
            Keeper(monitor, index, paths, config.kernel.settle) for index, monitor in enumerate(config.monitors)
        ]
        self._tenure = Tenure(config.kernel, paths, self._tree, self._keepers, sysfs_source)
        self._said: Mapping[str, str] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor")
        self.roster = Roster()
        self.errors = 0

    @property
    def writer(self) -> CommandWriter | None:
        """Where commands to our own kdamonds go, None while we hold no lock."""
        return self._tenure.writer

    @property
    def commands_ended(self) -> bool:
        """Have all monitors been commands, and have all of them ended?"""
        return bool(self._keepers) and all(keeper.command_ended for keeper in self._keepers)

    def start(self) -> None:
        """Begin to look after DAMON."""
        self._thread.start()

    def wake(self) -> None:
        """Look now rather than at the next tick: a kdamond that nobody knows has been heard of."""
        self._wake.set()

    def stop(self) -> None:
        """Stop what we started and leave the tree as it was found, or keep it running if configured so."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()
        self._tenure.end()
        for keeper in self._keepers:
            keeper.end_command()

    def tick(self, now: float) -> None:
        """Look at everything once, act where it is ours, and publish the roster."""
        seen = survey(self._tree, len(self._keepers))
        if isinstance(seen.problem, Busy):
            return  # a command is under way: what was last known stands
        blocked = self._control(seen, now) if self._kernel.control == "auto" else {}
        self._say(blocked)
        self.roster = self._look_around(blocked, time.monotonic())

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.tick(time.monotonic())
            except KernelError as error:
                self.errors += 1
                log.warning("DAMON cannot be looked after now: %s", error)
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()

    def _control(self, seen: Survey, now: float) -> Mapping[str, str]:
        """Keep, take or wait for the tree; return what is in the way."""
        if self._tenure.held and seen.holder is not Holder.US:
            self._tenure.lose(now)
        blocked: Mapping[str, str] = {}
        if not self._tenure.held:
            blocked = obstacles(
                self._kernel.takeover,
                seen,
                modules(self._paths),
                features.probe(self._paths),
                self._tenure.lock_problem(),
            )
            self._tenure.seek(seen, blocked, now)
        self._tenure.keep(now)
        if self.writer and self.writer.stuck:
            return {
                **blocked,
                "stuck": "a command to a kdamond has not been answered for long; observing goes on",
            }
        return {} if self._tenure.held else blocked

    def _look_around(self, blocked: Mapping[str, str], now: float) -> Roster:
        """Say who is being watched: our monitors, other people's slots, and the modules."""
        own = [keeper.describe() for keeper in self._keepers]
        watched = [described for described in own if isinstance(described, Watched)]
        waiting = [described for described in own if isinstance(described, Waiting)]
        others = self._other_slots({kdamond.pid for kdamond in watched})
        enabled = [watched_module(module) for module in modules(self._paths) if module.enabled]
        present = {feature.name: feature.present for feature in features.probe(self._paths)}
        return Roster(
            looked_at=now,
            watched=(*watched, *others, *enabled),
            waiting=tuple(waiting) if self._kernel.control == "auto" else (),
            blocked=blocked,
            features={**present, **self._tenure.slot_features},
        )

    def _other_slots(self, own_pids: set[int]) -> list[Watched]:
        try:
            slots = list(self._tree.slots())
        except KernelError:
            return []
        found = (watched_slot(slot) for slot in slots)
        return [kdamond for kdamond in found if kdamond and kdamond.pid not in own_pids]

    def _say(self, blocked: Mapping[str, str]) -> None:
        """Log what is in the way, once."""
        for reason, sentence in blocked.items():
            if self._said.get(reason) != sentence:
                log.warning("%s", sentence)
        if self._said and not blocked:
            log.info("nothing is in the way any more")
        self._said = blocked
