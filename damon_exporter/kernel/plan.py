"""What a kdamond of ours shall be: a value, and the files that it stands for."""

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from damon_exporter.kernel.leaf import ANY_COUNT, ANY_SIZE, Leaf, makes_folders, names_a_cgroup
from damon_exporter.kernel.memory import PAGE_SIZE, Ranges
from damon_exporter.kernel.scheme_plan import FilterPlan, SchemePlan

STARTER = (0, PAGE_SIZE)
"""The page that no process has memory in, as pointers to nothing shall fail."""

REFRESH = "refresh_ms"
ATTRIBUTES = "contexts/0/monitoring_attrs"
INTERVALS = f"{ATTRIBUTES}/intervals"
TARGETS = "contexts/0/targets"
NR_SCHEMES = "contexts/0/schemes/nr_schemes"
TOKEN_FILE = "contexts/0/schemes/0/quotas/reset_interval_ms"  # noqa: S105 - a mark, not a secret
SPARE_TOKEN_FILE = f"{INTERVALS}/update_us"
"""Where the token stands while schemes are made anew: it must never be lost, and an interval counts only at `on`."""

ADDR_UNIT = "contexts/0/addr_unit"
PAUSE = "contexts/0/pause"
PROBES = f"{ATTRIBUTES}/probes"


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

    Scheme 0 carries our token and acts on nothing; ``schemes`` follow. ``region_schemes`` is for the sysfs source: it
    makes scheme 0 match every region, or, with several targets, adds a scheme per target at the end, as regions do not
    tell their target. What is None is a file that the kernel does not have; ``offers`` is what it has for schemes.
    ``addr_unit`` is what ranges and sizes are counted in. Each of ``probes`` is its filters.
    """

    operations: str
    intervals: IntervalPlan
    goal: IntervalGoal | None
    min_regions: int
    max_regions: int
    targets: tuple[TargetPlan, ...]
    refresh_ms: int | None
    region_schemes: bool
    schemes: tuple[SchemePlan, ...] = ()
    offers: tuple[str, ...] = ()
    addr_unit: int | None = None
    pause: bool | None = None
    probes: tuple[tuple[FilterPlan, ...], ...] | None = None

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
    def nr_schemes(self) -> int:
        """How many schemes there are, with scheme 0."""
        return 1 + sum(self.scheme_layout)

    @property
    def scheme_layout(self) -> tuple[int, int]:
        """How many schemes are for a purpose, and how many to read regions."""
        return len(self.schemes), self._target_schemes

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
            yield REFRESH, str(self.refresh_ms)
        yield "contexts/0/operations", self.operations
        if self.addr_unit is not None:
            yield ADDR_UNIT, str(self.addr_unit)
        if self.pause is not None:
            yield PAUSE, _flag(self.pause)
        yield from self._attributes()
        yield f"{TARGETS}/nr_targets", str(len(self.targets))
        for index, target in enumerate(self.targets):
            yield from _target(f"{TARGETS}/{index}", target)
        yield from self._schemes()

    def lasting(self) -> Iterator[Leaf]:
        """Yield the files that show what runs, and that nobody but another tool changes."""
        yield NR_SCHEMES, str(self.nr_schemes)
        yield from (leaf for leaf in self.untuned() if not names_a_cgroup(leaf[0]))

    def untuned(self) -> Iterator[Leaf]:
        """Yield the files but for the intervals that the kernel tunes."""
        tuned = (f"{INTERVALS}/sample_us", f"{INTERVALS}/aggr_us") if self.tuned else ()
        return (leaf for leaf in self.leaves() if leaf[0] not in tuned)

    def changes(self, running: "KdamondPlan") -> Iterator[Leaf]:
        """Yield the files to write where those of ``running`` stand, whose schemes are as many.

        The intervals that the kernel tunes are left as they are, unless it did not tune them before.
        """
        standing = set(running.leaves())
        made_anew: tuple[str, ...] = ()
        for file, value in self.untuned() if running.tuned else self.leaves():
            if (file, value) not in standing or file.startswith(made_anew):
                yield file, value
                if makes_folders(file):
                    made_anew += (f"{file.rpartition('/')[0]}/",)

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
        if self.probes is not None:
            yield f"{PROBES}/nr_probes", str(len(self.probes))
            for index, filters in enumerate(self.probes):
                yield from _probe(f"{PROBES}/{index}", filters)

    def _schemes(self) -> Iterator[Leaf]:
        yield from _stat_scheme(scheme_folder(0), self.region_schemes and not self._target_schemes)
        for index, scheme in enumerate(self.schemes, start=1):
            yield from scheme.leaves(scheme_folder(index), self.offers)
        for index in range(self._target_schemes):
            folder = scheme_folder(1 + len(self.schemes) + index)
            yield from _stat_scheme(folder, matches_all=True)
            yield from _target_filter(f"{folder}/filters", index)


def scheme_folder(index: int) -> str:
    """Return the folder of a scheme, below its kdamond's."""
    return f"contexts/0/schemes/{index}"


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


def _probe(folder: str, filters: tuple[FilterPlan, ...]) -> Iterator[Leaf]:
    yield f"{folder}/filters/nr_filters", str(len(filters))
    for index, each in enumerate(filters):
        yield f"{folder}/filters/{index}/type", each.type
        yield f"{folder}/filters/{index}/matching", _flag(each.matching)
        yield f"{folder}/filters/{index}/allow", _flag(each.allow)
        for file, value in each.settings:
            yield f"{folder}/filters/{index}/{file}", value


def _flag(value: bool) -> str:
    return "Y" if value else "N"
