"""What a DAMOS scheme of ours shall be: a value, the files that it stands for, and what of the kernel it needs."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from damon_exporter.kernel.leaf import ANY_COUNT, ANY_SIZE, Leaf, names_a_cgroup

Bounds = tuple[int, int]
"""Both inclusive."""

NO_NODE = -1


@dataclass(frozen=True, slots=True)
class FilterPlan:
    """One filter; ``settings`` are the files besides type, matching and allow."""

    type: str
    matching: bool
    allow: bool
    settings: tuple[Leaf, ...] = ()


@dataclass(frozen=True, slots=True)
class GoalPlan:
    """One goal of a quota; ``nid`` and ``path`` are None where the metric takes none."""

    metric: str
    target_value: int
    current_value: int = 0
    nid: int | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class QuotaPlan:
    """How much may be tried in ``reset_interval_ms``. 0 is no limit; ``fail_charge`` is a numerator and denominator.

    Without any limit the interval means nothing; it is what damo writes then.
    """

    ms: int = 0
    bytes: int = 0
    reset_interval_ms: int = ANY_SIZE
    weights: tuple[int, int, int] = (0, 0, 0)
    goals: tuple[GoalPlan, ...] = ()
    goal_tuner: str = "consist"
    fail_charge: tuple[int, int] = (0, 0)

    @property
    def limits(self) -> bool:
        """Is there a limit at all?"""
        return bool(self.ms or self.bytes or self.goals)


@dataclass(frozen=True, slots=True)
class WatermarkPlan:
    """When it is active; ``high``, ``mid`` and ``low`` are permil of memory that is free."""

    metric: str = "none"
    interval_us: int = 0
    high: int = 0
    mid: int = 0
    low: int = 0


@dataclass(frozen=True, slots=True)
class SchemePlan:
    """One scheme. ``dests`` are nodes with weights; an ``apply_interval_us`` of 0 is the aggregation interval."""

    name: str
    action: str
    size: Bounds = (0, ANY_SIZE)
    nr_accesses: Bounds = (0, ANY_COUNT)
    age: Bounds = (0, ANY_COUNT)
    apply_interval_us: int = 0
    quota: QuotaPlan = QuotaPlan()
    watermarks: WatermarkPlan = WatermarkPlan()
    core_filters: tuple[FilterPlan, ...] = ()
    ops_filters: tuple[FilterPlan, ...] = ()
    target_nid: int = NO_NODE
    dests: tuple[tuple[int, int], ...] = ()
    max_nr_snapshots: int = 0

    @property
    def cgroups(self) -> tuple[str, ...]:
        """The paths of the cgroups that filters and goals name."""
        of_filters = [each.settings for each in (*self.core_filters, *self.ops_filters)]
        named = [value for settings in of_filters for file, value in settings if names_a_cgroup(file)]
        return (*named, *(goal.path for goal in self.quota.goals if goal.path is not None))

    @property
    def nodes(self) -> tuple[int, ...]:
        """The NUMA nodes that it migrates to, and those of its goals."""
        targets = () if self.target_nid == NO_NODE else (self.target_nid,)
        goals = (goal.nid for goal in self.quota.goals if goal.nid is not None)
        return (*targets, *(node for node, _ in self.dests), *goals)

    def leaves(self, folder: str, offers: Collection[str]) -> Iterator[Leaf]:
        """Yield every file that the kernel ``offers`` (`scheme_features`), with what an older scheme may have set."""
        yield f"{folder}/action", self.action
        yield from _bounds(f"{folder}/access_pattern/sz", self.size)
        yield from _bounds(f"{folder}/access_pattern/nr_accesses", self.nr_accesses)
        yield from _bounds(f"{folder}/access_pattern/age", self.age)
        if "apply_interval_us" in offers:
            yield f"{folder}/apply_interval_us", str(self.apply_interval_us)
        if "target_nid" in offers:
            yield f"{folder}/target_nid", str(self.target_nid)
        yield from _quota(f"{folder}/quotas", self.quota, offers)
        yield from _watermarks(f"{folder}/watermarks", self.watermarks)
        if "core_filters" in offers:
            yield from _filters(f"{folder}/core_filters", self.core_filters, offers)
            yield from _filters(f"{folder}/ops_filters", self.ops_filters, offers)
        elif "filters" in offers:
            yield from _filters(f"{folder}/filters", (*self.core_filters, *self.ops_filters), offers)
        if "dests" in offers:
            yield f"{folder}/dests/nr_dests", str(len(self.dests))
            for index, (node, weight) in enumerate(self.dests):
                yield f"{folder}/dests/{index}/id", str(node)
                yield f"{folder}/dests/{index}/weight", str(weight)
        if "stats/max_nr_snapshots" in offers:
            yield f"{folder}/stats/max_nr_snapshots", str(self.max_nr_snapshots)

    def needs(self, operations: str) -> Iterator[str]:
        """Yield what the kernel must offer, by the keys of `scheme_features.SINCE`, for this to be done as it says."""
        yield f"action={self.action}"
        if self.apply_interval_us:
            yield "apply_interval_us"
        if self.target_nid != NO_NODE:
            yield "target_nid"
        if self.dests:
            yield "dests"
        if self.max_nr_snapshots:
            yield "stats/max_nr_snapshots"
        yield from self._needs_of_quota()
        yield from self._needs_of_filters(operations)
        if operations != "paddr" and self.action.startswith("migrate_"):
            yield "migration of processes"

    def _needs_of_quota(self) -> Iterator[str]:
        if self.quota.goals:
            yield "quotas/goals"
        for goal in self.quota.goals:
            yield f"quotas/goals/0/target_metric={goal.metric}"
        if self.quota.goal_tuner != "consist":
            yield f"quotas/goal_tuner={self.quota.goal_tuner}"
        if self.quota.fail_charge != (0, 0):
            yield "quotas/fail_charge_num"

    def _needs_of_filters(self, operations: str) -> Iterator[str]:
        for each in (*self.core_filters, *self.ops_filters):
            yield f"filters/0/type={each.type}"
            if each.allow:
                yield "filters/0/allow"
        acts = self.action != "stat"
        if operations == "paddr" and acts and not all(each.matching for each in self.core_filters):
            yield "inverted core filters"
        if self.ops_filters and not acts:
            yield "page filters of stat" if operations == "paddr" else "page filters of stat for processes"


def _bounds(folder: str, bounds: Bounds) -> Iterator[Leaf]:
    yield f"{folder}/min", str(bounds[0])
    yield f"{folder}/max", str(bounds[1])


def _quota(folder: str, quota: QuotaPlan, offers: Collection[str]) -> Iterator[Leaf]:
    yield f"{folder}/ms", str(quota.ms)
    yield f"{folder}/bytes", str(quota.bytes)
    yield f"{folder}/reset_interval_ms", str(quota.reset_interval_ms)
    for name, weight in zip(("sz", "nr_accesses", "age"), quota.weights, strict=True):
        yield f"{folder}/weights/{name}_permil", str(weight)
    if "quotas/goals" in offers:
        yield f"{folder}/goals/nr_goals", str(len(quota.goals))
        for index, goal in enumerate(quota.goals):
            yield from _goal(f"{folder}/goals/{index}", goal, offers)
    if "quotas/goal_tuner" in offers:
        yield f"{folder}/goal_tuner", quota.goal_tuner
    if "quotas/fail_charge_num" in offers:
        yield f"{folder}/fail_charge_num", str(quota.fail_charge[0])
        yield f"{folder}/fail_charge_denom", str(quota.fail_charge[1])


def _goal(folder: str, goal: GoalPlan, offers: Collection[str]) -> Iterator[Leaf]:
    if "quotas/goals/0/target_metric" in offers:
        yield f"{folder}/target_metric", goal.metric
    yield f"{folder}/target_value", str(goal.target_value)
    yield f"{folder}/current_value", str(goal.current_value)
    if goal.nid is not None:
        yield f"{folder}/nid", str(goal.nid)
    if goal.path is not None:
        yield f"{folder}/path", goal.path


def _watermarks(folder: str, marks: WatermarkPlan) -> Iterator[Leaf]:
    yield f"{folder}/metric", marks.metric
    yield f"{folder}/interval_us", str(marks.interval_us)
    yield f"{folder}/high", str(marks.high)
    yield f"{folder}/mid", str(marks.mid)
    yield f"{folder}/low", str(marks.low)


def _filters(folder: str, filters: Collection[FilterPlan], offers: Collection[str]) -> Iterator[Leaf]:
    yield f"{folder}/nr_filters", str(len(filters))
    for index, each in enumerate(filters):
        yield f"{folder}/{index}/type", each.type
        yield f"{folder}/{index}/matching", "Y" if each.matching else "N"
        if "filters/0/allow" in offers:
            yield f"{folder}/{index}/allow", "Y" if each.allow else "N"
        for file, value in each.settings:
            yield f"{folder}/{index}/{file}", value
