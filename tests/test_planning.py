"""From a configured monitor to the kdamond that it needs."""

from pathlib import Path
from typing import Any

import pytest

from damon_exporter.config import Monitor
from damon_exporter.kernel.errors import Unsupported
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.plan import IntervalGoal, IntervalPlan, TargetPlan
from damon_exporter.planning import Abilities, Planned, plan_monitor
from damon_exporter.roster import ListedTarget, WatchedProcess
from damon_exporter.seating import seated
from damon_exporter.testing.fake_kernel import FakeKernel

NEW = Abilities(intervals_goal=True, autotune=True, refresh=True, region_schemes=False, commits_keep_time=False)
UNHEARD = Abilities(intervals_goal=True, autotune=False, refresh=True, region_schemes=False, commits_keep_time=False)
OLD = Abilities(intervals_goal=False, autotune=False, refresh=False, region_schemes=False, commits_keep_time=False)
SAMPLED = Abilities(intervals_goal=False, autotune=False, refresh=False, region_schemes=True, commits_keep_time=False)


def planned(paths: KernelPaths, abilities: Abilities = NEW, *targets: ListedTarget, **keys: Any) -> Planned:
    monitor = Monitor.model_validate({"name": "node", "operations": "paddr", **keys})
    return plan_monitor(monitor, targets, abilities, paths)


# Plans


def test_physical_memory_is_all_system_ram(kernel: FakeKernel) -> None:
    found = planned(kernel.paths)
    (target,) = found.plan.targets
    assert target.pid is None
    assert target.ranges == ((0x1000, 0x9F000), (0x100000, 0xC0000000), (0x1_0000_0000, 0x1_4000_0000))
    assert [target.name for target in found.targets] == ["physical"]


def test_ranges_that_are_given_need_no_memory_map(tmp_path: Path) -> None:
    nowhere = KernelPaths(tmp_path, tmp_path, tmp_path)
    assert planned(nowhere, ranges=[["1GiB", "2GiB"]]).plan.targets == (TargetPlan(None, ((1 << 30, 2 << 30),)),)
    with pytest.raises(Unsupported, match=r"set monitors\[\]\.ranges"):
        planned(nowhere)


def test_intervals_are_tuned_where_the_kernel_can_and_tells_of_it(kernel: FakeKernel) -> None:
    assert planned(kernel.paths, NEW).plan.goal == IntervalGoal(400, 3, 5_000, 250_000)
    assert planned(kernel.paths, UNHEARD).plan.goal == IntervalGoal()
    assert planned(kernel.paths, OLD).plan.goal is None


@pytest.mark.parametrize("abilities", [NEW, UNHEARD, OLD])
def test_tuning_starts_from_what_stands_in_for_it(kernel: FakeKernel, abilities: Abilities) -> None:
    assert planned(kernel.paths, abilities).plan.intervals == IntervalPlan(5_000, 100_000, 1_000_000)


@pytest.mark.parametrize("abilities", [NEW, OLD])
def test_fixed_intervals_are_taken_as_they_are(kernel: FakeKernel, abilities: Abilities) -> None:
    plan = planned(kernel.paths, abilities, intervals={"sample": "10ms", "aggregation": "1s", "update": "5s"}).plan
    assert plan.intervals == IntervalPlan(10_000, 1_000_000, 5_000_000)
    assert not plan.tuned


def test_files_are_refreshed_where_the_kernel_can(kernel: FakeKernel) -> None:
    assert planned(kernel.paths, NEW).plan.refresh_ms == 1000
    assert planned(kernel.paths, OLD).plan.refresh_ms is None


def test_processes_are_targets_by_pid_under_the_names_of_their_groups(kernel: FakeKernel) -> None:
    processes = {"operations": "vaddr", "processes": {"match": [{"comm": "a"}]}}
    found = planned(
        kernel.paths, SAMPLED, *seated((WatchedProcess(42, 1, "a"), WatchedProcess(43, 1, "b"))), **processes
    )
    assert found.plan.targets == (TargetPlan(42), TargetPlan(43))
    assert [target.name for target in found.targets] == ["a", "b"]
    assert found.plan.nr_schemes == 3


def test_bounds_of_regions_are_passed_on(kernel: FakeKernel) -> None:
    plan = planned(kernel.paths, regions={"min": 20, "max": 300}).plan
    assert (plan.min_regions, plan.max_regions) == (20, 300)


@pytest.mark.parametrize(("targets", "most"), [(1, 300), (6, 500), (10, 500), (11, 1000), (64, 3500)])
def test_many_targets_raise_the_bound_that_they_share(kernel: FakeKernel, targets: int, most: int) -> None:
    listed = seated([WatchedProcess(pid, 1, "a") for pid in range(1, targets + 1)])
    processes = {"operations": "vaddr", "processes": {"match": [{"comm": "a"}]}, "regions": {"max": 300}}
    assert planned(kernel.paths, OLD, *listed, **processes).plan.max_regions == most


def test_the_bound_is_not_lowered_while_the_kdamond_runs(kernel: FakeKernel) -> None:
    monitor = Monitor.model_validate({"name": "a", "operations": "vaddr", "processes": {"match": [{"comm": "a"}]}})
    found = plan_monitor(monitor, seated([WatchedProcess(42, 1, "a")]), OLD, kernel.paths, least_max_regions=3500)
    assert found.plan.max_regions == 3500
