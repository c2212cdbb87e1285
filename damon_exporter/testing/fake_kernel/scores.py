"""Which regions come first under a quota: damon_hot_score() and damon_cold_score()."""

import numpy as np
from numpy.typing import NDArray

from damon_exporter.testing.fake_kernel.parameters import Attributes
from damon_exporter.testing.fake_kernel.scheme_parameters import Quota
from damon_exporter.testing.fake_kernel.targets import MonitoredTarget

LARGEST_SCORE = 99
LARGEST_SUBSCORE = 100
LARGEST_AGE_LOG = 32
Scores = NDArray[np.int64]


def alike(target: MonitoredTarget) -> Scores:
    """For actions that have no idea of what comes first: regions are taken in the order of their addresses."""
    return np.full(len(target), LARGEST_SCORE, np.int64)


def hot_scores(target: MonitoredTarget, quota: Quota, attributes: Attributes) -> Scores:
    """0 to 99 for each region, by its accesses and, in powers of two seconds, by how long it has been so."""
    often = target.nr_accesses.astype(np.int64) * LARGEST_SUBSCORE // attributes.samples_per_aggregation
    age_seconds = target.age.astype(np.int64) * attributes.aggr_us // 1_000_000
    log = np.minimum(np.frexp(age_seconds)[1].astype(np.int64), LARGEST_AGE_LOG)  # ilog2() + 1, and 0 of 0
    log = np.where(often == 0, -log, log) + LARGEST_AGE_LOG
    long = log * LARGEST_SUBSCORE // LARGEST_AGE_LOG // 2
    heat = quota.nr_accesses_weight * often + quota.age_weight * long
    heat //= max(quota.nr_accesses_weight + quota.age_weight, 1)
    score: Scores = np.clip(heat * LARGEST_SCORE // LARGEST_SUBSCORE, 0, LARGEST_SCORE)
    return score


def cold_scores(target: MonitoredTarget, quota: Quota, attributes: Attributes) -> Scores:
    """The other way round."""
    return LARGEST_SCORE - hot_scores(target, quota, attributes)


def least_score(scores: Scores, sizes: NDArray[np.uint64], enough: int) -> int:
    """The score from which on regions together are as large as the quota, counted from the highest; 0 if never."""
    found = 0
    for score in range(int(scores.max(initial=0)), 0, -1):
        found += int(sizes[scores == score].sum())
        if found >= enough:
            return score
    return 0
