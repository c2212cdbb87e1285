"""How long memory has been left alone, told alike on kernels that count it differently.

The kernel's ``age`` of a region says for how many aggregations its access frequency has not changed *much*.
Up to some version after 6.12 a change from one or two hits to none is not much, so a region that was touched a
little for ten minutes shows as idle for ten minutes the moment it stops. Newer kernels start its age again.
On any kernel a region that has just stopped can merge with one that was idle for long, and gets the mean of both ages.
Here, bytes that were accessed in the previous snapshot and are not now have been idle for one aggregation,
whatever their age says; that knowledge is carried on, by address, and told wherever the kernel's number is larger.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.bands import I64, Groups, sum_bytes, sum_table
from damon_exporter.analysis.snapshot import F64, U64, Regions

PIECES_PER_REGION = 4
"""How many pieces are remembered for every region before neighbours are merged, as the kernel merges regions."""

FEWEST_PIECES = 1024


@dataclass(frozen=True, slots=True)
class Pieces:
    """Disjoint address intervals in ascending order, each with the idle age (µs) of its bytes.

    Addresses are flattened (see `flatten`): those of all targets stand in one ascending line.
    """

    start: U64
    end: U64
    idle_us: I64

    def __len__(self) -> int:
        return len(self.start)

    def only(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> "Pieces":
        """Return some of the pieces."""
        return Pieces(self.start[which], self.end[which], self.idle_us[which])


@dataclass(frozen=True, slots=True)
class IdleAges:
    """Idle ages of one snapshot, in µs.

    ``region_us`` (one per region; 0 where accessed) holds for a region's bytes except for its patches:
    ``patches`` with ``patch_region``, the region that each lies in, have been idle for less than that.
    """

    region_us: I64
    patches: Pieces
    patch_region: NDArray[np.intp]

    @classmethod
    def without_patches(cls, region_us: I64) -> "IdleAges":
        """Return the ages of regions whose bytes are all of one age."""
        return cls(region_us, NO_PIECES, np.empty(0, np.intp))

    def only(self, which: NDArray[np.bool_]) -> "IdleAges":
        """Return the ages of some of the regions."""
        kept = which[self.patch_region]
        place = np.cumsum(which) - 1
        return IdleAges(self.region_us[which], self.patches.only(kept), place[self.patch_region[kept]])


TARGET_SHIFT = np.uint64(48)

NO_PIECES = Pieces(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64))


def flatten(regions: Regions) -> tuple[U64, U64] | None:
    """Return start and end with the target index in the upper bits, so that all targets form one line.

    48 bits hold every user address but those that a process must ask for; a single target needs no bits.
    None if addresses or indexes do not fit: then the kernel's ages stand as they are.
    """
    if not len(regions) or int(regions.target[-1]) == 0:
        return regions.start, regions.end
    if int(regions.end.max()) >= 1 << 48 or int(regions.target[-1]) >= 1 << 16:
        return None
    base = regions.target.astype(np.uint64) << TARGET_SHIFT
    return base + regions.start, base + regions.end


def forget(pieces: Pieces, targets: Collection[int]) -> Pieces:
    """Return the pieces without those of some targets, by index: another process may be there from now on."""
    gone = np.isin(pieces.start >> TARGET_SHIFT, np.array([*targets], np.uint64))
    return pieces.only(~gone) if gone.any() else pieces


def carry(before: Pieces, regions: Regions, age_unit_us: int, step_us: int) -> tuple[IdleAges, Pieces]:
    """Return this snapshot's idle ages, and the pieces to hand over with the next snapshot.

    ``before`` are the pieces of the previous snapshot of the same kdamond, ``step_us`` is the time since then.
    Idle age is 0 where accessed, otherwise (age + 1) · A, as DAMON_STAT and damo count it (an aggregation
    without an access is itself idle time).
    """
    idle = regions.nr_accesses == 0
    region_us = np.where(idle, (regions.age.astype(np.int64) + 1) * age_unit_us, 0)
    line = flatten(regions)
    if line is None:
        return IdleAges.without_patches(region_us), NO_PIECES
    start, end = line
    sized = start < end  # kernels with CVE-2025-38519 can make regions of no size
    older = Pieces(before.start, before.end, before.idle_us + step_us)
    known, region = cut(older, start, end, np.flatnonzero(idle & sized))
    accessed = np.flatnonzero(~idle & sized)
    touched = Pieces(start[accessed], end[accessed], np.zeros(len(accessed), np.int64))
    younger = known.idle_us < region_us[region]
    ages = IdleAges(region_us, known.only(younger), region[younger])
    return ages, _bounded(_joined(touched, known), max(PIECES_PER_REGION * len(regions), FEWEST_PIECES))


def idle_bytes(ages: IdleAges, sizes: U64, group: Groups, groups: int, bounds_us: I64) -> tuple[NDArray[np.int64], F64]:
    """Return bytes per group and idle-age bucket, shape (groups, len(bounds_us) + 1), and Σ bytes · seconds.

    ``bounds_us`` are inclusive upper bounds in µs; the last bucket has none. Buckets are not cumulative.
    """
    size, idle_us = sizes, ages.region_us
    if len(ages.patches):
        patch = ages.patches.end - ages.patches.start
        patched = sum_bytes(patch, ages.patch_region, len(sizes)).astype(np.uint64)
        size = np.concatenate((sizes - patched, patch))
        idle_us = np.concatenate((idle_us, ages.patches.idle_us))
        group = np.concatenate((group, group[ages.patch_region]))
    bucket = np.searchsorted(bounds_us, idle_us, side="left")
    counts = sum_table(size, group, groups, bucket, len(bounds_us) + 1)
    sums: F64 = np.bincount(group, weights=size * (idle_us / 1e6), minlength=groups).astype(np.float64)
    return counts, sums


def cut(pieces: Pieces, start: U64, end: U64, regions: NDArray[np.intp]) -> tuple[Pieces, NDArray[np.intp]]:
    """Return the parts of pieces that lie in these regions, given by their indexes, and the region of each part.

    ``start`` and ``end`` are those of all regions, flattened.
    """
    first = np.searchsorted(pieces.end, start[regions], side="right")
    last = np.searchsorted(pieces.start, end[regions], side="left")
    counts = np.maximum(last - first, 0)
    region = np.repeat(regions, counts)
    piece = np.arange(len(region)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    parts = Pieces(
        np.maximum(pieces.start[piece], start[region]),
        np.minimum(pieces.end[piece], end[region]),
        pieces.idle_us[piece],
    )
    return parts, region


def _joined(touched: Pieces, known: Pieces) -> Pieces:
    """Join what was accessed now with what was accessed before, in ascending order."""
    if not len(known):
        return _merge_equal(touched)
    order = np.argsort(np.concatenate((touched.start, known.start)), kind="stable")
    return _merge_equal(
        Pieces(
            np.concatenate((touched.start, known.start))[order],
            np.concatenate((touched.end, known.end))[order],
            np.concatenate((touched.idle_us, known.idle_us))[order],
        )
    )


def _merge_equal(pieces: Pieces) -> Pieces:
    """Merge neighbours that touch and are equally old."""
    with_next = (pieces.end[:-1] == pieces.start[1:]) & (pieces.idle_us[:-1] == pieces.idle_us[1:])
    if not with_next.any():
        return pieces
    heads, tails = _runs(with_next)
    return Pieces(pieces.start[heads], pieces.end[tails], pieces.idle_us[heads])


def _bounded(pieces: Pieces, most: int) -> Pieces:
    """Merge the touching neighbours that differ least, then forget the smallest pieces: ``most`` remain.

    Merged pieces get the mean age of their bytes.
    """
    excess = len(pieces) - most
    if excess <= 0:
        return pieces
    touching = np.flatnonzero(pieces.end[:-1] == pieces.start[1:])
    contrast = np.abs(np.diff(pieces.idle_us))[touching]
    with_next = np.zeros(len(pieces) - 1, np.bool_)
    with_next[touching[np.argsort(contrast, kind="stable")[:excess]]] = True
    heads, tails = _runs(with_next)
    weights = (pieces.end - pieces.start).astype(np.float64)
    idle_us = np.add.reduceat(weights * pieces.idle_us, heads) / np.add.reduceat(weights, heads)
    merged = Pieces(pieces.start[heads], pieces.end[tails], np.rint(idle_us).astype(np.int64))
    return merged.only(np.sort(np.argsort(merged.end - merged.start)[-most:]))


def _runs(with_next: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first and the last index of each run of neighbours of which all but the last are marked."""
    ends = np.flatnonzero(~with_next)
    return np.concatenate(([0], ends + 1)), np.concatenate((ends, [len(with_next)]))
