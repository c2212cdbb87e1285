"""From a configured monitor to the kdamond that it needs on this kernel, with these processes."""

from dataclasses import dataclass

from damon_exporter.config import AutotunedIntervals, Monitor
from damon_exporter.kernel import memory
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.plan import IntervalGoal, IntervalPlan, KdamondPlan, TargetPlan
from damon_exporter.roster import PHYSICAL, ListedTarget
from damon_exporter.units import format_duration

REFRESH_MS = 1000
"""How often the kernel shows tuned intervals in their files, where it can."""

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


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what is known of each of its targets by index."""

    plan: KdamondPlan
    targets: tuple[ListedTarget, ...]


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
        ranges = monitor.ranges or ()
        planned = tuple(TargetPlan(target.process.pid if target.process else None, ranges) for target in targets)
    plan = KdamondPlan(
        operations=monitor.operations,
        intervals=intervals,
        goal=goal,
        min_regions=monitor.regions.min,
        max_regions=max(monitor.regions.raised(len(targets)), least_max_regions),
        targets=planned,
        refresh_ms=REFRESH_MS if abilities.refresh else None,
        region_schemes=abilities.region_schemes,
    )
    return Planned(plan, targets)


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
