"""The running sums of one target, and what is published of them."""

import time
from bisect import bisect_left

import numpy as np

from damon_exporter.analysis import workingset
from damon_exporter.analysis.bands import I64
from damon_exporter.analysis.snapshot import F64
from damon_exporter.analysis.window import SlidingWindow
from damon_exporter.config import Export
from damon_exporter.state import Band, Heatmap, Histogram

WORKING_SET_BOUNDS = tuple(float(2**20 * 4**n) for n in range(13))
"""1 MiB · 4ⁿ up to 16 TiB, alike on every node so that fleets can be summed."""


class Row:
    """Counts snapshots, and integrates over the time that they cover.

    ``counting_since`` (Unix time, s) is when one of its counters last began at 0. It is read once, from the clock: made
    from the monotonic time of a snapshot it would differ a little at every publication.
    """

    def __init__(self, settings: Export, bins: int) -> None:
        self._bands = tuple(name for name, _ in settings.bands)
        bounds = [-1.0, *(bound for _, bound in settings.bands)]
        self._spans = tuple(zip(self._bands, bounds[:-1], bounds[1:], strict=True))
        self._percentiles = settings.working_set.percentiles
        self._band_byte_seconds: F64 = np.zeros(len(settings.bands))
        self._bin_seconds: F64 = np.zeros(bins)
        self._distribution = [0] * (len(WORKING_SET_BOUNDS) + 1)
        self._distribution_sum = 0
        self._idle_bounds = settings.idle_age
        self._woken: I64 = np.zeros(len(settings.idle_age) + 1, np.int64)
        self._woken_sum = 0.0
        self._window = SlidingWindow(int(settings.working_set.window * 1e9))
        self.counting_since = time.time()
        self.observed_seconds = 0.0
        self.snapshots = 0
        self.estimated_access_bytes = 0.0

    def under(self, settings: Export, bins: int) -> "Row":
        """Return it under other settings: counters go on, but for those of bands, bins and ages that are others now."""
        row = Row(settings, bins)
        row._distribution, row._distribution_sum = self._distribution, self._distribution_sum
        row._window = self._window.resized(int(settings.working_set.window * 1e9))
        row.observed_seconds, row.snapshots = self.observed_seconds, self.snapshots
        row.estimated_access_bytes = self.estimated_access_bytes
        known = dict(zip(self._spans, self._band_byte_seconds.tolist(), strict=True))
        row._band_byte_seconds = np.array([known.get(span, 0.0) for span in row._spans])
        same_bins, same_ages = bins == len(self._bin_seconds), row._idle_bounds == self._idle_bounds
        if same_bins:
            row._bin_seconds = self._bin_seconds
        if same_ages:
            row._woken, row._woken_sum = self._woken, self._woken_sum
        if same_bins and same_ages and set(row._spans) <= set(self._spans):
            row.counting_since = self.counting_since
        return row

    def count(self, end_ns: int, working_set: int, accessed_bytes: float) -> None:
        """Take in one snapshot, which ended at ``end_ns``."""
        self.snapshots += 1
        self.estimated_access_bytes += accessed_bytes
        self._distribution[bisect_left(WORKING_SET_BOUNDS, working_set)] += 1
        self._distribution_sum += working_set
        self._window.append(end_ns, working_set)

    def integrate(self, seconds: float, band_bytes: I64, bin_ratios: F64 | None) -> None:
        """Add what held for so long: bytes by band, and the mean access ratio of every bin of the heatmap."""
        self.observed_seconds += seconds
        self._band_byte_seconds += band_bytes * seconds
        if bin_ratios is not None:
            self._bin_seconds += bin_ratios * seconds

    def wake(self, bytes_by_age: I64, byte_seconds: float) -> None:
        """Add bytes that were accessed again, by the bounds of idle age, and the sum of their idle ages."""
        self._woken = self._woken + bytes_by_age
        self._woken_sum += byte_seconds

    def percentiles(self, now_ns: int) -> dict[str, int]:
        """Return the percentiles of the working sets in the window that ends now; empty if there is none in it."""
        values = np.sort(self._window.values(now_ns))
        if not len(values):
            return {}
        return {str(p): workingset.percentile_bytes(values, p) for p in self._percentiles}

    def distribution(self) -> Histogram:
        """Return the distribution of working sets, one observation per snapshot."""
        return Histogram(WORKING_SET_BOUNDS, tuple(self._distribution), self._distribution_sum)

    def woken(self) -> Histogram:
        """Return the bytes that were accessed again, by the idle age that they had."""
        return Histogram(self._idle_bounds, tuple(self._woken.tolist()), self._woken_sum)

    def bands(self, band_bytes: I64) -> tuple[Band, ...]:
        """Return every band with its bytes in the last snapshot."""
        columns = zip(self._bands, band_bytes.tolist(), self._band_byte_seconds.tolist(), strict=True)
        return tuple(Band(name, size, byte_seconds) for name, size, byte_seconds in columns)

    def heatmap(self, monitored_bytes: int) -> Heatmap | None:
        """Return the heatmap, None if there is none."""
        bins = len(self._bin_seconds)
        return Heatmap(tuple(self._bin_seconds.tolist()), monitored_bytes / bins) if bins else None
