"""What a scheme with a quota may still try: its charge windows, and where the last one ended."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.goals import FULL, Measure, tuned_bp
from damon_exporter.testing.fake_kernel.memory import PAGE
from damon_exporter.testing.fake_kernel.scheme_parameters import UINT, ULONG, Quota

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.targets import MonitoredTarget

FOR_EVER = float("inf")
JIFFY = 0.004  # seconds; the kernel's passes come late by less than this, and never early as they may here
BYTES_PER_MS = PAGE * 1024
"""What the kernel expects before it has measured. Here no action ever takes more or less time."""


@dataclass
class Charging:
    """The kernel's part of ``struct damos_quota``; what the user set comes with each call.

    ``from_start``: since 6.18 the first window has a limit, before only the second one on. ``in_pages``: since 7.2 what
    is less than a page is nothing. ``effective`` is what ``effective_bytes`` shows. A window that is full ends at the
    address ``resume_at``, where the next one begins.
    """

    from_start: bool
    in_pages: bool
    effective: int = 0
    charged: int = 0
    least_score: int = 0
    resume_in: "MonitoredTarget | None" = None
    resume_at: int = 0
    _began: float | None = None
    _tuned_bp: int = 0

    @property
    def has_begun(self) -> bool:
        """Whether there was a window ever."""
        return self._began is not None

    def is_set(self, quota: Quota) -> bool:
        """damos_quota_is_set(): a quota that was taken away is in force until its window ends."""
        return bool(self.effective or quota.bytes or quota.ms or quota.goals)

    def limits(self, quota: Quota) -> bool:
        """Whether there is a limit now: before 7.2 an effective quota of 0 was none."""
        return self.is_set(quota) if self.in_pages else self.effective > 0

    def is_full(self, quota: Quota) -> bool:
        """damos_quota_is_full(). Before 7.2 one with less than a page left is not: regions of size 0 are tried."""
        return self.limits(quota) and self.effective - self.charged < (PAGE if self.in_pages else 1)

    @property
    def rest(self) -> int:
        """The bytes of whole pages that may still be tried."""
        return max(self.effective - self.charged, 0) // PAGE * PAGE

    def turn(self, quota: Quota, now: float, measure: Measure) -> bool:
        """damos_adjust_quota(): begin a new window if it is time; returns whether the one before was full."""
        if self._began is None:
            self._began = now
            if self.from_start:
                self._set_effective(quota, measure)
        if now - self._began < window_seconds(quota.reset_ms) - JIFFY:
            return False
        was_full = self.is_full(quota)
        self._began, self.charged = now, 0
        self._set_effective(quota, measure)
        return was_full

    def charge(self, quota: Quota, size: int, applied: int) -> None:
        """damos_charge_quota(): what was tried in vain may cost less, or more, since 7.2."""
        if not quota.fail_charge_denom or applied > size:
            self.charged += size
        else:
            self.charged += applied + (size - applied) * quota.fail_charge_num // quota.fail_charge_denom

    def _set_effective(self, quota: Quota, measure: Measure) -> None:
        """damos_set_effective_quota(): the least of all limits."""
        limits = [quota.bytes] if quota.bytes else []
        if quota.goals:
            self._tuned_bp = tuned_bp(quota, self._tuned_bp, measure)
            limits.append(self._tuned_bp // FULL)
        if quota.ms:
            limits.append(max(BYTES_PER_MS * quota.ms & ULONG, PAGE))
        self.effective = min(limits, default=0)


def window_seconds(reset_ms: int) -> float:
    """msecs_to_jiffies() takes 32 bits, and what is negative in them for infinite: 2^32 is 0, 2^31 no end."""
    kept = reset_ms & UINT
    return FOR_EVER if kept >> 31 else kept / 1000
