"""What `on` and `commit` make of the files of a context, with the errors of the kernel for what it refuses."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from damon_exporter.testing.fake_kernel.memory import Range
from damon_exporter.testing.fake_kernel.scheme_parameters import PHYSICAL_METRIC, FindCgroup, Scheme, read_schemes
from damon_exporter.testing.fake_kernel.staged import flag, items, number, text, word
from damon_exporter.testing.fake_kernel.tree import Directory, fail

LEAST_REGIONS = 3


@dataclass(frozen=True, slots=True)
class IntervalsGoal:
    """What auto-tuning aims at: accesses in basis points of what is possible, every ``aggrs`` aggregations."""

    access_bp: int
    aggrs: int
    min_sample_us: int
    max_sample_us: int


@dataclass(frozen=True, slots=True)
class Attributes:
    """``monitoring_attrs``."""

    sample_us: int
    aggr_us: int
    update_us: int
    min_regions: int
    max_regions: int
    goal: IntervalsGoal | None = None

    @property
    def samples_per_aggregation(self) -> int:
        """damon_nr_samples_per_aggr()."""
        return max(self.aggr_us // max(self.sample_us, 1), 1)


@dataclass(frozen=True, slots=True)
class Target:
    """``targets/T``; ``regions`` is empty where the user gave none."""

    pid: int | None
    regions: tuple[Range, ...]
    obsolete: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """All of ``contexts/0``."""

    operations: str
    attributes: Attributes
    targets: tuple[Target, ...]
    schemes: tuple[Scheme, ...]
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the check of parameters asks the rest of the kernel."""

    process_exists: Callable[[int], bool]
    find_cgroup: FindCgroup


def read_context(folder: Directory, surroundings: Surroundings) -> Context:
    """damon_sysfs_build_ctx(): EINVAL for attributes and targets, ENOMEM for anything wrong with a scheme."""
    operations = word(folder, "operations")
    attributes = read_attributes(folder)
    check_probes(folder, surroundings)
    targets = read_targets(folder, operations, surroundings)
    schemes = read_schemes(items(folder, "schemes"), surroundings.find_cgroup)
    check_goals(operations, schemes)
    return Context(operations, attributes, targets, schemes, flag(folder, "pause"))


def read_attributes(folder: Directory) -> Attributes:
    """damon_sysfs_set_attrs(). Writing the files checks nothing; this does."""
    intervals = "monitoring_attrs/intervals"
    goal = IntervalsGoal(
        *(
            number(folder, f"{intervals}/intervals_goal/{name}")
            for name in ("access_bp", "aggrs", "min_sample_us", "max_sample_us")
        )
    )
    attributes = Attributes(
        sample_us=number(folder, f"{intervals}/sample_us"),
        aggr_us=number(folder, f"{intervals}/aggr_us"),
        update_us=number(folder, f"{intervals}/update_us"),
        min_regions=number(folder, "monitoring_attrs/nr_regions/min"),
        max_regions=number(folder, "monitoring_attrs/nr_regions/max"),
        goal=goal if goal.aggrs else None,
    )
    check_attributes(attributes)
    return attributes


def check_attributes(attributes: Attributes) -> None:
    """damon_set_attrs(): EINVAL for what makes no sense together."""
    sample_us, goal = attributes.sample_us, attributes.goal
    if not LEAST_REGIONS <= attributes.min_regions <= attributes.max_regions:
        raise fail(errno.EINVAL)
    if sample_us > attributes.aggr_us or (goal and not goal.min_sample_us <= sample_us <= goal.max_sample_us):
        raise fail(errno.EINVAL)


def check_probes(folder: Directory, surroundings: Surroundings) -> None:
    """A probe whose cgroup is not there: EINVAL."""
    for probe in items(folder, "monitoring_attrs/probes"):
        for filter_ in items(probe, "filters"):
            if word(filter_, "type") == "memcg" and not surroundings.find_cgroup(text(filter_, "path")):
                raise fail(errno.EINVAL)


def read_targets(folder: Directory, operations: str, surroundings: Surroundings) -> tuple[Target, ...]:
    """damon_sysfs_add_targets(): a single target for physical memory, living processes for virtual."""
    folders = items(folder, "targets")
    physical = operations == "paddr"
    if physical and len(folders) > 1:
        raise fail(errno.EINVAL)
    targets = []
    for target in folders:
        pid = number(target, "pid_target")
        if not physical and not surroundings.process_exists(pid):
            raise fail(errno.EINVAL)
        regions = tuple((number(region, "start"), number(region, "end")) for region in items(target, "regions"))
        backward = any(start > end for start, end in regions)
        if backward or any(before[1] > after[0] for before, after in pairwise(regions)):
            raise fail(errno.EINVAL)
        targets.append(Target(None if physical else pid, regions, flag(target, "obsolete_target")))
    return tuple(targets)


def check_goals(operations: str, schemes: tuple[Scheme, ...]) -> None:
    """damon_commit_ctx(): one metric looks at physical memory and is EINVAL elsewhere."""
    metrics = {goal.metric for scheme in schemes for goal in scheme.quota.goals}
    if operations != "paddr" and PHYSICAL_METRIC in metrics:
        raise fail(errno.EINVAL)
