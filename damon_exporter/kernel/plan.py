"""What a kdamond of ours shall be: a value, and the files that it stands for."""

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from damon_exporter.kernel.memory import PAGE_SIZE, Ranges

ANY_SIZE = 2**64 - 1
ANY_COUNT = 2**32 - 1
"""The kernel keeps nr_accesses and age in 32 bits: 2^32 would silently become 0."""

STARTER = (0, PAGE_SIZE)
"""The page that no process has memory in, as pointers to nothing shall fail."""

ATTRIBUTES = "contexts/0/monitoring_attrs"
INTERVALS = f"{ATTRIBUTES}/intervals"
TARGETS = "contexts/0/targets"
NR_SCHEMES = "contexts/0/schemes/nr_schemes"
TOKEN_FILE = "contexts/0/schemes/0/quotas/reset_interval_ms"  # noqa: S105 - a mark, not a secret
SPARE_TOKEN_FILE = f"{INTERVALS}/update_us"
"""Where the token stands while schemes are made anew: it must never be lost, and an interval counts only at `on`."""

Leaf = tuple[str, str]
"""A file below a kdamond's folder, and the value that it shall have."""


@dataclass(frozen=True, slots=True)
class IntervalPlan:
    """Monitoring intervals in µs."""

    sample_us: int
    aggregation_us: int
    update_us: int


@dataclass(frozen=True, slots=True)
class IntervalGoal:
    """The kernel's auto-tuning of intervals: ``access_bp`` in 1/10 000, sample bounds in µs. All 0: no tuning."""

    access_bp: int = 0
    aggregations: int = 0
    min_sample_us: int = 0
    max_sample_us: int = 0


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """A process (vaddr, fvaddr) or the physical address space (pid None), with ranges where they are fixed."""

    pid: int | None
    ranges: Ranges = ()


@dataclass(frozen=True, slots=True)
class KdamondPlan:
    """One kdamond with one context.

    Scheme 0 carries our token and acts on nothing. ``region_schemes`` is for the sysfs source: it makes scheme 0
    match every region, or, with several targets, adds a scheme per target, as regions do not tell their target.
    ``goal`` and ``refresh_ms`` are None where the kernel has no such files.
    """

    operations: str
    intervals: IntervalPlan
    goal: IntervalGoal | None
    min_regions: int
    max_regions: int
    targets: tuple[TargetPlan, ...]
    refresh_ms: int | None
    region_schemes: bool

    def beginning(self, fresh: Collection[int]) -> "KdamondPlan":
        """Return the plan to commit so that what the targets with these indexes were is forgotten.

        Each gets one page that no process has as its only region, so that all regions of whoever was there before go,
        with their ages. The kernel's next update of a target's regions puts the process's own in its place.
        """
        targets = [
            replace(target, ranges=(STARTER,)) if index in fresh else target
            for index, target in enumerate(self.targets)
        ]
        return replace(self, targets=tuple(targets))

    @property
    def fingerprint(self) -> int:
        """32 bits that change with anything in the plan."""
        return zlib.crc32(repr(self).encode())

    @property
    def tuned(self) -> bool:
        """Does the kernel move the intervals?"""
        return self.goal is not None and self.goal.aggregations > 0

    @property
    def schemes(self) -> int:
        """How many schemes there are, with scheme 0."""
        return 1 + self._target_schemes

    @property
    def _target_schemes(self) -> int:
        """How many schemes follow scheme 0, one per target."""
        return len(self.targets) if self.region_schemes and len(self.targets) > 1 else 0

    def leaves(self) -> Iterator[Leaf]:
        """Yield every file to write, in an order in which no write undoes an earlier one.

        Any ``nr_*`` makes its folder's children anew, so it comes before them; what `skeleton` has made is left
        as it is. What an older plan may have set is set again.
        """
        if self.refresh_ms is not None:
            yield "refresh_ms", str(self.refresh_ms)
        yield "contexts/0/operations", self.operations
        yield from self._attributes()
        yield f"{TARGETS}/nr_targets", str(len(self.targets))
        for index, target in enumerate(self.targets):
            yield from _target(f"{TARGETS}/{index}", target)
        yield from self._schemes()

    def lasting(self) -> Iterator[Leaf]:
        """Yield the files that show what runs, and that nobody but another tool changes."""
        yield NR_SCHEMES, str(self.schemes)
        yield from self.untuned()

    def untuned(self) -> Iterator[Leaf]:
        """Yield the files but for the intervals that the kernel tunes."""
        tuned = (f"{INTERVALS}/sample_us", f"{INTERVALS}/aggr_us") if self.tuned else ()
        return (leaf for leaf in self.leaves() if leaf[0] not in tuned)

    def changes(self, running: "KdamondPlan") -> Iterator[Leaf]:
        """Yield the files to write where those of ``running`` stand: few, unless there are more or fewer targets.

        The intervals that the kernel tunes are left as they are.
        """
        same_folders = (len(self.targets), self.schemes) == (len(running.targets), running.schemes)
        standing = set(running.leaves()) if same_folders else set()
        return (leaf for leaf in self.untuned() if leaf not in standing)

    def settled(self, fresh: Collection[int]) -> Iterator[Leaf]:
        """Yield the files that take back what `beginning` gave, so that no later commit gives it again."""
        for index in fresh:
            yield f"{TARGETS}/{index}/regions/nr_regions", "0"

    def _attributes(self) -> Iterator[Leaf]:
        yield f"{INTERVALS}/sample_us", str(self.intervals.sample_us)
        yield f"{INTERVALS}/aggr_us", str(self.intervals.aggregation_us)
        yield f"{INTERVALS}/update_us", str(self.intervals.update_us)
        if self.goal:
            goal = f"{INTERVALS}/intervals_goal"
            yield f"{goal}/access_bp", str(self.goal.access_bp)
            yield f"{goal}/aggrs", str(self.goal.aggregations)
            yield f"{goal}/min_sample_us", str(self.goal.min_sample_us)
            yield f"{goal}/max_sample_us", str(self.goal.max_sample_us)
        yield f"{ATTRIBUTES}/nr_regions/min", str(self.min_regions)
        yield f"{ATTRIBUTES}/nr_regions/max", str(self.max_regions)

    def _schemes(self) -> Iterator[Leaf]:
        yield from _stat_scheme("contexts/0/schemes/0", self.region_schemes and not self._target_schemes)
        for index in range(self._target_schemes):
            scheme = f"contexts/0/schemes/{index + 1}"
            yield from _stat_scheme(scheme, matches_all=True)
            yield from _target_filter(f"{scheme}/filters", index)


def skeleton(token: int) -> Iterator[Leaf]:
    """Yield the files that mark a kdamond's folder as ours, which are written before all others."""
    yield "contexts/nr_contexts", "1"
    yield NR_SCHEMES, "1"
    yield TOKEN_FILE, str(token)


def _target(folder: str, target: TargetPlan) -> Iterator[Leaf]:
    if target.pid is not None:
        yield f"{folder}/pid_target", str(target.pid)
    yield f"{folder}/regions/nr_regions", str(len(target.ranges))
    for index, (start, end) in enumerate(target.ranges):
        yield f"{folder}/regions/{index}/start", str(start)
        yield f"{folder}/regions/{index}/end", str(end)


def _stat_scheme(folder: str, matches_all: bool) -> Iterator[Leaf]:
    """A scheme whose upper bounds are 0 matches nothing."""
    pattern = f"{folder}/access_pattern"
    yield f"{folder}/action", "stat"
    yield f"{pattern}/sz/max", str(ANY_SIZE if matches_all else 0)
    yield f"{pattern}/nr_accesses/max", str(ANY_COUNT if matches_all else 0)
    yield f"{pattern}/age/max", str(ANY_COUNT if matches_all else 0)


def _target_filter(folder: str, index: int) -> Iterator[Leaf]:
    """Let pass only one target: before 6.14 filters could but reject, so what does not match is rejected."""
    yield f"{folder}/nr_filters", "1"
    yield f"{folder}/0/type", "target"
    yield f"{folder}/0/damon_target_idx", str(index)
    yield f"{folder}/0/matching", "N"
