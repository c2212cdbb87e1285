"""From a configured monitor to the kdamond that it needs, and which processes it is about."""

from pathlib import Path
from typing import Any

import pytest
from driving import run_somebodys
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from damon_exporter.config import Monitor, Processes
from damon_exporter.kernel.errors import Unsupported
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.plan import IntervalGoal, IntervalPlan, TargetPlan
from damon_exporter.planning import (
    Abilities,
    Planned,
    WatchedProcess,
    describe_selectors,
    matching_processes,
    plan_monitor,
)
from damon_exporter.testing.fake_kernel import FakeKernel

MIB = 1 << 20
NEW = Abilities(intervals_goal=True, autotune=True, refresh=True, region_schemes=False)
UNHEARD = Abilities(intervals_goal=True, autotune=False, refresh=True, region_schemes=False)
OLD = Abilities(intervals_goal=False, autotune=False, refresh=False, region_schemes=False)
SAMPLED = Abilities(intervals_goal=False, autotune=False, refresh=False, region_schemes=True)


def planned(paths: KernelPaths, abilities: Abilities = NEW, *targets: WatchedProcess, **keys: Any) -> Planned:
    monitor = Monitor.model_validate({"name": "node", "operations": "paddr", **keys})
    return plan_monitor(monitor, targets, abilities, paths)


def matching(kernel: FakeKernel, *match: dict[str, object], **keys: Any) -> tuple[WatchedProcess, ...]:
    return matching_processes(Processes.model_validate({"match": list(match), **keys}), kernel.procfs)


def pids(found: tuple[WatchedProcess, ...]) -> list[int]:
    return [process.pid for process in found]


# Plans


def test_physical_memory_is_all_system_ram(kernel: FakeKernel) -> None:
    found = planned(kernel.paths)
    (target,) = found.plan.targets
    assert target.pid is None
    assert target.ranges == ((0x1000, 0x9F000), (0x100000, 0xC0000000), (0x1_0000_0000, 0x1_4000_0000))
    assert found.names == ("physical",)


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
    found = planned(kernel.paths, SAMPLED, WatchedProcess(42, 1, "a"), WatchedProcess(43, 1, "b"), **processes)
    assert found.plan.targets == (TargetPlan(42), TargetPlan(43))
    assert found.names == ("a", "b")
    assert found.plan.schemes == 3


def test_bounds_of_regions_are_passed_on(kernel: FakeKernel) -> None:
    plan = planned(kernel.paths, regions={"min": 20, "max": 300}).plan
    assert (plan.min_regions, plan.max_regions) == (20, 300)


# Processes


def test_a_name_must_be_exactly_that(kernel: FakeKernel) -> None:
    for pid, comm in ((42, "postgres"), (43, "postgresql"), (44, "Postgres")):
        kernel.add_process(pid, comm)
    assert pids(matching(kernel, {"comm": "postgres"})) == [42]


def test_processes_that_fit_any_entry_are_watched_once(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    kernel.add_process(43, "redis")
    assert sorted(pids(matching(kernel, {"comm": "postgres"}, {"pid": 43}, {"pid": 42}))) == [42, 43]


def test_all_keys_of_an_entry_must_fit(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    assert not matching(kernel, {"pid": 42, "comm": "redis"})
    assert matching(kernel, {"pid": 42, "comm": "postgres"})


def test_no_more_than_the_limit_are_watched_and_those_with_the_largest_resident_sets(kernel: FakeKernel) -> None:
    for pid, rss in ((41, 30), (42, 10), (43, 20), (44, 20)):
        kernel.add_process(pid, "postgres", rss=rss * MIB)
    assert pids(matching(kernel, {"comm": "postgres"}, limit=3)) == [41, 43, 44]
    assert pids(matching(kernel, {"comm": "postgres"}, limit=2)) == [41, 43]


def test_processes_come_in_the_order_of_their_pids_whatever_their_sizes(kernel: FakeKernel) -> None:
    for pid, rss in ((44, 10), (43, 20), (41, 15)):
        kernel.add_process(pid, "postgres", rss=rss * MIB)
    assert pids(matching(kernel, {"comm": "postgres"})) == [41, 43, 44]


WATCHED_42 = WatchedProcess(42, start_ticks=42, name="postgres")  # the fake kernel's processes start at their pid


def test_what_is_watched_stays_however_small_it_has_become_and_the_largest_join_it(kernel: FakeKernel) -> None:
    for pid, rss in ((41, 30), (42, 1), (43, 40)):
        kernel.add_process(pid, "postgres", rss=rss * MIB)
    chosen = Processes.model_validate({"match": [{"comm": "postgres"}], "limit": 2, "min_rss": "16MiB"})
    assert pids(matching_processes(chosen, kernel.procfs, [WATCHED_42])) == [42, 43]
    assert pids(matching_processes(chosen, kernel.procfs)) == [41, 43]


def test_what_was_watched_and_has_another_name_by_now_makes_way(kernel: FakeKernel) -> None:
    kernel.add_process(41, "postgres")
    kernel.add_process(42, "sh")
    chosen = Processes.model_validate({"match": [{"comm": "postgres"}]})
    assert pids(matching_processes(chosen, kernel.procfs, [WATCHED_42])) == [41]


def test_a_process_with_the_pid_of_a_watched_one_that_has_ended_has_no_place_of_its_own(kernel: FakeKernel) -> None:
    kernel.add_process(41, "postgres", rss=30 * MIB)
    kernel.add_process(42, "postgres", rss=20 * MIB)
    chosen = Processes.model_validate({"match": [{"comm": "postgres"}], "limit": 1})
    earlier = WatchedProcess(42, start_ticks=7, name="postgres")
    assert pids(matching_processes(chosen, kernel.procfs, [earlier])) == [41]


def test_small_ones_are_left_out(kernel: FakeKernel) -> None:
    for pid, rss in ((41, 16), (42, 15)):
        kernel.add_process(pid, "postgres", rss=rss * MIB)
    assert pids(matching(kernel, {"comm": "postgres"}, min_rss="16MiB")) == [41]


def test_zombies_and_kernel_threads_are_left_out(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    kernel.end_process(42)
    assert not matching(kernel, {"comm": "postgres"})
    assert not matching(kernel, {"pid": run_somebodys(kernel)})


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{comm}", "postgres"),
        ("{pid}", "42"),
        ("{comm}-{pid}", "postgres-42"),
        ("db {comm}", "db postgres"),
        ("db", "db"),
    ],
)
def test_groups_are_named_by_the_template(kernel: FakeKernel, template: str, name: str) -> None:
    kernel.add_process(42, "postgres")
    assert matching(kernel, {"comm": "postgres"}, group_by=template)[0].name == name


@pytest.mark.parametrize(
    ("comm", "name"),
    [
        ("a b", "a b"),
        ("naïve", "naïve"),
        ("{pid}", "{pid}"),
        ("{0.__class__}", "{0.__class__}"),
        ("evil) S 1 1", "evil) S 1 1"),
        ("two\nlines", r"two\x0alines"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("tab\there", r"tab\x09here"),
    ],
)
def test_names_that_processes_give_themselves_are_shown_printable_and_as_they_are(
    kernel: FakeKernel, comm: str, name: str
) -> None:
    kernel.add_process(42, comm)
    assert matching(kernel, {"pid": 42}, group_by="{comm}")[0].name == name


@given(st.binary(min_size=1, max_size=15).filter(lambda comm: b"\0" not in comm))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_makes_a_printable_label(tmp_path: Path, comm: bytes) -> None:
    (tmp_path / "42").mkdir(exist_ok=True)
    (tmp_path / "42/stat").write_bytes(b"42 (" + comm + b") S 1" + b" 0" * 48 + b"\n")
    (found,) = matching_processes(Processes.model_validate({"match": [{"pid": 42}]}), tmp_path)
    assert found.name.isprintable()
    found.name.encode()


def test_without_procfs_it_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        matching_processes(Processes.model_validate({"match": [{"comm": "a"}]}), tmp_path / "proc")


def test_what_is_looked_for_is_said_in_words() -> None:
    match = [{"comm": "postgres"}, {"pid": 42}, {"pid": 43, "comm": "redis"}]
    chosen = Processes.model_validate({"match": match})
    assert describe_selectors(chosen) == "comm 'postgres' or pid 42 or pid 43 with comm 'redis'"
