"""How we come to hold DAMON's tree, go on with it after a crash, lose it, and give it back."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from damon_exporter.backoff import BackOff
from damon_exporter.config import Kernel
from damon_exporter.hold import Hold
from damon_exporter.keeper import CHANGE_SECONDS, LONGEST_BACK_OFF, Keeper
from damon_exporter.kernel import features
from damon_exporter.kernel.claim import Claim
from damon_exporter.kernel.commands import CommandWriter
from damon_exporter.kernel.damon_sysfs import DamonTree, Slot
from damon_exporter.kernel.errors import Busy, Ending, KernelError, NotOurs, Stuck, Unsupported
from damon_exporter.kernel.modules import MODULES
from damon_exporter.kernel.ownership import Holder, Survey, TreeLock, contents, slot_token, survey
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.leaving import Leaving
from damon_exporter.planning import EVERYTHING, TUNING, Abilities, abilities_of
from damon_exporter.succession import Succession

log = logging.getLogger(__name__)

SHORTEST_ABSENCE = 30.0
RELEASE_PATIENCE = 10.0
"""For how long (s) we try to clean up on exit while other people's commands are in the way."""


class Tenure:
    """Holds the lock between exporters and, while the tree is ours (``held``), looks after our slots.

    Once ``ending`` is set nothing more is begun: `keep` and `succeed` raise `Ending`, and `end` is to follow.
    """

    def __init__(
        self, kernel: Kernel, paths: KernelPaths, tree: DamonTree, keepers: Sequence[Keeper], sysfs_source: bool
    ) -> None:
        self._kernel = kernel
        self._paths = paths
        self._tree = tree
        self.keepers = keepers
        self._sysfs_source = sysfs_source
        self._lock: TreeLock | None = None
        self.ending = threading.Event()
        self._writer: CommandWriter | None = None
        self._claim: Claim | None = None
        self.held = False
        self._free_since: float | None = None
        self._tokens_gone_since: float | None = None
        self._contents: int | None = None
        self._has_looked = False
        self._left_unfinished: int | None = None
        self._absence = _absence(kernel)
        self._leaving = Leaving()
        self._not_before = 0.0
        self._offers: frozenset[str] | None = None
        self.slot_features: Mapping[str, bool] = {}

    @property
    def writer(self) -> CommandWriter | None:
        """Where commands go, once we hold the lock."""
        return self._writer

    @property
    def stuck(self) -> bool:
        """Does a command wait for its answer for too long?"""
        return self._writer is not None and self._writer.stuck

    def lock_problem(self) -> KernelError | None:
        """Take the lock between exporters if we have not got it yet; return what prevents it."""
        if self._lock is None:
            try:
                self._lock = TreeLock(self._tree)
            except KernelError as problem:
                return problem
            self._writer = CommandWriter([self._lock.fd], ending=self.ending)
            self._claim = Claim(self._paths, self._tree, self._writer)
        return None

    @property
    def _slots(self) -> int:
        """How many slots we make."""
        return self._kernel.slots_for(len(self.keepers))

    def succeed(self, succession: Succession, kernel: Kernel, now: float) -> None:
        """Go on with other monitors, which wait while nothing is ours.

        Raises `KernelError`, and then the old ones go on; their kdamonds may be others if slots had to be made.
        """
        if self.stuck:
            raise Stuck("a command to a kdamond has not been answered yet: try again later")
        if self._claim and self._claim.stopped_modules and kernel.on_exit != "stop":
            first = min(self._claim.stopped_modules)
            raise Unsupported(
                f"kernel.on_exit: {kernel.on_exit} leaves no room for {first}, which this exporter has stopped and "
                "starts again when it ends; use stop, or restart the exporter"
            )
        if self.held and self._claim:
            try:
                self._carry_out(self._claim, succession, kernel, now)
            except Ending:
                self.keepers = succession.reached
                raise
        elif kernel.control == "auto":
            succession.rehearse(replace(EVERYTHING, region_schemes=self._sysfs_source))
        if kernel.settle != self._kernel.settle:
            self._absence = _absence(kernel)
        self.keepers, self._kernel = succession.after, kernel

    def _carry_out(self, claim: Claim, succession: Succession, kernel: Kernel, now: float) -> None:
        abilities = self._abilities(claim, succession.after)
        succession.rehearse(abilities)
        succession.require_undisputed()
        if succession.needs_more_slots:
            log.warning(
                "there are more monitors than slots, and DAMON makes none without throwing away all: every monitor is "
                "started anew. kernel.slots makes room beforehand"
            )
            self._start_anew(claim, succession, abilities, kernel, now)
            return
        succession.carry_out(partial(self._hold, claim, abilities), now, self._leaving)

    def _hold(self, claim: Claim, abilities: Abilities, keeper: Keeper) -> Hold:
        return Hold(claim, self._tree.slot(keeper.index), abilities)

    def _start_anew(
        self, claim: Claim, succession: Succession, abilities: Abilities, kernel: Kernel, now: float
    ) -> None:
        """Throw all slots away, make more, and start everything; if that fails, the old monitors are started again."""
        self._require_only_ours(claim)
        for keeper, hold in self._holds(claim):
            keeper.stop(hold)
        before = {keeper: keeper.index for keeper in succession.before}
        try:
            claim.make_slots(kernel.slots_for(len(succession.after)))
            _number(succession.after)
            succession.start_new(partial(self._hold, claim, abilities), now, self._leaving)
        except KernelError as problem:
            with suppress(KernelError):
                claim.mark_fresh_slots()
            for keeper, index in before.items():
                keeper.index = index
            raise type(problem)(f"{problem}. The monitors of the old configuration are started anew") from problem

    def _require_only_ours(self, claim: Claim) -> None:
        """Raise `KernelError` if something runs that could not be started anew, before anything is stopped."""
        self._leaving.stop(claim, self._tree)
        if self._leaving:
            raise Busy("a kdamond of a monitor that is not kept any more still runs: try again later")
        ours = {0, *(keeper.pid for keeper in self.keepers)}
        for slot in self._tree.slots():
            if slot_token(slot) is None or slot.pid() not in ours:
                raise NotOurs(f"another tool uses {slot.folder}: slots cannot be made while it does")

    def look(self) -> Survey:
        """Survey the tree. What looks unfinished is a killed exporter's only if it was so at our first look, and is
        just as it was; it is somebody's who begins to stage something otherwise.
        """
        seen = survey(self._tree, self._slots)
        found = contents(self._tree) if seen.holder is Holder.UNFINISHED else None
        if not self._has_looked:
            self._has_looked, self._left_unfinished = True, found
        elif found != self._left_unfinished:
            self._left_unfinished = None
        if found is not None and self._left_unfinished is None:
            return replace(seen, holder=Holder.SOMEBODY_IDLE)
        return seen

    def seek(self, seen: Survey, blocked: Mapping[str, str], now: float) -> None:
        """Take the tree if it is ours from an earlier run, or has been free for long enough; raises `KernelError`."""
        if self._claim and seen.holder is Holder.US:
            self._inherit(self._claim, seen, now)
        elif self._claim and seen.holder is Holder.UNFINISHED:
            if self._settled(seen, now):
                log.info("removing empty slots that a killed exporter has left")
                self._claim.resize(0, self._contents)
        elif blocked or self._claim is None:
            self._free_since = None
            self._let_wait(f"DAMON cannot be taken now: {', '.join(blocked)}")
        elif now < self._not_before:
            self._free_since = None
        elif self._settled(seen, now):
            self._take(self._claim, now)
        else:
            self._let_wait(f"DAMON is taken when it has been free for {self._kernel.settle:g} s (kernel.settle)")

    def keep(self, now: float) -> None:
        """Look after every monitor; one that cannot run leaves the others running. Raises `KernelError`."""
        if not self.held or self._claim is None or self.stuck:
            return
        self._claim.stop_modules(self._modules_to_stop())
        self._leaving.stop(self._claim, self._tree)
        for keeper, hold in self._holds(self._claim):
            keeper.look_after(hold, now)

    def check(self, seen: Survey, now: float) -> None:
        """Lose the tree if another tool has made it its own, and not only for a moment: then observe it."""
        if not self.held or seen.tokens:
            self._tokens_gone_since = None
            return
        if self._tokens_gone_since is None:
            self._tokens_gone_since = now
        if now - self._tokens_gone_since >= CHANGE_SECONDS:
            self._lose(now)

    def end(self) -> None:
        """Give the tree back as it was found, unless it shall be kept, and let the next exporter in."""
        if self._writer:
            self._writer.settle()  # a command of our own under way would keep us from cleaning up
        if self._claim:
            self._give_back(self._claim)
        if self._writer:
            self._writer.close()
        if self._lock:
            self._lock.release()

    def _give_back(self, claim: Claim) -> None:
        if self._kernel.on_exit != "stop":
            if self.held:
                self._leaving.stop(claim, self._tree)
                if self._kernel.on_exit == "keep":
                    self._stop_acting(claim)
            return
        if not self.held:
            claim.start_modules()
            return
        try:
            _patiently(lambda: claim.release(self._is_theirs), time.monotonic() + RELEASE_PATIENCE)
        except NotOurs as theirs:
            log.warning("not cleaned up: %s", theirs)
        except KernelError as error:
            log.error("DAMON could not be left as it was found, the next start heals it: %s", error)

    def _stop_acting(self, claim: Claim) -> None:
        """Turn off those of our kdamonds that do more than count: nobody would look after them."""
        deadline = time.monotonic() + RELEASE_PATIENCE
        for keeper, hold in self._holds(claim):
            if not any(scheme.acts for scheme in keeper.monitor.schemes):
                continue
            try:
                _patiently(partial(self._stop_ours, hold, keeper), deadline)
            except KernelError as error:
                log.error("monitor %s goes on, and acts: %s", keeper.monitor.name, error)

    @staticmethod
    def _stop_ours(hold: Hold, keeper: Keeper) -> None:
        if not hold.slot.pid():
            return
        if keeper.is_theirs(hold.slot):
            raise NotOurs("somebody has changed it, so it is his")
        keeper.stop(hold)

    def _lose(self, now: float) -> None:
        delay = self._absence.next()
        self._leaving.forget()
        self.held, self._free_since, self._not_before = False, None, now + delay
        reason = f"another tool has made DAMON's tree its own; observing it, next try in {delay:g} s at the earliest"
        log.warning("%s", reason)
        self._let_wait(reason)

    def _let_wait(self, reason: str) -> None:
        for keeper in self.keepers:
            keeper.wait(reason)

    def _take(self, claim: Claim, now: float) -> None:
        """Make slots, if any monitor would have something to watch."""
        missing = [(keeper, keeper.missing(now)) for keeper in self.keepers]
        if any(reason is None for _, reason in missing):
            try:
                claim.make_slots(self._slots, self._contents)
                _number(self.keepers)
            except KernelError as problem:
                if not isinstance(problem, NotOurs):
                    self._left_unfinished = contents(self._tree)  # what we have made, but could not mark
                self._let_wait(str(problem))
                raise
            self._probe_slot()
            self.held = True
        for keeper, reason in missing:
            if reason:
                keeper.wait(reason, keeper.dropped)

    def _settled(self, seen: Survey, now: float) -> bool:
        """Has the tree been free, and as it is now, for as long as is asked for?"""
        found = None if seen.holder is Holder.NOBODY else contents(self._tree)
        if self._free_since is None or found != self._contents:
            self._free_since, self._contents = now, found
        return now - self._free_since >= self._kernel.settle

    def _inherit(self, claim: Claim, seen: Survey, now: float) -> None:
        """Go on with the slots of an earlier run, or clean up after it."""
        claim.take_over(seen.stopped_modules)
        other_plan = self._slots != self._tree.size() or seen.stopped_modules - self._modules_to_stop()
        if other_plan:
            log.info("cleaning up after an earlier run")
            claim.release()
            return
        self._probe_slot()
        for keeper, hold in self._holds(claim):
            keeper.adopt(hold, now)
        self.held = True

    def _holds(self, claim: Claim) -> Iterator[tuple[Keeper, Hold]]:
        abilities = self._abilities(claim, self.keepers)
        return ((keeper, self._hold(claim, abilities, keeper)) for keeper in self.keepers)

    def _probe_slot(self) -> None:
        self.slot_features = features.slot_features(self._tree.slot(0))

    def _abilities(self, claim: Claim, keepers: Sequence[Keeper]) -> Abilities:
        """Return what a slot of ours can do."""
        slot = self._tree.slot(0)
        if self._offers is None and any(keeper.monitor.schemes for keeper in keepers):
            self._offers = claim.offers(slot)
        followed = self._sysfs_source or features.has(self._paths, TUNING)
        return abilities_of(slot, self._sysfs_source, followed, self._offers or frozenset())

    def _modules_to_stop(self) -> frozenset[str]:
        return frozenset(self._kernel.takeover).intersection(MODULES)

    def _is_theirs(self, slot: Slot) -> bool:
        if self._leaving.has(slot):
            return False
        return any(keeper.index == slot.index and keeper.is_theirs(slot) for keeper in self.keepers)


def _patiently(step: Callable[[], None], deadline: float) -> None:
    """Do it, again and again while another tool's command is in the way, until the deadline (CLOCK_MONOTONIC, s)."""
    while True:
        try:
            step()
            return
        except Busy:
            if time.monotonic() > deadline:
                raise


def _number(keepers: Sequence[Keeper]) -> None:
    """Give each the slot of its place."""
    for index, keeper in enumerate(keepers):
        keeper.index = index


def _absence(kernel: Kernel) -> BackOff:
    return BackOff(max(kernel.settle, SHORTEST_ABSENCE), LONGEST_BACK_OFF)
