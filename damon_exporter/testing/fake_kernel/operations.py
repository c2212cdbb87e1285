"""What sets of operations have in common: what an action did to a region, and which actions know what comes first."""

from typing import NamedTuple, Protocol

from damon_exporter.testing.fake_kernel.parameters import Attributes
from damon_exporter.testing.fake_kernel.scheme_parameters import Scheme
from damon_exporter.testing.fake_kernel.scores import Scores, alike, cold_scores, hot_scores
from damon_exporter.testing.fake_kernel.targets import MonitoredTarget, Region


class Outcome(NamedTuple):
    """Bytes that an action was applied to, and bytes that the ops filters let through."""

    applied: int = 0
    passed: int = 0


NOTHING = Outcome()


class Action(Protocol):
    """The action of a scheme, ready to be applied."""

    def apply(self, target: MonitoredTarget, region: Region, *, is_allowed: bool) -> Outcome:
        """apply_scheme(). ``is_allowed``: a core filter has let the region through, and ops filters are skipped."""


class Operations(Protocol):
    """vaddr, fvaddr or paddr. Any action may be asked of any of them; what one cannot do is tried in vain."""

    scored: frozenset[str]
    """The actions that take the hottest or the coldest regions first."""

    def action(self, scheme: Scheme) -> Action | None:
        """What a scheme does to regions; None if it neither does anything nor looks at pages."""


def scores(operations: Operations, scheme: Scheme, target: MonitoredTarget, attributes: Attributes) -> Scores:
    """get_scheme_score() of all regions of a target."""
    if scheme.action not in operations.scored:
        return alike(target)
    is_for_hot = scheme.action in ("lru_prio", "migrate_hot")
    return (hot_scores if is_for_hot else cold_scores)(target, scheme.quota, attributes)
