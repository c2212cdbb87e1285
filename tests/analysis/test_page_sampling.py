"""Page frames that are drawn: every one has its chance, they stand for all bytes, and how far off they are is known."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_regions import PAGE, any_regions, idle_at, regions
from numpy.typing import NDArray

from damon_exporter.analysis.bands import Groups
from damon_exporter.analysis.idle import NO_PIECES, carry, flatten
from damon_exporter.analysis.page_sampling import (
    CLUSTER_FRAMES,
    Draws,
    draw,
    least_error,
    standard_errors,
)
from damon_exporter.analysis.segments import Segments, segments
from damon_exporter.analysis.snapshot import F64, Regions

A = 100_000
"""The aggregation interval, 100 ms in µs."""

LONG = 6_000
"""Ten minutes of aggregations."""

# Segments


def in_segments(*snapshots: Regions) -> Segments:
    """Carry idle ages over the snapshots and cut the last one."""
    pieces = NO_PIECES
    for made in snapshots:
        ages, pieces = carry(pieces, made, A, A)
    return segments(ages, made)


def test_a_region_is_cut_where_a_part_has_another_idle_age() -> None:
    before = regions((0, 2, 0, LONG), (2, 5, 1, LONG), (5, 8, 0, LONG), (8, 9, 1, LONG))
    cut = in_segments(before, regions((0, 9, 0, LONG), (9, 12, 20, 0)))
    assert cut.start.tolist() == [0, 2, 5, 8, 9]
    assert cut.end.tolist() == [2, 5, 8, 9, 12]
    assert cut.region.tolist() == [0, 0, 0, 0, 1]
    assert cut.idle_us.tolist() == [(LONG + 1) * A, A, (LONG + 1) * A, A, 0]


def test_of_no_regions_there_are_no_segments() -> None:
    assert len(in_segments(regions())) == 0


@given(st.lists(any_regions(largest=2**46, most_accesses=2), min_size=1, max_size=4))
def test_segments_cover_every_byte_once_with_the_idle_age_that_it_has(snapshots: list[Regions]) -> None:
    pieces = NO_PIECES
    for made in snapshots:
        ages, pieces = carry(pieces, made, A, A)
    cut = segments(ages, made)
    assert (cut.start < cut.end).all()
    assert (cut.end[:-1] <= cut.start[1:]).all()
    line = flatten(made)
    assert line is not None
    assert (cut.start >= line[0][cut.region]).all()
    assert (cut.end <= line[1][cut.region]).all()
    covered = np.zeros(len(made), np.uint64)
    np.add.at(covered, cut.region, cut.end - cut.start)
    assert covered.tolist() == made.sizes.tolist()
    for address, region, idle_us in zip(cut.start.tolist(), cut.region.tolist(), cut.idle_us.tolist(), strict=True):
        target = int(made.target[region])
        assert idle_at(ages, made, address - (target << 48), target) == idle_us


# Draws


def pieces_of(*pages: tuple[int, int]) -> Segments:
    """Segments from (first page, page behind the last), each a region of its own."""
    cut = np.array(pages, np.uint64).reshape(-1, 2) * np.uint64(PAGE)
    return Segments(cut[:, 0], cut[:, 1], np.arange(len(cut)), np.zeros(len(cut), np.int64))


def one_band(of: Segments) -> Groups:
    return np.zeros(len(of), np.intp)


def drawn(of: Segments, samples: int, seed: int = 1, band: Groups | None = None) -> Draws:
    return draw(of, one_band(of) if band is None else band, PAGE, samples, np.random.default_rng(seed))


@st.composite
def layouts(pick: st.DrawFn) -> tuple[Segments, Groups]:
    """Segments anywhere, some without size, each of one of three bands."""
    at, pages = pick(st.integers(0, 2**40)), []
    for _ in range(pick(st.integers(0, 12))):
        at += pick(st.sampled_from((0, 0, 1, 1000)))
        size = pick(st.sampled_from((0, 1, 7, 8, 9, 500, 2**30)))
        pages.append((at, at + size))
        at += size
    band = pick(st.lists(st.integers(0, 2), min_size=len(pages), max_size=len(pages)))
    return pieces_of(*pages), np.array(band, np.intp)


@given(layouts(), st.integers(0, 300), st.integers(0, 2**32))
def test_draws_lie_in_their_segments_and_stand_for_all_bytes_exactly(
    layout: tuple[Segments, Groups], samples: int, seed: int
) -> None:
    of, band = layout
    draws = drawn(of, samples, seed, band)
    assert sum(draws.weight_bytes.tolist()) == sum((of.end - of.start).tolist())
    assert (draws.frame * np.uint64(PAGE) >= of.start[draws.segment]).all()
    assert (draws.frame * np.uint64(PAGE) < of.end[draws.segment]).all()
    assert len(draws) <= max(samples, 2 * CLUSTER_FRAMES)
    assert len(set(draws.cluster.tolist())) == draws.clusters or not draws.clusters


@given(layouts(), st.integers(100, 300), st.integers(0, 2**32))
def test_sums_by_band_are_exact_but_for_the_cells_that_straddle_a_border(
    layout: tuple[Segments, Groups], samples: int, seed: int
) -> None:
    of, band = layout
    draws = drawn(of, samples, seed, band)
    told = np.bincount(band[draws.segment], weights=draws.weight_bytes, minlength=3)
    true = np.bincount(band, weights=of.end - of.start, minlength=3)
    longest_cell = draws.weight_bytes.max(initial=0) * CLUSTER_FRAMES if draws.clusters else 0
    assert (np.abs(told - true) <= 2 * longest_cell).all()


def test_of_little_memory_every_frame_is_read_once() -> None:
    draws = drawn(pieces_of((100, 140), (200, 260)), 100)
    assert draws.frame.tolist() == [*range(100, 140), *range(200, 260)]
    assert set(draws.weight_bytes.tolist()) == {PAGE}
    assert standard_errors(draws, np.zeros(100, np.intp), 1).tolist() == [0.0]


def test_one_frame_more_than_may_be_drawn_makes_it_a_sample() -> None:
    draws = drawn(pieces_of((100, 140), (200, 261)), 100)
    assert draws.clusters == 100 // CLUSTER_FRAMES
    assert len(draws) == draws.clusters * CLUSTER_FRAMES


def test_the_frames_of_a_cluster_are_neighbours_unless_it_goes_on_at_the_start_of_its_cell() -> None:
    draws = drawn(pieces_of((1000, 1000 + 64_000)), 512)
    cells = draws.frame.reshape(64, CLUSTER_FRAMES).astype(np.int64)
    steps = np.diff(cells, axis=1)
    assert set(steps.ravel().tolist()) <= {1, 1 - 1000}
    assert (cells // 1000 - 1 == np.arange(64)[:, np.newaxis]).all(), "each in a cell of its own"


def test_every_frame_has_the_same_chance() -> None:
    """103 frames in two pieces, cut into four cells; the weights make up for cells that differ in length."""
    of, rng, passes = pieces_of((0, 30), (50, 123)), np.random.default_rng(5), 4000
    stood_for = np.zeros(123)
    for _ in range(passes):
        draws = draw(of, one_band(of), PAGE, 4 * CLUSTER_FRAMES, rng)
        np.add.at(stood_for, draws.frame.astype(np.intp), draws.weight_bytes / PAGE)
    mean = stood_for / passes
    assert mean[30:50].tolist() == [0] * 20
    inside = np.delete(mean, range(30, 50))
    assert inside == pytest.approx(1, abs=5 * np.sqrt((26 / 8 - 1) / passes))


def test_the_frames_of_one_band_are_drawn_side_by_side_wherever_they_lie() -> None:
    """Four regions that alternate between two bands: without an order by band nearly every cell would straddle."""
    of, band = pieces_of((0, 640), (640, 1280), (1280, 1920), (1920, 2560)), np.array([0, 1, 0, 1])
    draws = drawn(of, 16 * CLUSTER_FRAMES, band=band)
    assert band[draws.segment].tolist() == sorted(band[draws.segment].tolist())
    assert np.bincount(band[draws.segment], weights=draws.weight_bytes).tolist() == [1280 * PAGE] * 2


# Standard errors, in simulation

FRAMES = 1 << 20
"""4 GiB."""

PASSES = 400

Owned = NDArray[np.bool_]
"""Of each frame: does it belong to the cgroup?"""


def scattered(share: float, run: int = 1, frames: int = FRAMES) -> Owned:
    """That share of all runs of so many frames."""
    owned: Owned = np.random.default_rng(11).random(-(-frames // run)) < share
    return np.repeat(owned, run)[:frames]


def stripes(width: int) -> Owned:
    return np.array(np.arange(FRAMES) // width % 2 == 0)


def block() -> Owned:
    return (np.arange(FRAMES) // 1000 >= 300) & (np.arange(FRAMES) // 1000 < 512)


CGROUPS: dict[str, tuple[int, Callable[[], Owned]]] = {
    "one contiguous block": (8192, block),
    "many scattered pages": (8192, lambda: scattered(0.2)),
    "huge pages": (8192, lambda: scattered(0.2, 512)),
    "a hundredth of memory in scattered pages": (8192, lambda: scattered(0.01)),
    "a hundredth of memory in huge pages": (8192, lambda: scattered(0.01, 512)),
    "a hundredth of memory in large folios": (8192, lambda: scattered(0.01, 16)),
    "every second page": (8192, lambda: stripes(1)),
    "every second page of half of memory": (8192, lambda: stripes(1) & (np.arange(FRAMES) < FRAMES // 2)),
    "stripes as wide as a cluster": (8192, lambda: stripes(CLUSTER_FRAMES)),
    "stripes of huge pages": (8192, lambda: stripes(512)),
    "half the length of a cell": (8192, lambda: stripes(FRAMES * CLUSTER_FRAMES // 8192 // 2)),
    "everything": (8192, lambda: np.ones(FRAMES, np.bool_)),
    "about what one cluster stands for, in huge pages": (1024, lambda: scattered(0.01, 512)),
    "about what one cluster stands for, in large folios": (1024, lambda: scattered(0.01, 16)),
    "less than what one cluster stands for": (1024, lambda: scattered(0.003, 64)),
    "huge pages, in small cells": (8192, lambda: scattered(0.05, 512, 12 * 8192)),
    "pages of which half are drawn": (8192, lambda: scattered(0.3, 1, 2 * 8192)),
    "pages of which nearly all are drawn": (8192, lambda: scattered(0.05, 1, 8750)),
    "runs of which nearly all are drawn": (8192, lambda: scattered(0.3, 64, 8750)),
}
"""How many samples are drawn, and what belongs to the cgroup."""


@dataclass(frozen=True)
class Told:
    """What many passes tell of a cgroup, and how much it has, in pages."""

    estimates: F64
    errors: F64
    least: float
    truth: int

    def told_errors(self) -> F64:
        """As the exporter tells them."""
        return np.maximum(self.errors, self.least)


def many_passes(samples: int, owned: Owned) -> Told:
    """Look at a cgroup in a thousand segments of four bands."""
    rng = np.random.default_rng(2)
    borders = np.unique(rng.integers(1, len(owned), 999)).tolist()
    of = pieces_of(*pairwise((0, *borders, len(owned))))
    band = rng.integers(0, 4, len(of))
    rng, told, least = np.random.default_rng(1), [], 0.0
    for _ in range(PASSES):
        draws = draw(of, band, PAGE, samples, rng)
        owner = np.where(owned[draws.frame.astype(np.intp)], 0, -1)
        told.append((draws.weight_bytes[owner == 0].sum() / PAGE, standard_errors(draws, owner, 1)[0] / PAGE))
        least = least_error(draws) / PAGE
    estimates, errors = np.array(told).T
    return Told(estimates, errors, least, int(owned.sum()))


@cache
def looked_at(cgroup: str) -> Told:
    samples, owned = CGROUPS[cgroup]
    return many_passes(samples, owned())


@pytest.mark.parametrize("cgroup", CGROUPS)
def test_intervals_of_95_percent_cover_the_truth_at_least_90_times_in_100(cgroup: str) -> None:
    told = looked_at(cgroup)
    covers = np.abs(told.estimates - told.truth) <= 1.96 * told.told_errors()
    assert covers.mean() >= 0.9


@pytest.mark.parametrize("cgroup", CGROUPS)
def test_estimates_are_right_on_average(cgroup: str) -> None:
    told = looked_at(cgroup)
    assert abs(told.estimates.mean() - told.truth) <= 4 * told.estimates.std() / np.sqrt(PASSES)


@pytest.mark.parametrize(
    "cgroup",
    [
        "one contiguous block",
        "every second page of half of memory",
        "huge pages",
        "a hundredth of memory in huge pages",
        "huge pages, in small cells",
        "pages of which half are drawn",
        "pages of which nearly all are drawn",
    ],
)
def test_the_error_is_told_less_than_twice_as_large_as_it_is(cgroup: str) -> None:
    told = looked_at(cgroup)
    assert np.sqrt((told.told_errors() ** 2).mean()) < 2 * told.estimates.std()


@pytest.mark.parametrize("cgroup", ["many scattered pages", "pages of which nearly all are drawn"])
def test_the_error_is_told_as_large_as_it_is_where_cells_are_alike(cgroup: str) -> None:
    told = looked_at(cgroup)
    assert np.sqrt((told.errors**2).mean()) == pytest.approx(told.estimates.std(), rel=0.15)


# Standard errors, one by one


def one_by_one(draws: Draws, owner: Groups, owners: int) -> list[float]:
    """The formula, cluster after cluster."""
    totals = np.zeros((owners, draws.clusters))
    for who, cluster, weight in zip(owner.tolist(), draws.cluster.tolist(), draws.weight_bytes.tolist(), strict=True):
        if who >= 0:
            totals[who, cluster] += weight
    undrawn = 1 - len(draws) / (sum(draws.weight_bytes.tolist()) // PAGE)
    scale = undrawn * draws.clusters / (draws.clusters - 1)
    return [np.sqrt(scale / 2 * sum((b - a) ** 2 for a, b in pairwise(mine))) for mine in totals.tolist()]


@given(st.integers(16, 600), st.integers(1, 5), st.integers(0, 2**32))
def test_the_errors_of_many_owners_are_those_of_each(samples: int, owners: int, seed: int) -> None:
    draws = drawn(pieces_of((0, 10_001)), samples, seed)
    rng = np.random.default_rng(seed)
    owner = rng.integers(-1, owners, len(draws) // CLUSTER_FRAMES).repeat(CLUSTER_FRAMES)
    owner[rng.random(len(owner)) < 0.1] = -1
    expected = one_by_one(draws, owner, owners)
    assert standard_errors(draws, owner, owners).tolist() == pytest.approx(expected, abs=1e-6 * 10_001 * PAGE)


def test_nothing_is_known_of_an_owner_that_was_not_drawn() -> None:
    draws = drawn(pieces_of((0, 10_000)), 512)
    owner = np.where(np.arange(len(draws)) < 100, 2, -1)
    assert (standard_errors(draws, owner, 4) > 0).tolist() == [False, False, True, False]


def test_where_no_draw_is_asked_for_there_are_no_errors() -> None:
    draws = drawn(pieces_of((0, 10_000)), 512)
    assert standard_errors(draws, np.full(len(draws), -1), 0).tolist() == []
    assert standard_errors(draws, np.full(len(draws), -1), 2).tolist() == [0.0, 0.0]
