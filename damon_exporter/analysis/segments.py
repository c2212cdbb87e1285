"""A snapshot cut so finely that all bytes of one piece have one idle age."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.bands import I64
from damon_exporter.analysis.idle import IdleAges, flatten
from damon_exporter.analysis.snapshot import U64, Regions


@dataclass(frozen=True, slots=True)
class Segments:
    """All bytes of a snapshot, cut so finely that those of one segment have one idle age (µs).

    Ascending, disjoint and none without size. ``region`` is the one that each lies in. Addresses are flattened.
    """

    start: U64
    end: U64
    region: NDArray[np.intp]
    idle_us: I64

    def __len__(self) -> int:
        return len(self.start)


def segments(ages: IdleAges, regions: Regions) -> Segments:
    """Return the regions without their patches, and the patches: together they cover every byte once."""
    start, end = flatten(regions) or (regions.start, regions.end)
    index = np.arange(len(regions))
    # What is left of a region begins at its start or behind a patch, and ends before a patch or at its end.
    begins = np.concatenate((start, ages.patches.end))
    stops = np.concatenate((ages.patches.start, end))
    of_begin = np.concatenate((index, ages.patch_region))
    of_stop = np.concatenate((ages.patch_region, index))
    begins, stops = begins[np.argsort(of_begin, kind="stable")], stops[np.argsort(of_stop, kind="stable")]
    left = np.flatnonzero(begins < stops)
    region = np.concatenate((np.sort(of_begin)[left], ages.patch_region))
    segment_start = np.concatenate((begins[left], ages.patches.start))
    order = np.argsort(segment_start, kind="stable")
    return Segments(
        segment_start[order],
        np.concatenate((stops[left], ages.patches.end))[order],
        region[order],
        np.concatenate((ages.region_us[region[: len(left)]], ages.patches.idle_us))[order],
    )
