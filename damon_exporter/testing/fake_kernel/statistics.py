"""What damon_stat tells: ``estimated_memory_bandwidth``, ``memory_idle_ms_percentiles`` and ``aggr_interval_us``."""

import numpy as np

from damon_exporter.testing.fake_kernel.kdamond import Kdamond
from damon_exporter.testing.fake_kernel.tree import File, Node
from damon_exporter.testing.fake_kernel.values import Result

PERCENTILES = 101


class Statistics:
    """Zero until the first refresh, and stale after the module was turned off."""

    def __init__(self) -> None:
        self._aggr_us = Result()
        self._bandwidth = Result()
        self._idle_ms = [0] * PERCENTILES

    def files(self) -> dict[str, Node]:
        """The parameters."""
        return {
            "aggr_interval_us": self._aggr_us,
            "estimated_memory_bandwidth": self._bandwidth,
            "memory_idle_ms_percentiles": File(lambda: ",".join(map(str, self._idle_ms)) + "\n", mode=0o400),
        }

    def refresh(self, kdamond: Kdamond) -> None:
        """Summarise the regions as they are now. The real one takes the accesses of a window that is not over yet."""
        aggr_us = kdamond.attributes.aggr_us
        sizes = np.concatenate([target.sizes for target in kdamond.targets]).astype(np.float64)
        accesses = np.concatenate([target.nr_accesses for target in kdamond.targets]).astype(np.float64)
        ages = np.concatenate([target.age for target in kdamond.targets]).astype(np.int64)
        self._aggr_us.value = aggr_us
        self._bandwidth.value = int((sizes * accesses).sum() * 1_000_000 / aggr_us)
        idle_ms = np.where(accesses > 0, -1, 1) * (ages + 1) * aggr_us // 1000
        order = np.argsort(idle_ms, kind="stable")
        reached = np.cumsum(sizes[order]) / sizes.sum()
        wanted = np.searchsorted(reached, np.arange(PERCENTILES) / (PERCENTILES - 1) - 1e-12)
        self._idle_ms = [int(value) for value in idle_ms[order][np.clip(wanted, 0, len(order) - 1)]]
