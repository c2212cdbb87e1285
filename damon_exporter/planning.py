"""From a configured monitor to the kdamond that it needs on this kernel, with these processes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from damon_exporter.config import AutotunedIntervals, Monitor
from damon_exporter.kernel import cgroups, memory, memory_nodes
from damon_exporter.kernel.damon_sysfs import Slot
from damon_exporter.kernel.errors import Unsupported
from damon_exporter.kernel.features import GOAL
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.plan import ADDR_UNIT, PAUSE, PROBES, IntervalGoal, IntervalPlan, KdamondPlan, TargetPlan
from damon_exporter.kernel.scheme_features import SINCE
from damon_exporter.kernel.scheme_plan import SchemePlan
from damon_exporter.roster import PHYSICAL, ListedTarget
from damon_exporter.scheme_planning import plan_schemes, probe_filters
from damon_exporter.units import format_duration

REFRESH_MS = 1000
"""How often the kernel shows tuned intervals in their files, where it can."""

TUNING = "damon_monitor_intervals_tune"
"""The event, and the feature, that tells of tuned intervals."""

NO_TUNING = "this kernel cannot tune intervals and tell of it (kernels from 6.17 on do)"


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the kernel offers to a kdamond of ours, as its slot's files show."""

    intervals_goal: bool
    """Are there files for a goal of auto-tuning?"""
    autotune: bool
    """May tuning be turned on: shall we hear of the intervals that come out of it?"""
    refresh: bool
    region_schemes: bool
    """Shall regions be read from sysfs (no tracepoint)?"""
    commits_keep_time: bool
    """Do aggregations and looks at mappings come when they would have come without a commit (6.18)?"""
    addr_unit: bool = False
    pause: bool = False
    probes: bool = False
    offers: frozenset[str] = frozenset()
    """What there is for schemes, by the keys of `scheme_features.SINCE`."""


EVERYTHING = Abilities(
    intervals_goal=True,
    autotune=True,
    refresh=True,
    region_schemes=False,
    commits_keep_time=True,
    addr_unit=True,
    pause=True,
    probes=True,
    offers=frozenset(SINCE),
)
"""What the newest kernel offers that is known here: for plans while there is no slot to look at."""


def abilities_of(slot: Slot, by_sysfs: bool, tuning_is_told: bool, offers: frozenset[str]) -> Abilities:
    """Return what a slot shows; tuned intervals must be told to us, by refreshed files and by events."""
    goal, refresh, unit = slot.has(GOAL), slot.has("refresh_ms"), slot.has(ADDR_UNIT)
    return Abilities(
        intervals_goal=goal,
        autotune=goal and refresh and tuning_is_told,
        refresh=refresh,
        region_schemes=by_sysfs,
        commits_keep_time=unit,  # which came with the same release
        addr_unit=unit,
        pause=slot.has(PAUSE),
        probes=slot.has(PROBES),
        offers=offers,
    )


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what is known of each of its targets by index. ``left_out`` says which schemes are, and why."""

    plan: KdamondPlan
    targets: tuple[ListedTarget, ...]
    left_out: tuple[str, ...] = ()

    def going_on(self) -> "Planned":
        """Return it for a kdamond that runs: ranges given for mappings are only where it begins to look (vaddr)."""
        if self.plan.operations != "vaddr":
            return self
        targets = tuple(replace(target, ranges=()) for target in self.plan.targets)
        return replace(self, plan=replace(self.plan, targets=targets))


def plan_monitor(
    monitor: Monitor,
    targets: tuple[ListedTarget, ...],
    abilities: Abilities,
    paths: KernelPaths,
    least_max_regions: int = 0,
) -> Planned:
    """Return the kdamond for a monitor; raises `KernelError` if physical memory cannot be found.

    ``regions.max`` holds for all targets together, so it is raised where they are many. ``least_max_regions`` is what
    it has been raised to: lowering it while the kdamond runs would merge regions at once, and coarsely.
    """
    intervals, goal = _intervals(monitor, abilities)
    if monitor.operations == "paddr":
        ranges = monitor.ranges or memory.system_ram(paths.sysfs)
        targets = (ListedTarget(PHYSICAL),)
        planned: tuple[TargetPlan, ...] = (TargetPlan(None, ranges),)
    else:
        planned = tuple(_target(monitor, target.process.pid if target.process else None) for target in targets)
    schemes, left_out = plan_schemes(monitor, intervals, abilities.offers)
    _require_what_is_named(paths, schemes)
    _require_cgroups(paths, "a probe", (found.path for probe in monitor.probes for found in probe.filters))
    _require_files(monitor, abilities)
    plan = KdamondPlan(
        operations=monitor.operations,
        intervals=intervals,
        goal=goal,
        min_regions=monitor.regions.min,
        max_regions=max(monitor.regions.raised(len(targets)), least_max_regions),
        targets=planned,
        refresh_ms=REFRESH_MS if abilities.refresh else None,
        region_schemes=abilities.region_schemes,
        schemes=schemes,
        offers=tuple(sorted(abilities.offers)) if schemes else (),
        addr_unit=monitor.addr_unit if abilities.addr_unit else None,
        pause=monitor.pause if abilities.pause else None,
        probes=tuple(probe_filters(probe.filters) for probe in monitor.probes) if abilities.probes else None,
    )
    return Planned(plan, targets, left_out)


def _target(monitor: Monitor, pid: int | None) -> TargetPlan:
    """Return the target for a process, with ranges of its own or those of the monitor."""
    entries = monitor.processes.match if monitor.processes else ()
    own = next((entry.ranges for entry in entries if entry.pid == pid and entry.ranges), None)
    return TargetPlan(pid, own or monitor.ranges or ())


def _require_files(monitor: Monitor, abilities: Abilities) -> None:
    """Raise `Unsupported` for what this kernel has no file for."""
    for key, asked, has, release in (
        ("addr_unit", monitor.addr_unit != 1, abilities.addr_unit, "6.18"),
        ("pause", monitor.pause, abilities.pause, "7.2"),
        ("probes", bool(monitor.probes), abilities.probes, "7.2"),
    ):
        if asked and not has:
            raise Unsupported(f"this kernel has no {key} (Linux {release}): leave it out")


def _require_what_is_named(paths: KernelPaths, schemes: Iterable[SchemePlan]) -> None:
    """Raise `Unsupported` for a cgroup or a NUMA node that is not there.

    The kernel would take the node in silence.
    """
    for scheme in schemes:
        _require_cgroups(paths, f"scheme {scheme.name}", scheme.cgroups)
        for node in scheme.nodes:
            if not memory_nodes.has(paths.sysfs, node):
                raise Unsupported(f"scheme {scheme.name} names the NUMA node {node}, which this host does not have")


def _require_cgroups(paths: KernelPaths, who: str, named: Iterable[str | None]) -> None:
    """Raise `Unsupported` for a cgroup that is not there: the kernel would refuse everything for it, with ENOMEM."""
    for path in named:
        if path is not None and cgroups.lacks(paths.sysfs, path):
            raise Unsupported(
                f"{who} names the cgroup {path}, which is not there, or without the memory controller: make it first, "
                "or write its path as /proc/PID/cgroup shows it"
            )


def instead_of_tuning(monitor: Monitor) -> str | None:
    """Say what is used where tuning that the configuration asks for is not to be had; None if it asks for none."""
    wanted = monitor.intervals
    if not isinstance(wanted, AutotunedIntervals) or not wanted.asked_for:
        return None
    sample, aggregation = format_duration(wanted.fallback.sample_us), format_duration(wanted.fallback.aggregation_us)
    return f"sample {sample} and aggregation {aggregation} are used instead of autotune"


def _intervals(monitor: Monitor, abilities: Abilities) -> tuple[IntervalPlan, IntervalGoal | None]:
    wanted = monitor.intervals
    goal = IntervalGoal() if abilities.intervals_goal else None
    if isinstance(wanted, AutotunedIntervals):
        if abilities.autotune:
            goal = IntervalGoal(wanted.access_ratio_bp, wanted.aggregations, wanted.min_sample_us, wanted.max_sample_us)
        wanted = wanted.fallback
    return IntervalPlan(wanted.sample_us, wanted.aggregation_us, wanted.update_us), goal
