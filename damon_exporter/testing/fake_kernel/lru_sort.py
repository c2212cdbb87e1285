"""damon_lru_sort: moves hot pages to the front of the LRU lists, and cold ones to the end."""

import errno
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.memory import Range
from damon_exporter.testing.fake_kernel.module_parameters import (
    ANY_SIZE,
    attributes,
    common_settings,
    monitored,
    setting,
    watermarks,
)
from damon_exporter.testing.fake_kernel.parameters import Context
from damon_exporter.testing.fake_kernel.scheme_parameters import UINT, Filter, Goal, Quota, Scheme
from damon_exporter.testing.fake_kernel.tree import fail
from damon_exporter.testing.fake_kernel.values import Flag, Number

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel

FULL = 10_000  # basis points
HEATS = ("hot", "cold")
COUNTERS = {
    "nr_lru_sort_tried_{}_regions": "nr_tried",
    "bytes_lru_sort_tried_{}_regions": "sz_tried",
    "nr_lru_sorted_{}_regions": "nr_applied",
    "bytes_lru_sorted_{}_regions": "sz_applied",
    "nr_{}_quota_exceeds": "qt_exceeds",
}


class LruSort:
    """Its two schemes, that for hot and that for cold memory."""

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self.counters = {
            parameter.format(heat): (scheme, counter)
            for scheme, heat in enumerate(HEATS)
            for parameter, counter in COUNTERS.items()
        }
        self.settings = common_settings(
            kernel,
            hot_thres_access_freq=500,
            cold_min_age=120_000_000,
            wmarks_high=200,
            wmarks_mid=150,
            wmarks_low=50,
        )
        if kernel.profile.since("7.0"):
            self.settings |= {"active_mem_bp": Number(), "filter_young_pages": Flag()}

    def context(self) -> Context:
        """damon_lru_sort_apply_parameters()."""
        wanted, target = attributes(self.settings), monitored(self._kernel, self.settings)
        active_bp = self._get("active_mem_bp")
        if active_bp > FULL:
            raise fail(errno.EINVAL)
        often = wanted.samples_per_aggregation * self._get("hot_thres_access_freq") // 1000 & UINT
        long = self._get("cold_min_age") // wanted.aggr_us & UINT
        hot = self._scheme("lru_prio", (often, UINT), (0, UINT), Goal("active_mem_bp", active_bp))
        inactive_bp = FULL - active_bp + 2  # the two are to disagree a little
        cold = self._scheme("lru_deprio", (0, 0), (long, UINT), Goal("inactive_mem_bp", inactive_bp))
        return Context("paddr", wanted, (target,), (hot, cold))

    def _scheme(self, action: str, nr_accesses: Range, age: Range, goal: Goal) -> Scheme:
        """Each has half of the time."""
        quota = Quota(
            ms=self._get("quota_ms") // 2,
            reset_ms=self._get("quota_reset_interval_ms"),
            goals=(goal,) if self._get("active_mem_bp") else (),
            nr_accesses_weight=1,
            age_weight=1,
        )
        no_others = Filter("young", matching=action == "lru_deprio")
        return Scheme(
            action,
            size=ANY_SIZE,
            nr_accesses=nr_accesses,
            age=age,
            watermarks=watermarks(self.settings),
            quota=quota,
            filters=(no_others,) if self._get("filter_young_pages") else (),
        )

    def _get(self, name: str) -> int:
        return setting(self.settings, name)
