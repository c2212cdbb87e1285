"""Whose and what the bytes of a monitor of physical memory are: page frames are drawn, and their owners looked up."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np

from damon_exporter import config
from damon_exporter.analysis import idle, page_sampling
from damon_exporter.analysis.bands import I64, Groups, sum_bytes
from damon_exporter.analysis.page_kinds import KINDS, kinds
from damon_exporter.analysis.snapshot import Regions
from damon_exporter.escaping import printable
from damon_exporter.kernel.cgroups import CgroupTree
from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.memory import PAGE_SIZE, Ranges, system_ram
from damon_exporter.kernel.page_frames import PageFrames
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.state import Attribution, CgroupState, Histogram, Owner

OwnerLookup = Callable[[str], Owner]
"""Tells of a cgroup's path which pod and which container it belongs to."""

SHOWN_COUNT = 2
"""How many times the bytes of a series that has been shown count when the largest are chosen."""


@dataclass(frozen=True, slots=True)
class PhysicalView:
    """The last snapshot of a monitor of physical memory: its regions with the index of each one's band.

    ``ages`` is None while nothing tells the unit of the kernel's ages. ``end_ns`` is the end of the snapshot.
    """

    regions: Regions
    band: Groups
    ages: idle.IdleAges | None
    end_ns: int = 0


@dataclass(frozen=True, slots=True)
class Totals:
    """What the passes before have drawn and taken."""

    samples: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The frames of one pass, parallel arrays: what each stands for, its band, its idle age (µs)."""

    draws: page_sampling.Draws
    band: Groups
    idle_us: I64 | None


class Attributor:
    """Makes passes over one monitor of physical memory, one after the other, from one thread.

    ``problem`` is why the last pass could tell no cgroups though they are asked for: a sentence with the cure.
    """

    def __init__(
        self,
        settings: config.Attribution,
        export: config.Export,
        paths: KernelPaths,
        names: OwnerLookup,
        seed: int | None = None,
    ) -> None:
        self.problem: str | None = None
        self._settings = settings
        self._bands = tuple(name for name, _ in export.bands)
        self._idle_bounds = export.idle_age
        self._names = names
        self._frames = PageFrames(paths.procfs, _system_ram(paths))
        self._tree = CgroupTree(paths.sysfs)
        self._rng = np.random.default_rng(seed)
        self._shown: frozenset[Owner] = frozenset()

    def look(self, view: PhysicalView, before: Totals) -> Attribution:
        """Make one pass; raises `KernelError` if the kernel does not show page frames."""
        began = time.perf_counter()
        self.problem = self._tree.unsupported() if self._settings.cgroups else None
        drawn = self._draw(view)
        by_kind = self._by_kind(drawn) if self._settings.kinds else {}
        with_cgroups = self._settings.cgroups and not self.problem
        cgroups, unknown_bytes = self._by_cgroup(drawn) if with_cgroups else ((), 0)
        return Attribution(
            bands=self._bands,
            kinds=by_kind,
            cgroups=cgroups,
            unknown_bytes=unknown_bytes,
            samples_total=before.samples + len(drawn.draws),
            seconds_total=before.seconds + time.perf_counter() - began,
        )

    def _draw(self, view: PhysicalView) -> _Drawn:
        count = len(view.regions)
        ages = view.ages or idle.IdleAges(np.zeros(count, np.int64), idle.NO_PIECES, np.empty(0, np.intp))
        segments = idle.segments(ages, view.regions)
        band = view.band[segments.region]
        draws = page_sampling.draw(segments, band, PAGE_SIZE, self._settings.samples, self._rng)
        return _Drawn(draws, band[draws.segment], segments.idle_us[draws.segment] if view.ages else None)

    def _by_kind(self, drawn: _Drawn) -> dict[str, tuple[int, ...]]:
        kind = kinds(self._frames.flags(drawn.draws.frame))
        by_kind = self._band_bytes(drawn, kind, len(KINDS))
        return {name: tuple(row) for name, row in zip(KINDS, by_kind.tolist(), strict=True)}

    def _by_cgroup(self, drawn: _Drawn) -> tuple[tuple[CgroupState, ...], int]:
        """Return what is shown, and the bytes of all other cgroups."""
        inodes, of_draw = np.unique(self._frames.cgroups(drawn.draws.frame), return_inverse=True)
        inode_bytes = sum_bytes(drawn.draws.weight_bytes, of_draw, len(inodes)).tolist()
        owners = self._owners(inodes.tolist())
        shown = self._largest(owners, inode_bytes)
        index = {owner: i for i, owner in enumerate(shown)}
        series = np.array([-1 if owner is None else index.get(owner, -1) for owner in owners], np.intp)
        unknown_bytes = sum(compress(inode_bytes, (series < 0) & (inodes != 0)))
        return self._states(drawn, shown, series[of_draw]), unknown_bytes

    def _owners(self, inodes: Sequence[int]) -> list[Owner | None]:
        """Return whose each inode is; None if it is no cgroup that is asked for, or has gone."""
        paths = self._tree.paths(inodes)
        return [self._owner(paths[inode]) if inode in paths else None for inode in inodes]

    def _owner(self, path: str) -> Owner | None:
        matches = filter(None, (glob.deepest(path) for glob in self._settings.cgroups))
        deepest = max(matches, key=len, default=None)
        if deepest is None:
            return None
        owner = self._names(deepest)
        return replace(owner, cgroup="" if owner.pod and owner.container else printable(deepest))

    def _largest(self, owners: Sequence[Owner | None], sizes: Sequence[int]) -> list[Owner]:
        """Return those to show. Who has been shown is not replaced by one that chance has made a little larger."""
        ranks: dict[Owner, int] = {}
        for owner, size in zip(owners, sizes, strict=True):
            if owner is not None:
                ranks[owner] = ranks.get(owner, 0) + size * (SHOWN_COUNT if owner in self._shown else 1)
        largest = sorted(ranks, key=lambda owner: ranks[owner], reverse=True)[: self._settings.limit]
        self._shown = frozenset(largest)
        return largest

    def _states(self, drawn: _Drawn, shown: Sequence[Owner], series: Groups) -> tuple[CgroupState, ...]:
        """Return the state of each that is shown; ``series`` is its index for every draw, -1 for all else."""
        by_band = self._band_bytes(drawn, series, len(shown)).tolist()
        idle_ages = self._idle_ages(drawn, series, len(shown))
        errors = page_sampling.standard_errors(drawn.draws, series, len(shown)).tolist()
        return tuple(
            CgroupState(owner, tuple(by_band[i]), idle_ages[i] if idle_ages else None, errors[i])
            for i, owner in enumerate(shown)
        )

    def _band_bytes(self, drawn: _Drawn, key: Groups, keys: int) -> I64:
        """Sum the draws by key and band, shape (keys, bands); those with a negative key are left out."""
        bands, mine = len(self._bands), np.flatnonzero(key >= 0)
        by_band = sum_bytes(drawn.draws.weight_bytes[mine], key[mine] * bands + drawn.band[mine], keys * bands)
        return by_band.reshape(keys, bands)

    def _idle_ages(self, drawn: _Drawn, key: Groups, keys: int) -> list[Histogram] | None:
        if drawn.idle_us is None:
            return None
        mine = np.flatnonzero(key >= 0)
        bounds_us = np.asarray([round(s * 1e6) for s in self._idle_bounds], np.int64)
        ages = idle.IdleAges(drawn.idle_us[mine], idle.NO_PIECES, np.empty(0, np.intp))
        counts, sums = idle.idle_bytes(ages, drawn.draws.weight_bytes[mine], key[mine], keys, bounds_us)
        return [Histogram(self._idle_bounds, tuple(row.tolist()), float(sums[i])) for i, row in enumerate(counts)]


def _system_ram(paths: KernelPaths) -> Ranges:
    """Return where System RAM is, nothing if nobody tells."""
    try:
        return system_ram(paths.sysfs)
    except KernelError:
        return ()
