"""Kdamonds of ours that nobody keeps any more, and that could not be stopped when they should have been."""

import logging

from damon_exporter.kernel.claim import Claim
from damon_exporter.kernel.damon_sysfs import DamonTree, Slot
from damon_exporter.kernel.errors import KernelError, NotOurs, Unsupported

log = logging.getLogger(__name__)


class Leaving:
    """Known by slot and pid, so that nothing else that may run there by then is stopped."""

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._pids)

    def add(self, slot: int, pid: int) -> None:
        """The kdamond ``pid`` in the slot of this index could not be stopped."""
        self._pids[slot] = pid

    def has(self, slot: Slot) -> bool:
        """Is what runs there one of them?"""
        return self._pids.get(slot.index) == slot.pid()

    def stop(self, claim: Claim, tree: DamonTree) -> None:
        """Try to stop them; those that cannot be stopped now either stay known."""
        for index, pid in list(self._pids.items()):
            slot = tree.slot(index)
            try:
                if slot.pid() == pid:
                    claim.stop(slot, pid)
            except (NotOurs, Unsupported) as theirs:
                log.debug("%s", theirs)
            except KernelError as problem:
                log.warning("kdamond %d, which is not kept any more, still runs: %s", pid, problem)
                continue
            del self._pids[index]

    def forget(self) -> None:
        """They are not ours any more."""
        self._pids.clear()
