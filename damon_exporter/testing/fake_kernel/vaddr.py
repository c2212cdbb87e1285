"""Actions on the memory of processes: damon_va_apply_scheme(), for vaddr and fvaddr alike."""

from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.filters import Pages, default_reject, lets_through
from damon_exporter.testing.fake_kernel.operations import NOTHING, Action, Outcome
from damon_exporter.testing.fake_kernel.procfs import Process
from damon_exporter.testing.fake_kernel.ranges import bytes_of, within
from damon_exporter.testing.fake_kernel.scheme_parameters import Scheme
from damon_exporter.testing.fake_kernel.targets import MonitoredTarget, Region

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel

ADVICE = frozenset({"willneed", "cold", "pageout", "hugepage", "nohugepage", "collapse"})
HOME_NODE = 0  # where the fake's processes have all their pages


class VirtualMemory:
    """Most actions are madvise(2), which ignores all ops filters and counts whole regions, resident or not."""

    scored = frozenset({"pageout", "migrate_hot", "migrate_cold"})

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self._migrates = kernel.profile.since("6.17")
        self._stat_looks = kernel.profile.since("6.18")

    def action(self, scheme: Scheme) -> Action | None:
        """``stat`` looks at pages since 6.18, and for ops filters only; there is migration since 6.17."""
        if scheme.action in ADVICE:
            return Advice(self._kernel, scheme.action)
        if scheme.action == "stat" and self._stat_looks and scheme.ops_filters:
            return PageStat(self._kernel, scheme)
        if scheme.action.startswith("migrate") and self._migrates:
            return Migration(self._kernel, scheme)
        return None


class Advice:
    """damos_madvise(): what it is applied to is the whole region, or nothing where some of it is not mapped."""

    def __init__(self, kernel: "Kernel", action: str) -> None:
        self._kernel = kernel
        self._action = action

    def apply(self, target: MonitoredTarget, region: Region, *, is_allowed: bool) -> Outcome:
        """What is paged out while it is accessed is back at once."""
        process = self._kernel.processes.get(target.target.pid)
        if process is None or bytes_of(within(process.mapped, region.start, region.end)) != region.size:
            return NOTHING
        if self._action == "pageout" and not region.accessed:
            process.page_out(region.start, region.end)
        return Outcome(applied=region.size)


class PageStat:
    """damos_va_stat(): only counts what ops filters let through."""

    def __init__(self, kernel: "Kernel", scheme: Scheme) -> None:
        self._kernel = kernel
        self._scheme = scheme

    def apply(self, target: MonitoredTarget, region: Region, *, is_allowed: bool) -> Outcome:
        """Count the pages of a region."""
        return Outcome(passed=self.passing(target, region, is_allowed=is_allowed))

    def passing(self, target: MonitoredTarget, region: Region, *, is_allowed: bool) -> int:
        """The resident bytes that ops filters let through."""
        process = self._kernel.processes.get(target.target.pid)
        if process is None or not (is_allowed or self._lets_through(process, region)):
            return 0
        return bytes_of(within(process.resident, region.start, region.end))

    def _lets_through(self, process: Process, region: Region) -> bool:
        """All pages of a process are anonymous, and its cgroup's."""
        cgroup = self._kernel.cgroups.find(process.cgroup)
        pages = Pages(region.start, region.end, anon=True, young=region.accessed, cgroup=cgroup)
        filters = self._scheme.ops_filters
        return lets_through(filters, pages, rejects_rest=default_reject(filters))


class Migration(PageStat):
    """damos_va_migrate(): does not tell what filters let through. Here pages stay where they are."""

    def apply(self, target: MonitoredTarget, region: Region, *, is_allowed: bool) -> Outcome:
        """Nothing is moved to a node that is not there, nor to where it is."""
        node = self._scheme.target_nid
        if node == HOME_NODE or not self._kernel.has_node(node):
            return NOTHING
        return Outcome(applied=self.passing(target, region, is_allowed=is_allowed))
