"""What the schemes of a monitor of ours did, as its slot's files show."""

import logging
from concurrent.futures import Future

from damon_exporter.hold import Hold
from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.plan import KdamondPlan
from damon_exporter.kernel.scheme_stats import shown_schemes
from damon_exporter.roster import WatchedScheme

log = logging.getLogger(__name__)


class OwnSchemes:
    """Reads one slot. Where the kernel does not refresh its files, it is asked to, and read at the look after that.

    ``schemes`` are as of the last look; None while somebody has other schemes in their place.
    """

    def __init__(self) -> None:
        self.schemes: tuple[WatchedScheme, ...] | None = ()
        self._asked: Future[None] | None = None

    def begin(self) -> None:
        """A kdamond has just been started or adopted: nothing is known of its schemes."""
        self.schemes, self._asked = (), None

    def carry_on(self, before: "OwnSchemes", plan: KdamondPlan) -> None:
        """The kdamond goes on with this plan: of schemes that stay where they are, what was known before stands."""
        stay = {(i, scheme.name, scheme.action) for i, scheme in enumerate(plan.schemes, 1)}
        known = before.schemes or ()
        self.schemes = tuple(one for one in known if (one.shown.index, one.label, one.shown.action) in stay)

    def distrust(self) -> None:
        """Somebody may have other schemes in their place."""
        if self.schemes:
            self.schemes = None

    def look(self, hold: Hold, pid: int, plan: KdamondPlan) -> None:
        """Read what is shown, if that is of now; the files must be those of ``plan``."""
        if not plan.schemes:
            self.schemes = ()
            return
        try:
            if plan.refresh_ms or self._has_been_answered():
                self.schemes = _named(hold, plan)
            if not plan.refresh_ms and self._asked is None:
                self._asked = hold.claim.update_schemes(hold.slot, pid, plan)
        except KernelError as problem:
            log.debug("what was last known of schemes stands: %s", problem)

    def _has_been_answered(self) -> bool:
        """Has the kernel brought the files up to date since the last look? Raises `KernelError` if it refused."""
        if self._asked is None or not self._asked.done():
            return False
        asked, self._asked = self._asked, None
        asked.result()
        return True


def _named(hold: Hold, plan: KdamondPlan) -> tuple[WatchedScheme, ...]:
    """Return our schemes under their names: scheme 0 is not one of them, nor are those by which regions are read."""
    shown = shown_schemes(hold.slot)
    return tuple(WatchedScheme(scheme.name, found) for scheme, found in zip(plan.schemes, shown[1:], strict=False))
