"""damon_reclaim: pages out what was not accessed for long."""

from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.module_parameters import (
    ANY_SIZE,
    attributes,
    common_settings,
    monitored,
    setting,
    watermarks,
)
from damon_exporter.testing.fake_kernel.parameters import Attributes, Context
from damon_exporter.testing.fake_kernel.scheme_parameters import UINT, Filter, Goal, Quota, Scheme
from damon_exporter.testing.fake_kernel.values import Flag

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel

DEFAULT_ATTRIBUTES = Attributes(5_000, 100_000, 60_000_000, 10, 1000)
COUNTERS = {
    "nr_reclaim_tried_regions": "nr_tried",
    "bytes_reclaim_tried_regions": "sz_tried",
    "nr_reclaimed_regions": "nr_applied",
    "bytes_reclaimed_regions": "sz_applied",
    "nr_quota_exceeds": "qt_exceeds",
}


class Reclaim:
    """Its one scheme. In 6.12 it has none."""

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self.counters = {parameter: (0, counter) for parameter, counter in COUNTERS.items()}
        self.settings = common_settings(
            kernel,
            min_age=120_000_000,
            quota_sz=128 << 20,
            quota_mem_pressure_us=0,
            quota_autotune_feedback=0,
            wmarks_high=500,
            wmarks_mid=400,
            wmarks_low=200,
        )
        self.settings["skip_anon"] = Flag()

    def context(self) -> Context:
        """damon_reclaim_apply_parameters().

        That of 6.12.117 commits a context without schemes and with default intervals over the one that it has just
        set up: it monitors, never sleeps, and neither tries nor counts anything (seen in a guest).
        """
        wanted, target = attributes(self.settings), monitored(self._kernel, self.settings)
        if not self._kernel.profile.since("7.3"):
            return Context("paddr", DEFAULT_ATTRIBUTES, (target,), ())
        return Context("paddr", wanted, (target,), (self._scheme(wanted.aggr_us),))

    def _scheme(self, aggr_us: int) -> Scheme:
        return Scheme(
            "pageout",
            size=ANY_SIZE,
            nr_accesses=(0, 0),
            age=(self._get("min_age") // aggr_us & UINT, UINT),
            watermarks=watermarks(self.settings),
            quota=Quota(
                ms=self._get("quota_ms"),
                bytes=self._get("quota_sz"),
                reset_ms=self._get("quota_reset_interval_ms"),
                goals=self._goals(),
                age_weight=1,
            ),
            filters=(Filter("anon", matching=True),) if self._get("skip_anon") else (),
        )

    def _goals(self) -> tuple[Goal, ...]:
        pressure, feedback = self._get("quota_mem_pressure_us"), self._get("quota_autotune_feedback")
        goals = (Goal("some_mem_psi_us", pressure), Goal("user_input", 10_000, feedback))
        return tuple(goal for goal, wanted in zip(goals, (pressure, feedback), strict=True) if wanted)

    def _get(self, name: str) -> int:
        return setting(self.settings, name)
