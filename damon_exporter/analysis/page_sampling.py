"""A few page frames drawn from all that are monitored, and how far off the sums over them may be."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.bands import I64, Groups
from damon_exporter.analysis.segments import Segments
from damon_exporter.analysis.snapshot import F64, U64

CLUSTER_FRAMES = 8
"""How many neighbours are drawn together: reading one frame costs a system call, seven more cost almost nothing."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Page frames that stand for all that are monitored, parallel arrays.

    ``frame`` is a page frame number, ``segment`` the index of the segment that it lies in. ``weight_bytes`` are the
    bytes that it stands for; they sum to all bytes exactly. ``cluster`` tells which were drawn together, of
    ``clusters``, in the order of the line. There are 0 where every frame is read: then there is no error. A frame has
    ``page_bytes``.
    """

    frame: U64
    segment: NDArray[np.intp]
    cluster: NDArray[np.intp]
    weight_bytes: U64
    clusters: int
    page_bytes: int

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
    return Draws(frame.astype(np.uint64), order[place], cluster, weight_bytes, clusters, page_bytes)


def _positions(total: int, cells: int, rng: np.random.Generator) -> tuple[I64, I64]:
    """Return the places in a line of ``total`` frames of all that are drawn, and how long each cell is."""
    edges = np.arange(cells + 1, dtype=np.int64) * total // cells
    cell_frames = np.diff(edges)
    starts = rng.integers(0, cell_frames)
    inside = (starts[:, np.newaxis] + np.arange(CLUSTER_FRAMES)) % cell_frames[:, np.newaxis]
    return (edges[:-1, np.newaxis] + inside).ravel(), cell_frames


def standard_errors(draws: Draws, owner: Groups, owners: int) -> F64:
    """Return the standard error (bytes) of the sum of weights by owner, shape (owners,).

    ``owner`` has an index for every draw, -1 for those that nobody asks about. The error is that of systematic cluster
    sampling (frames that lie side by side often have one owner): (1 - f) · n / (n - 1) · ½ Σ (yᵢ - yᵢ₋₁)² over
    neighbouring cells, where f is the share of frames that are drawn (successive differences: Wolter, Introduction to
    Variance Estimation, chapter 8). One cluster alone tells no variance, and its neighbours are most like it. What
    the means of neighbours differ by makes the error too large, most where memory is a few large blocks. It is too
    small, by √(1 - f), where owners alternate in step with the cells. And it needs some clusters to go by: intervals
    of ±1.96 errors are too narrow for an owner in fewer than about five of those drawn, and it is 0 if in none. See
    `least_error`.
    """
    if not draws.clusters:
        return np.zeros(owners)
    mine = np.flatnonzero(owner >= 0)
    pair, of_pair = np.unique(owner[mine] * draws.clusters + draws.cluster[mine], return_inverse=True)
    cluster_bytes = np.bincount(of_pair, weights=draws.weight_bytes[mine])
    who, cell = np.divmod(pair, draws.clusters)
    alone = np.diff(pair, prepend=-2, append=-2) != 1
    steps = cluster_bytes - np.where(alone[:-1], 0.0, np.roll(cluster_bytes, 1))
    squares = (cell > 0) * steps**2 + (alone[1:] & (cell < draws.clusters - 1)) * cluster_bytes**2
    undrawn = 1 - len(draws) * draws.page_bytes / float(draws.weight_bytes.sum())
    scale = undrawn * draws.clusters / (draws.clusters - 1) / 2
    return np.sqrt(np.bincount(who, weights=scale * squares, minlength=owners))


def least_error(draws: Draws) -> float:
    """Return the bytes that one cluster stands for: what is told of an owner may be wrong by one that was not drawn.

    0 where every frame was read.
    """
    return float(draws.weight_bytes.sum()) / draws.clusters if draws.clusters else 0.0
