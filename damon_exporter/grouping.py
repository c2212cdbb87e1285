"""Whose regions are whose: from a kdamond's list of targets to the groups that numbers are told of."""

from typing import NamedTuple

import numpy as np

from damon_exporter.analysis.bands import Groups
from damon_exporter.analysis.snapshot import Regions
from damon_exporter.kernel.plan import STARTER
from damon_exporter.roster import PHYSICAL, Watched


class Grouping(NamedTuple):
    """The regions that are to be told of, and for each the position of its target among ``names``."""

    names: tuple[str, ...]
    regions: Regions
    group: Groups


def grouping(kdamond: Watched, regions: Regions, end_ns: int) -> Grouping:
    """Group the regions of an aggregation that ended at ``end_ns`` (CLOCK_MONOTONIC).

    Indexes that share a name are one target; regions of an index that its owner did not tell us of are named by it. A
    target without regions is among the names all the same. Regions of processes that have left, and of an index that
    belonged to another process then, are left out.
    """
    if kdamond.operations == "paddr":
        return Grouping((PHYSICAL,), regions, np.zeros(len(regions), np.intp))
    regions = _told(kdamond, regions, end_ns)
    known = kdamond.targets or ()
    indexes, index_of_region = np.unique(regions.target, return_inverse=True)
    present = [(i < len(known) and known[i].name) or f"target{i}" for i in indexes.tolist()]
    position = {name: place for place, name in enumerate(dict.fromkeys((*kdamond.names, *present)))}
    place_of_index = np.asarray([position[name] for name in present], np.intp)
    return Grouping(tuple(position), regions, place_of_index[index_of_region])


def _told(kdamond: Watched, regions: Regions, end_ns: int) -> Regions:
    """Leave out what is of nobody, or was of somebody else when the aggregation ended."""
    known = kdamond.targets or ()
    silent = [i for i, target in enumerate(known) if target.name is None or end_ns < target.since_ns]
    left_out = np.isin(regions.target, np.array(silent, np.uint32))
    if kdamond.owner == "exporter":  # an index beyond the list is one that we have just added
        left_out |= regions.target >= len(known)
        if kdamond.operations == "vaddr":
            left_out |= regions.end <= STARTER[1]
    return regions.only(~left_out) if left_out.any() else regions
