"""The tree while it is ours: every command is preceded by a look whether it still is."""

import logging
from collections.abc import Callable, Collection, Set
from concurrent.futures import Future
from functools import partial

from damon_exporter.kernel import scheme_features
from damon_exporter.kernel.commands import CommandWriter
from damon_exporter.kernel.damon_sysfs import DamonTree, Slot
from damon_exporter.kernel.errors import Gone, KernelError, NotOurs
from damon_exporter.kernel.files import Check, patiently_write
from damon_exporter.kernel.modules import modules
from damon_exporter.kernel.ownership import Token, contents, is_default, slot_token
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.plan import (
    NR_SCHEMES,
    REFRESH,
    SPARE_TOKEN_FILE,
    TOKEN_FILE,
    KdamondPlan,
    scheme_folder,
    skeleton,
)

log = logging.getLogger(__name__)

EFFECTIVE_QUOTA = f"{scheme_folder(0)}/quotas/effective_bytes"

LONGEST_WAIT = 2
"""How many aggregation intervals a commit may take at most: before 6.14 it waits for the end of one."""


def require_ours(slot: Slot, pid: int) -> None:
    """Raise `NotOurs` unless the slot carries our token and runs with ``pid`` (0: is off)."""
    if slot_token(slot) is None:
        raise NotOurs(
            f"{slot.folder} does not carry our token any more: another tool uses it. When it has done so, write 0 to "
            "nr_kdamonds"
        )
    found = slot.pid()
    if found != pid:
        raise NotOurs(
            f"the kdamond of {slot.folder} has pid {found}, not {pid}: another tool has turned it on or off (0: off)"
        )


class Claim:
    """Our slots. Whoever uses this holds the lock of `TreeLock` too.

    Another tool may still write between our look and our command: DAMON has no locking between its users. What
    can be done without it is done: look, write, look again.
    """

    def __init__(self, paths: KernelPaths, tree: DamonTree, writer: CommandWriter) -> None:
        self._paths = paths
        self._tree = tree
        self._writer = writer
        self._stopped_modules: frozenset[str] = frozenset()

    def require_going(self) -> None:
        """Raise `Ending` if nothing more shall be begun."""
        self._writer.require_going()

    @property
    def stopped_modules(self) -> frozenset[str]:
        """The modules that are to be started again."""
        return self._stopped_modules

    def make_slots(self, count: int, expected: int | None = None) -> None:
        """Make fresh slots and mark every one as ours before anything else is written. For ``expected`` see `resize`.

        No more than are used: `damo report access` commits to every slot, and fails at the first that is off.
        """
        self.resize(count, expected)
        for slot in self._tree.slots():
            self._mark(slot)

    def resize(self, count: int, expected: int | None = None) -> None:
        """Throw all slots away and make fresh ones, after a look whether those that are there may be thrown away.

        They may if they are off and either all ours or with the `contents` that are ``expected``. Raises `NotOurs`.
        """
        self._tree.resize(count, lambda: self._require_idle(expected))

    def _require_idle(self, expected: int | None) -> None:
        slots = list(self._tree.slots())
        ours = all(slot_token(slot) for slot in slots)
        if any(slot.running() for slot in slots) or not (ours or contents(self._tree) == expected):
            raise NotOurs(
                f"another tool has just begun to use {self._tree.admin}: it is left as it is. When that tool has done, "
                "write 0 to nr_kdamonds"
            )

    def take_over(self, stopped_modules: frozenset[str]) -> None:
        """Go on with slots that carry our token, made by an earlier run, and mark those that it did not get to."""
        self._stopped_modules |= stopped_modules
        self.mark_fresh_slots()

    def mark_fresh_slots(self) -> None:
        """Mark as ours what somebody who was interrupted has made and not marked: slots in which nothing is set."""
        for slot in self._tree.slots():
            if slot_token(slot) is None and is_default(slot):
                self._mark(slot)

    def stop_modules(self, names: Set[str]) -> None:
        """Stop modules that run, after noting in every slot that they must be started again."""
        to_stop = {module.name for module in modules(self._paths) if module.enabled and module.name in names}
        if not to_stop:
            return
        self._stopped_modules |= to_stop
        for slot in self._tree.slots():
            if token := slot_token(slot):
                patiently_write(slot.folder / TOKEN_FILE, self._token(token.fingerprint))
        for name in sorted(to_stop):
            log.info("stopping %s while this exporter runs (kernel.takeover)", name)
            self._writer.write(self._paths.module_parameters(name) / "enabled", "N")

    def start_modules(self) -> None:
        """Start the modules that we, or an earlier run, have stopped."""
        for name in sorted(self._stopped_modules):
            try:
                self._writer.put_back(self._paths.module_parameters(name) / "enabled", "Y")
            except KernelError as error:
                log.error("%s was running before this exporter and could not be started again: %s", name, error)
            else:
                self._stopped_modules -= {name}
                log.info("started %s again", name)

    def offers(self, slot: Slot) -> frozenset[str]:
        """Return what the kernel offers for schemes, tried in the files of a slot of ours; see `scheme_features`."""
        require_ours(slot, slot.pid())
        return scheme_features.offers(slot)

    def configure(self, slot: Slot, plan: KdamondPlan) -> None:
        """Write a plan into a slot that is off, in which our token is to be found at every moment."""
        require_ours(slot, pid=0)
        self._make_schemes(slot, plan, self._token(plan.fingerprint))
        slot.write(plan.leaves())

    def stage(
        self, slot: Slot, pid: int, running: KdamondPlan | None, plan: KdamondPlan, fresh: Collection[int]
    ) -> None:
        """Write a plan for the kdamond that runs; ``fresh`` are the targets that it does not know yet, by index.

        ``running`` is the plan that the files show; None if they may show anything. Until the plan is taken over no
        fingerprint stands in the token: what a killed exporter leaves between is not adopted.
        """
        require_ours(slot, pid)
        beginning = plan.beginning(fresh)
        if running and running.scheme_layout == plan.scheme_layout:
            slot.write([(TOKEN_FILE, str(self._token(0)))])
            leaves = beginning.changes(running)
        else:
            self._make_schemes(slot, plan, self._token(0))
            leaves = beginning.untuned()
        if plan.refresh_ms and not (running and running.intervals == plan.intervals):
            slot.write([(REFRESH, "0")])  # a refresh would put the old intervals back before they are committed
        slot.write(leaf for leaf in leaves if leaf[0] != REFRESH)
        if plan.tuned:  # what the files do not show, a commit would take back
            self._writer.write(slot.state_file, "update_tuned_intervals", lambda: require_ours(slot, pid))

    def commit(self, slot: Slot, pid: int, check: Check) -> None:
        """Have the kdamond that runs take over what is staged. Raises `Gone` if it has ended.

        ``check`` is called right before, and raises `KernelError` if a process of the plan has just ended: before 6.14
        a list with one that cannot be found ends the kdamond, and the command succeeds. So its state and pid are
        looked at afterwards, too.
        """

        def still_ours() -> None:
            require_ours(slot, pid)
            check()

        longer = LONGEST_WAIT * slot.intervals().aggregation_us / 1e6
        self._writer.submit(slot.state_file, "commit", still_ours, longer).result()
        if slot.pid() != pid:
            raise Gone(f"the kdamond of {slot.folder} has ended: a process that it should watch ended just then")

    def update_schemes(self, slot: Slot, pid: int, plan: KdamondPlan) -> "Future[None]":
        """Have the kernel show what the schemes of a kdamond of ours did so far, where it does not by itself.

        While watermarks keep all schemes from acting, the kdamond only answers when it looks at them.
        """
        resting = max((scheme.watermarks.interval_us for scheme in plan.schemes), default=0)
        longer = (LONGEST_WAIT * slot.intervals().aggregation_us + resting) / 1e6
        ours = partial(require_ours, slot, pid)
        if any(scheme.quota.limits for scheme in plan.schemes) and slot.has(EFFECTIVE_QUOTA):
            self._writer.submit(slot.state_file, "update_schemes_effective_quotas", ours, longer)
        return self._writer.submit(slot.state_file, "update_schemes_stats", ours, longer)

    def settle(self, slot: Slot, plan: KdamondPlan, fresh: Collection[int]) -> None:
        """Have the files show a plan that was taken over, and the token that it runs."""
        slot.write(plan.settled(fresh))
        if plan.refresh_ms:
            slot.write([(REFRESH, str(plan.refresh_ms))])
        slot.write([(TOKEN_FILE, str(self._token(plan.fingerprint)))])

    def _make_schemes(self, slot: Slot, plan: KdamondPlan, token: int) -> None:
        """Make the folders of schemes anew, with the token to be found at every moment."""
        slot.write([(SPARE_TOKEN_FILE, str(token)), (NR_SCHEMES, str(plan.nr_schemes)), (TOKEN_FILE, str(token))])

    def start(self, slot: Slot) -> int:
        """Turn a kdamond on and return its pid."""
        self._writer.write(slot.state_file, "on", lambda: require_ours(slot, pid=0))
        if pid := slot.pid():
            return pid
        raise Gone(f"{slot.folder} was turned on and is off again: its last target may have just ended")

    def stop(self, slot: Slot, pid: int) -> None:
        """Turn off the kdamond with this pid."""
        try:
            self._writer.put_back(slot.state_file, "off", lambda: require_ours(slot, pid))
        except KernelError:
            if slot.running():  # before 7.1, one that has just ended by itself cannot be turned off
                raise

    def release(self, is_theirs: Callable[[Slot], bool] = lambda _: False) -> None:
        """Stop what runs with our token, start again what we stopped, and leave no slots behind.

        ``is_theirs`` tells of a slot that runs with our token whether somebody has made it his own by now. Raises
        `NotOurs` if any slot is somebody else's: then all of them stay, and none carries our token any more.
        """
        slots = list(self._tree.slots())
        marked = [slot for slot in slots if slot_token(slot)]
        ours = [slot for slot in marked if not (slot.running() and is_theirs(slot))]
        for slot in ours:
            if pid := slot.pid():
                self.stop(slot, pid)
        self.start_modules()
        if len(ours) < len(slots):
            for slot in marked:
                patiently_write(slot.folder / TOKEN_FILE, 0)
            raise NotOurs(
                f"another tool uses slots of {self._tree.admin}, or has changed them: they run on, and act if they did"
            )
        if slots:
            self.resize(0)

    def _mark(self, slot: Slot) -> None:
        slot.write(skeleton(self._token(0)))

    def _token(self, fingerprint: int) -> int:
        return Token(self._stopped_modules, fingerprint).encode()
