"""A few page frames drawn from all that are monitored, and how far off the sums over them may be."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.bands import I64, Groups
from damon_exporter.analysis.idle import Segments
from damon_exporter.analysis.snapshot import F64, U64

CLUSTER_FRAMES = 8
"""How many neighbours are drawn together: reading one frame costs a system call, seven more cost almost nothing."""

STRATUM_CELLS = 16
"""How many neighbouring cells are compared to tell how much clusters differ."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Page frames that stand for all that are monitored, parallel arrays.

    ``frame`` is a page frame number, ``segment`` the index of the segment that it lies in. ``weight_bytes`` are the
    bytes that it stands for; they sum to all bytes exactly. ``cluster`` tells which were drawn together, of
    ``clusters``, in the order of the line. There are 0 where every frame is read: then there is no error.
    """

    frame: U64
    segment: NDArray[np.intp]
    cluster: NDArray[np.intp]
    weight_bytes: U64
    clusters: int

    def __len__(self) -> int:
        return len(self.frame)


def draw(segments: Segments, band: Groups, page_bytes: int, samples: int, rng: np.random.Generator) -> Draws:
    """Draw about ``samples`` page frames, or return all if there are no more than that.

    The segments are laid end to end, those of one ``band`` (one index per segment) side by side, and that line is cut
    into cells of equal length. In each, one cluster of neighbours is drawn whose start is anywhere, and goes on at
    the cell's start where the cell ends, so that every frame of a cell has the same chance. Cells of one band make
    the sums by band exact but for the few cells that straddle a border.

    Segments consist of whole pages of ``page_bytes``, as DAMON's regions do.
    """
    order = np.lexsort((segments.start, band))
    first = (segments.start[order] // np.uint64(page_bytes)).astype(np.int64)
    frames = (segments.end[order] // np.uint64(page_bytes)).astype(np.int64) - first
    ends = np.cumsum(frames)
    total = int(ends[-1]) if len(ends) else 0
    if total <= max(samples, 2 * CLUSTER_FRAMES):
        clusters, position = 0, np.arange(total)
        cluster, weight_bytes = np.zeros(total, np.intp), np.full(total, page_bytes, np.uint64)
    else:
        clusters = max(samples // CLUSTER_FRAMES, 2)
        position, cell_frames = _positions(total, clusters, rng)
        cluster = np.repeat(np.arange(clusters), CLUSTER_FRAMES)
        weight_bytes = np.repeat((cell_frames * page_bytes // CLUSTER_FRAMES).astype(np.uint64), CLUSTER_FRAMES)
    place = np.searchsorted(ends, position, side="right")
    frame = (first + frames - ends)[place] + position
    return Draws(frame.astype(np.uint64), order[place], cluster, weight_bytes, clusters)


def _positions(total: int, cells: int, rng: np.random.Generator) -> tuple[I64, I64]:
    """Return the places in a line of ``total`` frames of all that are drawn, and how long each cell is."""
    edges = np.arange(cells + 1, dtype=np.int64) * total // cells
    cell_frames = np.diff(edges)
    starts = rng.integers(0, cell_frames)
    inside = (starts[:, np.newaxis] + np.arange(CLUSTER_FRAMES)) % cell_frames[:, np.newaxis]
    return (edges[:-1, np.newaxis] + inside).ravel(), cell_frames


def standard_errors(draws: Draws, owner: Groups, owners: int) -> F64:
    """Return the standard error (bytes) of the sum of weights by owner, shape (owners,).

    ``owner`` has an index for every draw, -1 for those that nobody asks about. The error is that of cluster sampling:
    what the clusters (frames that lie side by side often have one owner) differ by within each stratum, a run of
    neighbouring cells: Σ n · s² over the strata (collapsed strata: Cochran, Sampling Techniques, chapter 5A).
    That is conservative: the cells are finer strata than those runs, so that the true variance lacks what the means
    of neighbouring cells differ by, which n · s² contains. It needs some clusters to go by: intervals of ±1.96 errors
    are too narrow for an owner whose memory lies in fewer than about five cells, and it is 0 if none was drawn. See
    `least_error`.
    """
    if not draws.clusters:
        return np.zeros(owners)
    mine = np.flatnonzero(owner >= 0)
    pair, of_pair = np.unique(owner[mine] * draws.clusters + draws.cluster[mine], return_inverse=True)
    cluster_bytes = np.bincount(of_pair, weights=draws.weight_bytes[mine])
    strata = max(draws.clusters // STRATUM_CELLS, 1)
    stratum = np.minimum(pair % draws.clusters // STRATUM_CELLS, strata - 1)  # the last one takes what is left over
    share, of_share = np.unique(pair // draws.clusters * strata + stratum, return_inverse=True)
    cells = np.bincount(np.minimum(np.arange(draws.clusters) // STRATUM_CELLS, strata - 1))[share % strata]
    sums = np.bincount(of_share, weights=cluster_bytes)
    squares = np.bincount(of_share, weights=cluster_bytes**2)
    variance = np.maximum(squares - sums**2 / cells, 0.0) * cells / (cells - 1)
    return np.sqrt(np.bincount(share // strata, weights=variance, minlength=owners))


def least_error(draws: Draws) -> float:
    """Return the bytes that one cluster stands for: what is told of an owner may be wrong by one that was not drawn.

    0 where every frame was read.
    """
    return float(draws.weight_bytes.sum()) / draws.clusters if draws.clusters else 0.0
