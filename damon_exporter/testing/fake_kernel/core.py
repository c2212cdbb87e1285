"""Who may monitor beside whom: damon_start()."""

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.kdamond import Kdamond
from damon_exporter.testing.fake_kernel.parameters import Context
from damon_exporter.testing.fake_kernel.schemes import AppliedScheme
from damon_exporter.testing.fake_kernel.tree import fail

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel


class Core:
    """All kdamonds that run, those of sysfs and those of the modules."""

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self._started: list[Kdamond] = []
        self._exclusive = False

    @property
    def running(self) -> list[Kdamond]:
        """Those that have not ended."""
        self._started = [kdamond for kdamond in self._started if kdamond.alive]
        return self._started

    def start(self, context: Context, *, exclusive: bool, kept: Sequence[AppliedScheme] = ()) -> Kdamond:
        """Start a kdamond. ``kept`` are schemes that go on in it.

        A module's (``exclusive``) runs alone: it is refused with EBUSY while any runs, and all others while it runs.
        Kdamonds of sysfs run side by side.
        """
        running = self.running
        if running and (exclusive or self._exclusive):
            raise fail(errno.EBUSY)
        kdamond = Kdamond(self._kernel, context, f"kdamond.{len(running)}", kept)
        kdamond.start()
        self._exclusive = exclusive
        self._started.append(kdamond)
        return kdamond
