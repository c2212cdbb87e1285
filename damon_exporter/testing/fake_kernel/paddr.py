"""Actions on physical memory: damon_pa_apply_scheme()."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.filters import Pages, default_reject, lets_through
from damon_exporter.testing.fake_kernel.operations import Action, Outcome
from damon_exporter.testing.fake_kernel.scheme_parameters import Filter, Scheme
from damon_exporter.testing.fake_kernel.targets import MonitoredTarget, Region

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel

NOT_YOUNG = Filter("young", matching=True)
"""damon_pa_pageout() adds this to filters of which none is about young pages."""
Act = Callable[[Sequence[Pages]], int]
"""Does something to pages, and returns to how many bytes of them."""


class PhysicalMemory:
    """Everything is done to pages of the LRU lists alone; the page owners know which those are."""

    scored = frozenset({"pageout", "lru_prio", "lru_deprio", "migrate_hot", "migrate_cold"})

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self._has_lists = kernel.profile.since("6.14")

    def action(self, scheme: Scheme) -> Action | None:
        """``stat`` looks at pages since 6.14, and for ops filters only."""
        if scheme.action == "stat" and self._has_lists and scheme.ops_filters:
            return PhysicalAction(self._kernel, scheme, scheme.ops_filters, nothing)
        if scheme.action in self.scored:
            return PhysicalAction(self._kernel, scheme, self._filters(scheme), self._act(scheme))
        return None

    def _filters(self, scheme: Scheme) -> Sequence[Filter]:
        """With one list for both kinds, 6.12 takes core filters that do not match for matches of its own."""
        filters = scheme.ops_filters if self._has_lists else scheme.filters
        if scheme.action == "pageout" and not any(each.type == "young" for each in filters):
            return *filters, NOT_YOUNG
        return filters

    def _act(self, scheme: Scheme) -> Act:
        if scheme.action == "pageout":
            return self._page_out
        if scheme.action.startswith("migrate"):
            return lambda pages: self._migrate(pages, scheme.target_nid)
        return size_of

    def _page_out(self, pages: Sequence[Pages]) -> int:
        """damon_pa_pageout(). Whatever it is, it is written and gone at once."""
        self._kernel.page_owners.page_out([(run.start, run.end) for run in pages])
        return size_of(pages)

    def _migrate(self, pages: Sequence[Pages], node: int) -> int:
        """damon_migrate_pages(): nothing if there is no such node with memory. Here the pages stay where they are."""
        if not self._kernel.has_node(node):
            return 0
        return size_of([run for run in pages if self._kernel.node_of(run.start) != node])


class PhysicalAction:
    """One action and the filters of the pages that it is for."""

    def __init__(self, kernel: "Kernel", scheme: Scheme, filters: Sequence[Filter], act: Act) -> None:
        self._kernel = kernel
        self._filters = filters
        self._rejects_rest = default_reject(scheme.ops_filters)
        self._act = act

    def apply(self, target: MonitoredTarget, region: Region, *, is_allowed: bool) -> Outcome:
        """Act on the pages of a region that the filters let through."""
        pages = [
            run
            for run in self._kernel.page_owners.lru_pages(region.start, region.end, young=region.accessed)
            if is_allowed or lets_through(self._filters, run, rejects_rest=self._rejects_rest)
        ]
        return Outcome(self._act(pages), size_of(pages))


def size_of(pages: Sequence[Pages]) -> int:
    """Bytes; what an action comes to that changes nothing here but is applied to all."""
    return sum(run.end - run.start for run in pages)


def nothing(pages: Sequence[Pages]) -> int:
    """What ``stat`` does."""
    return 0
