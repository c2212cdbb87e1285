"""Kdamonds as the supervisor tells of them."""

from dataclasses import replace

from made_regions import INTERVALS

from damon_exporter.roster import Watched, listed

NODE = Watched(
    name="node",
    operations="paddr",
    owner="exporter",
    pid=7,
    targets=None,
    intervals=INTERVALS,
    max_nr_accesses=20,
    tuned=False,
    refreshed=False,
    reporting=True,
)
"""A monitor of physical memory, of our own."""

DATABASES = replace(
    NODE,
    name="databases",
    operations="vaddr",
    targets=listed("postgres", "redis", "postgres"),
    intervals=None,
    max_nr_accesses=None,
)
"""One of three processes in two groups."""
