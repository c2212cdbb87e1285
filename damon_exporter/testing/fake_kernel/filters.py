"""Which regions and pages the filters of a scheme let through. In a list the first one that matches decides.

Before 6.14 filters had no ``allow``; as ``N`` it means the same: what any of them matches is rejected.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damon_exporter.testing.fake_kernel.cgroups import Cgroup
from damon_exporter.testing.fake_kernel.memory import PAGE
from damon_exporter.testing.fake_kernel.scheme_parameters import Filter, Scheme
from damon_exporter.testing.fake_kernel.targets import MonitoredTarget

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pages:
    """A run of pages that are alike. ``young`` is whether they are accessed; such pages are the active ones."""

    start: int
    end: int
    anon: bool
    young: bool
    cgroup: Cgroup | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of each region of a target: whether it is rejected; whether it was allowed, so that ops filters are skipped."""

    rejected: Mask
    allowed: Mask


def default_reject(filters: Sequence[Filter]) -> bool:
    """damos_filters_default_reject(): what no filter matches is treated as the last one does not treat it."""
    return bool(filters) and filters[-1].allow


def bounds(scheme: Scheme) -> list[int]:
    """Where damos_filter_match() cuts regions that lie across."""
    return sorted({address for each in scheme.core_filters if each.type == "addr" for address in whole_pages(each)})


def whole_pages(each: Filter) -> tuple[int, int]:
    """Bounds are rounded down to pages."""
    start, end = each.addresses
    return start // PAGE * PAGE, end // PAGE * PAGE


def judge(scheme: Scheme, index: int, target: MonitoredTarget) -> Verdict:
    """damos_core_filter_out(), for all regions of a target that have been cut at bounds.

    Where there are ops filters, they and not the last core filter decide about what no core filter matches.
    """
    undecided = np.ones(len(target), np.bool_)
    allowed = np.zeros(len(target), np.bool_)
    for each in scheme.core_filters:
        hit = undecided & (_applies(each, index, target) == each.matching)
        allowed |= hit & each.allow
        undecided &= ~hit
    rejects_rest = not scheme.ops_filters and default_reject(scheme.core_filters)
    return Verdict(~allowed & ~undecided | undecided & rejects_rest, allowed)


def _applies(each: Filter, index: int, target: MonitoredTarget) -> Mask:
    if each.type == "target":
        return np.full(len(target), each.target == index)
    start, end = whole_pages(each)
    return (np.uint64(start) <= target.start) & (target.end <= np.uint64(end))


def lets_through(filters: Sequence[Filter], pages: Pages, *, rejects_rest: bool) -> bool:
    """damos_pa_filter_out() and damos_va_filter_out(), the other way round."""
    for each in filters:
        if _is_such(pages, each) == each.matching:
            return each.allow
    return not rejects_rest


def _is_such(pages: Pages, each: Filter) -> bool:
    """damos_folio_filter_match(): pages here are small and mapped. It says no to types of core filters."""
    match each.type:
        case "anon":
            return pages.anon
        case "memcg":
            return pages.cgroup is not None and pages.cgroup is each.cgroup
        case "young" | "active":
            return pages.young
        case "hugepage_size":
            return each.sizes[0] <= PAGE <= each.sizes[1]
    return False
