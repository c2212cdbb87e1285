"""Bytes by how often they were accessed: one table, from which bands, working set and bandwidth follow."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.snapshot import F64, U64, Intervals, Regions

I64 = NDArray[np.int64]
Groups = NDArray[np.intp]


def sum_bytes(sizes: U64, key: Groups, keys: int) -> I64:
    """Sum bytes by key, shape (keys,). Exact up to 2^53 bytes (8 PiB): the sums run in double precision."""
    return np.bincount(key, weights=sizes, minlength=keys).astype(np.int64)


def bytes_by_count(regions: Regions, group: Groups, groups: int, max_nr_accesses: int) -> I64:
    """Return bytes by group and nr_accesses, shape (groups, N + 1), wider if a count exceeds N.

    A commit that shortens the intervals can leave counts above the new maximum for one snapshot.
    """
    counts = regions.nr_accesses
    width = max(max_nr_accesses, int(counts.max(initial=0))) + 1
    return sum_bytes(regions.sizes, group * width + counts, groups * width).reshape(groups, width)


def band_bytes(table: I64, bounds: Sequence[float], max_nr_accesses: int) -> I64:
    """Return bytes by group and band, shape (groups, len(bounds)); they sum to all bytes exactly.

    ``bounds`` are inclusive upper access ratios in ascending order, the last of which is 1.
    """
    ratios = np.arange(max_nr_accesses + 1) / max_nr_accesses
    last_count = np.searchsorted(ratios, bounds, side="right") - 1
    last_count[-1] = table.shape[1] - 1
    return np.diff(np.cumsum(table, axis=1)[:, last_count], axis=1, prepend=0)


def working_set(table: I64) -> I64:
    """Return the bytes with at least one access, by group: damo's definition of the working set."""
    return table[:, 1:].sum(axis=1)


def estimated_access_bytes(table: I64) -> F64:
    """Return Σ size · nr_accesses by group: every positive sample taken as one access of the whole region.

    The kernel's DAMON_STAT divides the same sum by the aggregation interval and calls it memory bandwidth.
    """
    accessed: F64 = table.astype(np.float64) @ np.arange(table.shape[1])
    return accessed


def access_ratios(regions: Regions, intervals: Intervals) -> F64:
    """Return nr_accesses over the most that one aggregation can count, 0…1, one per region."""
    most = intervals.max_nr_accesses
    return np.minimum(regions.nr_accesses, most) / most
