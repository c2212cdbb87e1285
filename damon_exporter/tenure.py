"""How we come to hold DAMON's tree, go on with it after a crash, lose it, and give it back."""

import logging
from collections.abc import Mapping, Sequence

from damon_exporter.backoff import BackOff
from damon_exporter.config import Kernel
from damon_exporter.keeper import LONGEST_BACK_OFF, Keeper
from damon_exporter.kernel import features
from damon_exporter.kernel.claim import Claim, NotOurs
from damon_exporter.kernel.commands import CommandWriter
from damon_exporter.kernel.damon_sysfs import DamonTree
from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.modules import MODULES
from damon_exporter.kernel.ownership import Holder, Survey, TreeLock
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.planning import Abilities

log = logging.getLogger(__name__)

SHORTEST_ABSENCE = 30.0


class Tenure:
    """Holds the lock between exporters and, while the tree is ours, the `Claim` on it."""

    def __init__(
        self,
        kernel: Kernel,
        paths: KernelPaths,
        tree: DamonTree,
        keepers: Sequence[Keeper],
        sysfs_source: bool,
    ) -> None:
        self._kernel = kernel
        self._paths = paths
        self._tree = tree
        self._keepers = keepers
        self._sysfs_source = sysfs_source
        self._lock: TreeLock | None = None
        self._writer: CommandWriter | None = None
        self._claim: Claim | None = None
        self._free_since: float | None = None
        self._contents = 0
        self._absence = BackOff(max(kernel.settle, SHORTEST_ABSENCE), LONGEST_BACK_OFF)
        self._not_before = 0.0
        self.slot_features: Mapping[str, bool] = {}

    @property
    def writer(self) -> CommandWriter | None:
        """Where commands go, once we hold the lock."""
        return self._writer

    @property
    def held(self) -> bool:
        """Is the tree ours?"""
        return self._claim is not None

    def lock_problem(self) -> KernelError | None:
        """Take the lock between exporters if we have not got it yet; return what prevents it."""
        if self._lock is None:
            try:
                self._lock = TreeLock(self._tree)
            except KernelError as problem:
                return problem
            self._writer = CommandWriter([self._lock.fd])
        return None

    def seek(self, seen: Survey, blocked: Mapping[str, str], now: float) -> None:
        """Claim the tree if it is ours from an earlier run, or has been free for long enough."""
        if self._lock is None or self._writer is None:
            return
        claim = Claim(self._paths, self._tree, self._writer)
        if seen.holder is Holder.US:
            self._inherit(claim, seen)
        elif seen.holder is Holder.UNFINISHED and self._settled(seen, now):
            self._tree.resize(0)
        elif blocked or now < self._not_before or not any(keeper.wanted() for keeper in self._keepers):
            self._free_since = None
        elif self._settled(seen, now):
            claim.make_slots(len(self._keepers))
            claim.stop_modules(self._modules_to_stop())
            self._begin(claim)

    def keep(self, now: float) -> None:
        """Look after every monitor; one that cannot run leaves the others running."""
        if self._claim is None or self._writer is None or self._writer.stuck:
            return
        for keeper in self._keepers:
            keeper.look_after(self._claim, self._tree.slot(keeper.index), self._abilities(), now)

    def lose(self, now: float) -> None:
        """Another tool has made the tree its own: observe, and try again later."""
        delay = self._absence.next()
        self._claim, self._free_since, self._not_before = None, None, now + delay
        reason = f"another tool has made DAMON's tree its own; observing it, next try in {delay:g} s at the earliest"
        log.warning(reason)
        for keeper in self._keepers:
            keeper.forget(reason)

    def end(self) -> None:
        """Give the tree back as it was found, unless it shall be kept, and let the next exporter in."""
        if self._claim and self._kernel.on_exit == "stop":
            try:
                self._claim.release()
            except NotOurs as theirs:
                log.warning("not cleaned up: %s", theirs)
            except KernelError as error:
                log.error("DAMON could not be left as it was found, the next start heals it: %s", error)
        if self._writer:
            self._writer.close()
        if self._lock:
            self._lock.release()

    def _settled(self, seen: Survey, now: float) -> bool:
        if self._free_since is None or seen.contents != self._contents:
            self._free_since, self._contents = now, seen.contents
        return now - self._free_since >= self._kernel.settle

    def _inherit(self, claim: Claim, seen: Survey) -> None:
        """Go on with the slots of an earlier run, or clean up after it."""
        claim.take_over(seen.stopped_modules)
        other_plan = len(self._keepers) != self._tree.size() or seen.stopped_modules - self._modules_to_stop()
        if other_plan:
            log.info("cleaning up after an earlier run")
            claim.release()
            return
        self._begin(claim)
        for keeper in self._keepers:
            keeper.adopt(claim, self._tree.slot(keeper.index), self._abilities())

    def _begin(self, claim: Claim) -> None:
        self._claim = claim
        self.slot_features = features.slot_features(self._tree.slot(0))

    def _abilities(self) -> Abilities:
        """Return what a slot of ours can do; tuned intervals must be told to us, by refreshed files and events."""
        refresh = self.slot_features["refresh_ms"]
        followed = self._sysfs_source or features.has(self._paths, "damon_monitor_intervals_tune")
        return Abilities(
            autotune=self.slot_features["intervals_goal"] and refresh and followed,
            refresh=refresh,
            region_schemes=self._sysfs_source,
        )

    def _modules_to_stop(self) -> frozenset[str]:
        return frozenset(self._kernel.takeover).intersection(MODULES)
