"""/sys/kernel/mm/damon/admin, and the one lock that all of it shares."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.damon_tree import ContextLayout
from damon_exporter.testing.fake_kernel.slot import Slot
from damon_exporter.testing.fake_kernel.tree import Directory, fail
from damon_exporter.testing.fake_kernel.values import Numbered

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel


class DamonSysfs:
    """``locked`` is damon_sysfs_lock. Nobody waits for it: who finds it taken gets EBUSY."""

    def __init__(self, kernel: "Kernel", mm: Directory) -> None:
        self.kernel = kernel
        self.layout = ContextLayout(kernel.profile, self.refuse_while_locked)
        self.locked = False
        self.request_pending = False
        self.kdamonds = Numbered("nr_kdamonds", lambda: Slot(kernel, self), self._refuse_resize)
        mm.make("damon/admin").add("kdamonds", self.kdamonds)

    def refuse_while_locked(self) -> None:
        """EBUSY while a command holds the lock."""
        if self.locked:
            raise fail(errno.EBUSY)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold DAMON's lock."""
        self.refuse_while_locked()
        self.locked = True
        try:
            yield
        finally:
            self.locked = False

    def _refuse_resize(self) -> None:
        """damon_sysfs_kdamonds_busy(): no resize while any kdamond of sysfs runs."""
        self.refuse_while_locked()
        if any(isinstance(slot, Slot) and slot.running for slot in self.kdamonds.items):
            raise fail(errno.EBUSY)
