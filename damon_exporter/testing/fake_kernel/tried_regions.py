"""schemes/S/tried_regions: what one application of every scheme tried, until it is cleared or asked for again."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.staged import items
from damon_exporter.testing.fake_kernel.tree import Directory
from damon_exporter.testing.fake_kernel.values import Result
from damon_exporter.testing.fake_kernel.walks import TriedRegion

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.slot import Slot


def clear(context: Directory) -> None:
    """Drop the results of all schemes."""
    for scheme in items(context, "schemes"):
        folder = scheme.get("tried_regions", Directory)
        for name in [name for name in folder.children if name != "total_bytes"]:
            folder.remove(name)
        folder.get("total_bytes", Result).value = 0


def populate(slot: "Slot", regions: Sequence[TriedRegion], *, with_regions: bool, numbered_per_scheme: bool) -> None:
    """Show regions. Before 6.14 one counter numbers the folders of all schemes; since then each scheme has its own."""
    schemes = items(slot.staged, "schemes")
    shared = itertools.count()
    numbers = [itertools.count() if numbered_per_scheme else shared for _ in schemes]
    for tried in regions:
        if tried.scheme >= len(schemes):
            continue
        folder = schemes[tried.scheme].get("tried_regions", Directory)
        region = tried.region
        folder.get("total_bytes", Result).value += region.size
        if with_regions:
            folder.add(
                str(next(numbers[tried.scheme])),
                slot.sysfs.layout.schemes.tried_region(
                    region.start, region.end, region.nr_accesses, region.age, tried.passed
                ),
            )
