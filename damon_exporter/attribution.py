"""Whose and what the bytes of a monitor of physical memory are: page frames are drawn, and their owners looked up."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import TypeVar

import numpy as np

from damon_exporter import config
from damon_exporter.analysis import idle, page_sampling
from damon_exporter.analysis.bands import I64, Groups, sum_bytes, sum_table
from damon_exporter.analysis.page_kinds import KINDS, kinds
from damon_exporter.analysis.segments import segments
from damon_exporter.containers.named import PodLookup
from damon_exporter.kernel.cgroups import CgroupTree
from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.memory import PAGE_SIZE, SystemRam
from damon_exporter.kernel.page_frames import PageFrames
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.physical import PhysicalView
from damon_exporter.shown_cgroups import ShownCgroups
from damon_exporter.state import Attribution, CgroupState, Histogram, Owner, histograms

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The frames of one pass, parallel arrays: what each stands for, its band, its idle age (µs)."""

    draws: page_sampling.Draws
    band: Groups
    idle_us: I64 | None


class Attributor:
    """Makes passes over one monitor of physical memory, one after the other, from one thread.

    ``problems`` are why the last pass could not tell what is asked for: sentences with the cure. ``failures`` counts
    what could not be read.
    """

    def __init__(
        self,
        settings: config.Attribution,
        export: config.Export,
        paths: KernelPaths,
        pod_of: PodLookup,
        seed: int | None = None,
    ) -> None:
        self.problems: tuple[str, ...] = ()
        self.failures = 0
        self._settings = settings
        self._bands = tuple(name for name, _ in export.bands)
        self._idle_bounds = export.idle_age
        self._ram = SystemRam(paths.sysfs)
        self._frames = PageFrames(paths.procfs)
        self._cgroups = ShownCgroups(settings.cgroups, settings.limit, CgroupTree(paths.sysfs), pod_of)
        self._rng = np.random.default_rng(seed)
        self._samples = 0
        self._seconds = 0.0

    def look(self, view: PhysicalView) -> Attribution | None:
        """Make one pass. What the kernel does not show is left out; None if that is all."""
        began = time.perf_counter()
        self.problems = ()
        drawn = self._draw(view)
        by_kind = self._tried(self._by_kind, drawn) if self._settings.kinds else None
        by_cgroup = self._tried(self._by_cgroup, drawn) if self._settings.cgroups else None
        if by_kind is None and by_cgroup is None:
            return None
        cgroups, unknown_bytes = by_cgroup or ((), None)
        self._samples += len(drawn.draws)
        self._seconds += time.perf_counter() - began
        return Attribution(
            bands=self._bands,
            kinds=by_kind or {},
            cgroups=cgroups,
            unknown_bytes=unknown_bytes,
            samples_total=self._samples,
            seconds_total=self._seconds,
        )

    def without_vanished(self, told: Attribution) -> Attribution:
        """Return what a pass has told without cgroups that have gone since."""
        living = self._cgroups.living()
        return replace(told, cgroups=tuple(state for state in told.cgroups if state.owner in living))

    def _tried(self, tell: Callable[[_Drawn], T | None], drawn: _Drawn) -> T | None:
        try:
            return tell(drawn)
        except KernelError as error:
            self.failures += 1
            self.problems = (*self.problems, str(error))
            return None

    def _draw(self, view: PhysicalView) -> _Drawn:
        ages = view.ages or idle.IdleAges.without_patches(np.zeros(len(view.regions), np.int64))
        cut = segments(ages, view.regions)
        band = view.band[cut.region]
        draws = page_sampling.draw(cut, band, PAGE_SIZE, self._settings.samples, self._rng)
        return _Drawn(draws, band[draws.segment], cut.idle_us[draws.segment] if view.ages else None)

    def _by_kind(self, drawn: _Drawn) -> Mapping[str, tuple[int, ...]]:
        kind = kinds(self._frames.flags(drawn.draws.frame, self._ram.ranges()))
        by_kind = self._band_bytes(drawn, kind, len(KINDS))
        return {name: tuple(row) for name, row in zip(KINDS, by_kind.tolist(), strict=True)}

    def _by_cgroup(self, drawn: _Drawn) -> tuple[tuple[CgroupState, ...], int] | None:
        """Return what is shown, and the bytes of all other cgroups; None where cgroups cannot be told."""
        if problem := self._cgroups.unsupported():
            self.failures += 1
            self.problems = (*self.problems, problem)
            return None
        inodes, of_draw = np.unique(self._frames.cgroups(drawn.draws.frame), return_inverse=True)
        inode_bytes = sum_bytes(drawn.draws.weight_bytes, of_draw, len(inodes)).tolist()
        shown, of_inode = self._cgroups.told(dict(zip(inodes.tolist(), inode_bytes, strict=True)))
        series = np.array(of_inode, np.intp)
        unknown_bytes = sum(compress(inode_bytes, (series < 0) & (inodes != 0)))
        return self._states(drawn, shown, series[of_draw]), unknown_bytes

    def _states(self, drawn: _Drawn, shown: Sequence[Owner], series: Groups) -> tuple[CgroupState, ...]:
        """Return the state of each that is shown; ``series`` is its index for every draw, -1 for all else."""
        by_band = self._band_bytes(drawn, series, len(shown)).tolist()
        idle_ages = self._idle_ages(drawn, series, len(shown))
        errors = page_sampling.standard_errors(drawn.draws, series, len(shown))
        least = page_sampling.least_error(drawn.draws)
        told_errors = np.maximum(errors, least).tolist()
        return tuple(
            CgroupState(owner, tuple(by_band[i]), idle_ages[i] if idle_ages else None, told_errors[i])
            for i, owner in enumerate(shown)
        )

    def _band_bytes(self, drawn: _Drawn, key: Groups, keys: int) -> I64:
        """Sum the draws by key and band, shape (keys, bands); those with a negative key are left out."""
        mine = np.flatnonzero(key >= 0)
        return sum_table(drawn.draws.weight_bytes[mine], key[mine], keys, drawn.band[mine], len(self._bands))

    def _idle_ages(self, drawn: _Drawn, key: Groups, keys: int) -> list[Histogram] | None:
        if drawn.idle_us is None:
            return None
        mine = np.flatnonzero(key >= 0)
        bounds_us = np.asarray([round(s * 1e6) for s in self._idle_bounds], np.int64)
        ages = idle.IdleAges.without_patches(drawn.idle_us[mine])
        counts, sums = idle.idle_bytes(ages, drawn.draws.weight_bytes[mine], key[mine], keys, bounds_us)
        return histograms(self._idle_bounds, counts.tolist(), sums.tolist())
