"""What `on` and `commit` make of the files of schemes."""

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from damon_exporter.testing.fake_kernel.cgroups import Cgroup
from damon_exporter.testing.fake_kernel.memory import Range
from damon_exporter.testing.fake_kernel.staged import flag, items, number, text, word
from damon_exporter.testing.fake_kernel.tree import Directory, fail

UINT = (1 << 32) - 1
ULONG = (1 << 64) - 1
CORE_TYPES = frozenset({"addr", "target"})
CGROUP_METRICS = frozenset({"node_memcg_used_bp", "node_memcg_free_bp"})
PHYSICAL_METRIC = "node_eligible_mem_bp"
FindCgroup = Callable[[str], Cgroup | None]


@dataclass(frozen=True, slots=True)
class Watermarks:
    """When a scheme is active, by the permil of memory that is free; None of it counts without a metric."""

    metric: str = "none"
    interval_us: int = 0
    high: int = 0
    mid: int = 0
    low: int = 0


@dataclass(frozen=True, slots=True)
class Goal:
    """``quotas/goals/G``. ``current`` counts for ``user_input`` only."""

    metric: str
    target: int
    current: int = 0


@dataclass(frozen=True, slots=True)
class Quota:
    """``quotas``; a zero sets no limit."""

    ms: int = 0
    bytes: int = 0
    reset_ms: int = 0
    goals: tuple[Goal, ...] = ()
    tuner: str = "consist"
    fail_charge_num: int = 0
    fail_charge_denom: int = 0
    nr_accesses_weight: int = 0
    age_weight: int = 0


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter of any kind. Before 6.14 there was no ``allow``: all of them reject."""

    type: str
    matching: bool
    allow: bool = False
    addresses: Range = (0, 0)
    target: int = 0
    sizes: Range = (0, 0)
    cgroup: Cgroup | None = None

    @property
    def of_core(self) -> bool:
        """damos_filter_for_ops() says no: it looks at regions, not at pages."""
        return self.type in CORE_TYPES


@dataclass(frozen=True)
class Scheme:
    """``schemes/S``. All bounds are inclusive. ``filters`` are in the order that the kernel has them in."""

    action: str
    size: Range
    nr_accesses: Range
    age: Range
    apply_interval_us: int = 0
    watermarks: Watermarks = Watermarks()
    quota: Quota = Quota()
    filters: tuple[Filter, ...] = ()
    target_nid: int = -1
    max_nr_snapshots: int = 0

    @cached_property
    def core_filters(self) -> tuple[Filter, ...]:
        """Those that look at regions."""
        return tuple(each for each in self.filters if each.of_core)

    @cached_property
    def ops_filters(self) -> tuple[Filter, ...]:
        """Those that look at pages."""
        return tuple(each for each in self.filters if not each.of_core)


def read_schemes(folders: Sequence[Directory], find_cgroup: FindCgroup) -> tuple[Scheme, ...]:
    """damon_sysfs_add_schemes(): whatever is wrong with a scheme, the answer is ENOMEM."""
    try:
        return tuple(read_scheme(folder, find_cgroup) for folder in folders)
    except OSError as error:
        raise fail(errno.ENOMEM) from error


def read_scheme(folder: Directory, find_cgroup: FindCgroup) -> Scheme:
    """damon_sysfs_mk_scheme(), which cuts accesses and ages off to 32 bits, so that 2^32 becomes 0."""
    return Scheme(
        action=word(folder, "action"),
        size=read_span(folder, "access_pattern/sz"),
        nr_accesses=read_span(folder, "access_pattern/nr_accesses", UINT),
        age=read_span(folder, "access_pattern/age", UINT),
        apply_interval_us=number(folder, "apply_interval_us"),
        watermarks=Watermarks(
            word(folder, "watermarks/metric"),
            *(number(folder, f"watermarks/{name}") for name in ("interval_us", "high", "mid", "low")),
        ),
        quota=read_quota(folder, find_cgroup),
        filters=tuple(read_filters(folder, find_cgroup)),
        target_nid=number(folder, "target_nid"),
        max_nr_snapshots=number(folder, "stats/max_nr_snapshots"),
    )


def read_span(folder: Directory, path: str, mask: int = ULONG) -> Range:
    """A pair of files of the access pattern. That the first is the larger is no error: such a scheme never matches."""
    return number(folder, f"{path}/min") & mask, number(folder, f"{path}/max") & mask


def read_quota(folder: Directory, find_cgroup: FindCgroup) -> Quota:
    """All of ``quotas``. No code of the kernel reads what ``weights/sz_permil`` sets."""
    return Quota(
        ms=number(folder, "quotas/ms"),
        bytes=number(folder, "quotas/bytes"),
        reset_ms=number(folder, "quotas/reset_interval_ms"),
        goals=read_goals(folder, find_cgroup),
        tuner=word(folder, "quotas/goal_tuner", default="consist"),
        fail_charge_num=number(folder, "quotas/fail_charge_num"),
        fail_charge_denom=number(folder, "quotas/fail_charge_denom"),
        nr_accesses_weight=number(folder, "quotas/weights/nr_accesses_permil"),
        age_weight=number(folder, "quotas/weights/age_permil"),
    )


def read_goals(folder: Directory, find_cgroup: FindCgroup) -> tuple[Goal, ...]:
    """damos_sysfs_add_quota_score(): a goal without a target value is as if it were not there, whatever its path.

    EINVAL for a cgroup that is not there.
    """
    wanted = [goal for goal in items(folder, "quotas/goals") if number(goal, "target_value")]
    for goal in wanted:
        if word(goal, "target_metric") in CGROUP_METRICS:
            existing_cgroup(text(goal, "path"), find_cgroup)
    return tuple(
        Goal(word(goal, "target_metric"), number(goal, "target_value"), number(goal, "current_value"))
        for goal in wanted
    )


def read_filters(folder: Directory, find_cgroup: FindCgroup) -> Iterator[Filter]:
    """damon_sysfs_add_scheme_filters() for each of the three folders, in the kernel's order."""
    for kind in ("core_filters", "ops_filters", "filters"):
        for each in items(folder, kind):
            yield read_filter(each, find_cgroup)


def read_filter(folder: Directory, find_cgroup: FindCgroup) -> Filter:
    """One filter. EINVAL for a backward range, though an empty one is taken, and for a cgroup that is not there."""
    type_ = word(folder, "type")
    addresses = number(folder, "addr_start"), number(folder, "addr_end")
    sizes = number(folder, "min"), number(folder, "max")
    if (type_ == "addr" and addresses[0] > addresses[1]) or (type_ == "hugepage_size" and sizes[0] > sizes[1]):
        raise fail(errno.EINVAL)
    return Filter(
        type_,
        flag(folder, "matching"),
        flag(folder, "allow"),
        addresses,
        number(folder, "damon_target_idx"),
        sizes,
        existing_cgroup(text(folder, "memcg_path"), find_cgroup) if type_ == "memcg" else None,
    )


def existing_cgroup(path: str, find_cgroup: FindCgroup) -> Cgroup:
    """damon_sysfs_memcg_path_to_id(): found once, now; a cgroup that takes the path over later is another one."""
    cgroup = find_cgroup(path)
    if cgroup is None:
        raise fail(errno.EINVAL)
    return cgroup
