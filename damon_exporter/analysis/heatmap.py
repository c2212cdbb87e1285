"""Heat by address: the regions of a target laid end to end, gaps left out, cut into bins of equal size."""

import numpy as np

from damon_exporter.analysis.bands import Groups
from damon_exporter.analysis.snapshot import F64, U64


def bin_ratios(ratios: F64, sizes: U64, group: Groups, groups: int, bins: int) -> F64:
    """Return the byte-weighted mean access ratio of every bin of every group, shape (groups, bins).

    Regions come in ascending order. Laying them end to end compresses the gaps between them, so a group's bins
    depend only on how much is mapped, and a region that straddles an edge counts in both bins by its bytes.
    """
    totals = np.bincount(group, weights=sizes, minlength=groups)
    order = np.argsort(group, kind="stable")  # one line for all groups, one group behind the other
    ends = np.concatenate(([0.0], np.cumsum(sizes[order], dtype=np.float64)))
    heat = np.concatenate(([0.0], np.cumsum((ratios * sizes)[order])))
    starts = np.cumsum(totals) - totals
    edges = starts[:, np.newaxis] + totals[:, np.newaxis] * np.linspace(0.0, 1.0, bins + 1)
    of_bins: F64 = np.diff(np.interp(edges, ends, heat), axis=1)
    return np.clip(of_bins * (bins / np.maximum(totals, 1.0))[:, np.newaxis], 0.0, 1.0)
