"""Working set, as damo defines it: the bytes that were seen accessed in an aggregation interval."""

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.bands import I64, Groups, sum_bytes
from damon_exporter.analysis.snapshot import Regions


def working_set(regions: Regions, group: Groups, groups: int) -> I64:
    """Return the bytes of all regions of which at least one sample found an access, by group."""
    return sum_bytes(regions.sizes * (regions.nr_accesses > 0), group, groups)


def working_set_of_all(regions: Regions) -> int:
    """Return the bytes of all regions of which at least one sample found an access."""
    return int(working_set(regions, np.zeros(len(regions), np.intp), 1)[0])


def percentile_bytes(working_sets: NDArray[np.int64] | NDArray[np.uint64], percentile: float) -> int:
    """Return a percentile over time of working sets, as `damo report wss` picks it: nothing is interpolated.

    ``working_sets`` are ascending, one per snapshot, in bytes, and at least one. (Of several targets together
    damo reports the sum of their percentiles: it sorts each target's working sets before it adds them up.)
    """
    rank = int(percentile / 100.0 * len(working_sets))
    return int(working_sets[min(rank, len(working_sets) - 1)])
