"""What `on` and `commit` make of the files of a context, with the errors of the kernel for what it refuses."""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from damon_exporter.testing.fake_kernel.tree import Directory, fail
from damon_exporter.testing.fake_kernel.values import Choice, Flag, Number, Numbered, Text

UINT = (1 << 32) - 1
LEAST_REGIONS = 3
Range = tuple[int, int]


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
class Watermarks:
    """When a scheme is active, by the permil of memory that is free; None of it counts without a metric."""

    metric: str
    interval_us: int
    high: int
    mid: int
    low: int


@dataclass(frozen=True, slots=True)
class Scheme:
    """``schemes/S``. All bounds are inclusive."""

    action: str
    size: Range
    nr_accesses: Range
    age: Range
    apply_interval_us: int
    watermarks: Watermarks
    only_target: int | None = None
    quota_bytes: int = 0


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
    cgroup_exists: Callable[[str], bool]


def number(folder: Directory, path: str) -> int:
    """The value of a number file; 0 where this kernel has no such file."""
    try:
        return folder.get(path, Number).value
    except KeyError:
        return 0


def word(folder: Directory, path: str) -> str:
    """The value of a file of words."""
    return folder.get(path, Choice).value


def text(folder: Directory, path: str) -> str:
    """The value of a file of free text."""
    return folder.get(path, Text).value


def flag(folder: Directory, path: str) -> bool:
    """The value of a Y/N file; N where this kernel has no such file."""
    try:
        return folder.get(path, Flag).value
    except KeyError:
        return False


def items(folder: Directory, path: str) -> Sequence[Directory]:
    """The numbered folders below a path; none where this kernel has no such folder."""
    try:
        return folder.get(path, Numbered).items
    except KeyError:
        return ()


def read_context(folder: Directory, surroundings: Surroundings) -> Context:
    """damon_sysfs_build_ctx(): EINVAL for attributes and targets, ENOMEM for anything wrong with a scheme."""
    operations = word(folder, "operations")
    attributes = read_attributes(folder)
    check_probes(folder, surroundings)
    targets = read_targets(folder, operations, surroundings)
    schemes = tuple(read_scheme(scheme, surroundings) for scheme in items(folder, "schemes"))
    return Context(operations, attributes, targets, schemes, flag(folder, "pause"))


def read_attributes(folder: Directory) -> Attributes:
    """damon_set_attrs(). Writing the files checks nothing; this does."""
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
    if not LEAST_REGIONS <= attributes.min_regions <= attributes.max_regions:
        raise fail(errno.EINVAL)
    if attributes.sample_us > attributes.aggr_us:
        raise fail(errno.EINVAL)
    if attributes.goal and not goal.min_sample_us <= attributes.sample_us <= goal.max_sample_us:
        raise fail(errno.EINVAL)
    return attributes


def check_probes(folder: Directory, surroundings: Surroundings) -> None:
    """A probe whose cgroup is not there: EINVAL."""
    for probe in items(folder, "monitoring_attrs/probes"):
        for filter_ in items(probe, "filters"):
            if word(filter_, "type") == "memcg" and not surroundings.cgroup_exists(text(filter_, "path")):
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


def read_scheme(folder: Directory, surroundings: Surroundings) -> Scheme:
    """damon_sysfs_mk_scheme(), which cuts accesses and ages off to 32 bits, so that 2^32 becomes 0."""

    def span(name: str, mask: int = -1) -> Range:
        pattern = f"access_pattern/{name}"
        return number(folder, f"{pattern}/min") & mask, number(folder, f"{pattern}/max") & mask

    return Scheme(
        action=word(folder, "action"),
        size=span("sz"),
        nr_accesses=span("nr_accesses", UINT),
        age=span("age", UINT),
        apply_interval_us=number(folder, "apply_interval_us"),
        watermarks=Watermarks(
            word(folder, "watermarks/metric"),
            *(number(folder, f"watermarks/{name}") for name in ("interval_us", "high", "mid", "low")),
        ),
        only_target=read_filters(folder, surroundings),
        quota_bytes=number(folder, "quotas/bytes"),
    )


def read_filters(folder: Directory, surroundings: Surroundings) -> int | None:
    """The target that a filter lets through, None for all.

    A cgroup that is not there, or a range that ends before it starts: ENOMEM, as all that is wrong with a scheme.
    """
    only_target = None
    for kind in ("core_filters", "ops_filters", "filters"):
        for filter_ in items(folder, kind):
            type_ = word(filter_, "type")
            if type_ == "memcg" and not surroundings.cgroup_exists(text(filter_, "memcg_path")):
                raise fail(errno.ENOMEM)
            if type_ == "addr" and number(filter_, "addr_start") > number(filter_, "addr_end"):
                raise fail(errno.ENOMEM)
            if type_ == "target" and flag(filter_, "matching") == flag(filter_, "allow"):
                only_target = number(filter_, "damon_target_idx")
    return only_target
