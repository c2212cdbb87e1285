"""The tree while it is ours: every command is preceded by a look whether it still is."""

import logging
from collections.abc import Iterable

from damon_exporter.kernel.commands import CommandWriter
from damon_exporter.kernel.damon_sysfs import DamonTree, Slot
from damon_exporter.kernel.errors import Gone, KernelError
from damon_exporter.kernel.files import patiently_write
from damon_exporter.kernel.modules import modules
from damon_exporter.kernel.ownership import Token, slot_token
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.plan import TOKEN_FILE, KdamondPlan, skeleton

log = logging.getLogger(__name__)


class NotOurs(KernelError):
    """Somebody else has changed what we meant to command; we stop writing and observe."""


class Claim:
    """Our slots. Whoever holds this holds the lock of `TreeLock` too.

    Another tool may still write between our look and our command: DAMON has no locking between its users. What
    can be done without it is done: look, write, look again.
    """

    def __init__(self, paths: KernelPaths, tree: DamonTree, writer: CommandWriter) -> None:
        self._paths = paths
        self._tree = tree
        self._writer = writer
        self._stopped_modules: frozenset[str] = frozenset()

    def make_slots(self, count: int) -> None:
        """Make fresh slots and mark every one as ours before anything else is written.

        No more than are used: `damo report access` commits to every slot, and fails at the first that is off.
        """
        self._tree.resize(count)
        for slot in self._tree.slots():
            slot.write(skeleton(1, self._token(0)))

    def take_over(self, stopped_modules: frozenset[str]) -> None:
        """Go on with slots that carry our token, made by an earlier run, and mark those that it did not get to."""
        self._stopped_modules = stopped_modules
        for slot in self._tree.slots():
            if slot_token(slot) is None:
                slot.write(skeleton(1, self._token(0)))

    def stop_modules(self, names: Iterable[str]) -> None:
        """Stop modules that run, after noting in every slot that they must be started again."""
        enabled = {module.name for module in modules(self._paths) if module.enabled}
        to_stop = enabled.intersection(names)
        self._stopped_modules |= to_stop
        for slot in self._tree.slots():
            self._rewrite_token(slot)
        for name in sorted(to_stop):
            log.info("stopping %s while this exporter runs (kernel.takeover)", name)
            self._writer.write(self._paths.module_parameters(name) / "enabled", "N")

    def configure(self, slot: Slot, plan: KdamondPlan) -> None:
        """Write a plan into a slot that is off."""
        self.check(slot, pid=0)
        token = self._token(plan.fingerprint)
        if int(slot.read("contexts/0/schemes/nr_schemes")) != 1 + plan.target_schemes:
            slot.write(skeleton(1 + plan.target_schemes, token))
        slot.write([(TOKEN_FILE, str(token))])
        slot.write(plan.leaves())

    def start(self, slot: Slot) -> int:
        """Turn a kdamond on and return its pid."""
        self.check(slot, pid=0)
        self._writer.write(slot.state_file, "on")
        if not slot.running():
            raise Gone(f"{slot.folder} was turned on and is off again: its last target may have just ended")
        return slot.pid()

    def stop(self, slot: Slot, pid: int) -> None:
        """Turn off the kdamond with this pid."""
        self.check(slot, pid)
        self._writer.write(slot.state_file, "off")

    def check(self, slot: Slot, pid: int) -> None:
        """Raise `NotOurs` unless the slot carries our token and runs with ``pid`` (0: is off)."""
        if slot_token(slot) is None:
            raise NotOurs(f"{slot.folder} does not carry our token any more: another tool uses DAMON")
        found = slot.pid() if slot.running() else 0
        if found != pid:
            raise NotOurs(f"{slot.folder} runs with pid {found}, not {pid}: another tool has turned it on or off")

    def release(self) -> None:
        """Stop what runs with our token, start again what we stopped, and leave no slots behind."""
        for slot in self._tree.slots():
            if slot_token(slot) is None:
                raise NotOurs(f"{slot.folder} is not ours: the tree is left as it is")
            if slot.running():
                self.stop(slot, slot.pid())
        self._start_modules()
        self._tree.resize(0)

    def _start_modules(self) -> None:
        """Start the modules that we, or an earlier run, have stopped."""
        for name in sorted(self._stopped_modules):
            try:
                self._writer.write(self._paths.module_parameters(name) / "enabled", "Y")
                log.info("started %s again", name)
            except KernelError as error:
                log.error("%s was running before this exporter and could not be started again: %s", name, error)

    def _token(self, fingerprint: int) -> int:
        return Token(self._stopped_modules, fingerprint).encode()

    def _rewrite_token(self, slot: Slot) -> None:
        token = slot_token(slot)
        if token is None:
            raise NotOurs(f"{slot.folder} does not carry our token any more: another tool uses DAMON")
        patiently_write(slot.folder / TOKEN_FILE, self._token(token.fingerprint))
