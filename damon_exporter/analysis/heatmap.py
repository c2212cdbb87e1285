"""Heat by address: the regions laid end to end, gaps left out, cut into bins of equal size."""

import numpy as np

from damon_exporter.analysis.snapshot import F64, U64


def bin_ratios(ratios: F64, sizes: U64, bins: int) -> tuple[F64, float]:
    """Return the byte-weighted mean access ratio of every bin, shape (bins,), and the bytes that a bin covers.

    Regions come in ascending order. Laying them end to end compresses the gaps between them, so the bins
    depend only on how much is mapped, and a region that straddles an edge counts in both bins by its bytes.
    """
    ends = np.cumsum(sizes, dtype=np.float64)
    total = float(ends[-1]) if len(ends) else 0.0
    if total == 0.0:
        return np.zeros(bins), 0.0
    heat = np.cumsum(ratios * sizes)
    edges = np.linspace(0.0, total, bins + 1)
    at_edges = np.interp(edges, np.concatenate(([0.0], ends)), np.concatenate(([0.0], heat)))
    return np.clip(np.diff(at_edges) * (bins / total), 0.0, 1.0), total / bins
