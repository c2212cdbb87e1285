"""Bytes by how often they were accessed: bands of access ratio, and the estimated bandwidth.

``group`` has, for each region, the position of the target that it belongs to among ``groups`` targets.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.snapshot import F64, U64, Intervals, Regions

I64 = NDArray[np.int64]
Groups = NDArray[np.intp]


def sum_bytes(sizes: U64, key: Groups, keys: int) -> I64:
    """Sum bytes by key, shape (keys,). Exact up to 2^53 bytes (8 PiB): the sums run in double precision."""
    return np.bincount(key, weights=sizes, minlength=keys).astype(np.int64)


def sum_table(sizes: U64, row: Groups, rows: int, column: Groups, columns: int) -> I64:
    """Sum bytes by two keys at once, shape (rows, columns)."""
    return sum_bytes(sizes, row * columns + column, rows * columns).reshape(rows, columns)


def access_ratios(regions: Regions, intervals: Intervals) -> F64:
    """Return nr_accesses over the most that one aggregation can count, 0…1, one per region.

    A commit that shortens the intervals can leave counts above the new maximum for one snapshot: they are 1.
    """
    most = float(intervals.max_nr_accesses)  # which may be more than nr_accesses has bits for
    return np.minimum(regions.nr_accesses / most, 1.0)


def band_indexes(ratios: F64, bounds: Sequence[float]) -> Groups:
    """Return for each ratio the index of its band; ``bounds`` are as in `band_bytes`."""
    return np.searchsorted(bounds, ratios, side="left")


def band_bytes(ratios: F64, sizes: U64, group: Groups, groups: int, bounds: Sequence[float]) -> I64:
    """Return bytes by group and band, shape (groups, len(bounds)); they sum to all bytes exactly.

    ``bounds`` are inclusive upper access ratios in ascending order, the last of which is 1.
    """
    return sum_table(sizes, group, groups, band_indexes(ratios, bounds), len(bounds))


def estimated_access_bytes(regions: Regions, group: Groups, groups: int) -> F64:
    """Return Σ size · nr_accesses by group: every positive sample taken as one access of the whole region.

    The kernel's DAMON_STAT divides the same sum by the aggregation interval and calls it memory bandwidth.
    """
    accessed = regions.sizes.astype(np.float64) * regions.nr_accesses
    return np.bincount(group, weights=accessed, minlength=groups).astype(np.float64)  # the counts if nothing is there
