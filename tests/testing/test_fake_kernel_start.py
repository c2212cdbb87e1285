"""Turning kdamonds of the fake kernel on and off, and what it refuses to turn on."""

import errno

import pytest
from driving import wait_for
from staging import (
    CONTEXT,
    GIB,
    NEW,
    OLD,
    UINT,
    Start,
    both,
    command,
    errno_of,
    set_intervals,
    set_scheme,
    stage_physical,
    stage_schemes,
    stage_virtual,
)


@both
def test_on_starts_a_kdamond_that_proc_shows_and_off_ends_it(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    kernel.write("0/state", "on")
    pid = kernel.read("0/pid")
    assert kernel.read("0/state") == "on"
    assert (kernel.procfs / pid / "comm").read_text() == "kdamond.0\n"
    kernel.write("0/state", "off")
    assert (kernel.read("0/state"), kernel.read("0/pid")) == ("off", "-1")
    assert not (kernel.procfs / pid).exists()


def test_the_cpu_time_of_a_kdamond_grows(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    stage_physical(kernel)
    kernel.write("0/state", "on")
    stat = kernel.procfs / kernel.read("0/pid") / "stat"
    wait_for(lambda: int(stat.read_text().split()[14]) > 0)


@both
def test_every_start_has_a_pid_of_its_own(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    pids = []
    for _ in range(2):
        kernel.write("0/state", "on")
        pids.append(kernel.read("0/pid"))
        kernel.write("0/state", "off")
    assert pids[0] != pids[1]


@both
def test_slots_cannot_be_resized_while_one_of_them_runs(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel, slots=2)
    kernel.write("0/state", "on")
    assert [errno_of(lambda n=n: kernel.write("nr_kdamonds", n)) for n in (0, 2, 3)] == [errno.EBUSY] * 3
    assert kernel.read("0/state") == "on"


def test_kdamonds_of_sysfs_run_side_by_side(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    stage_physical(kernel, slots=2)
    kernel.write("1/contexts/nr_contexts", 1)
    kernel.write("1/contexts/0/operations", "paddr")
    kernel.write("0/state", "on")
    kernel.write("1/state", "on")
    names = [(kernel.procfs / kernel.read(f"{slot}/pid") / "comm").read_text() for slot in (0, 1)]
    assert names == ["kdamond.0\n", "kdamond.1\n"]
    kernel.write("1/state", "off")


@both
def test_what_runs_cannot_be_turned_on(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    kernel.write("0/state", "on")
    assert command(kernel, "on") == errno.EBUSY


@both
def test_a_slot_without_context_cannot_be_turned_on(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.write("nr_kdamonds", 1)
    assert command(kernel, "on") == errno.EINVAL


@both
@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("monitoring_attrs/nr_regions/min", 2),
        ("monitoring_attrs/nr_regions/max", 9),
        ("monitoring_attrs/intervals/sample_us", 40_001),
        ("targets/nr_targets", 2),
        ("targets/0/regions/0/end", 4 * GIB),
        ("targets/0/regions/0/end", 0),
    ],
)
def test_bad_attributes_and_targets_are_refused_at_on(fake_kernel: Start, name: str, file: str, value: int) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel, (GIB, 2 * GIB), (3 * GIB, 5 * GIB))
    kernel.write(f"{CONTEXT}/{file}", value)
    assert command(kernel, "on") == errno.EINVAL
    assert kernel.read("0/state") == "off"


@both
def test_a_process_that_is_not_there_is_refused_at_on(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_virtual(kernel, 4711)
    assert command(kernel, "on") == errno.EINVAL


MEMCG = {"filters/nr_filters": 1, "filters/0/type": "memcg"}
ADDRESSES = {"filters/nr_filters": 1, "filters/0/type": "addr", "filters/0/addr_start": 8192}
HUGE = {"ops_filters/nr_filters": 1, "ops_filters/0/type": "hugepage_size", "ops_filters/0/min": 2}
GOAL = {"quotas/goals/nr_goals": 1, "quotas/goals/0/target_value": 100}
CGROUP_GOAL = GOAL | {"quotas/goals/0/target_metric": "node_memcg_used_bp"}
ELIGIBLE_GOAL = GOAL | {"quotas/goals/0/target_metric": "node_eligible_mem_bp"}


@pytest.mark.parametrize(
    ("name", "files", "error"),
    [
        *((name, MEMCG, errno.ENOMEM) for name in (OLD, NEW)),
        *((name, MEMCG | {"filters/0/memcg_path": "/b"}, errno.ENOMEM) for name in (OLD, NEW)),
        *((name, MEMCG | {"filters/0/memcg_path": "a"}, errno.ENOMEM) for name in (OLD, NEW)),
        *((name, MEMCG | {"filters/0/memcg_path": "/a/"}, errno.ENOMEM) for name in (OLD, NEW)),
        *((name, MEMCG | {"filters/0/memcg_path": "/a"}, None) for name in (OLD, NEW)),
        *((name, MEMCG | {"filters/0/memcg_path": "/"}, None) for name in (OLD, NEW)),
        *((name, ADDRESSES | {"filters/0/addr_end": 4096}, errno.ENOMEM) for name in (OLD, NEW)),
        *((name, ADDRESSES | {"filters/0/addr_end": 8192}, None) for name in (OLD, NEW)),
        (NEW, HUGE | {"ops_filters/0/max": 1}, errno.ENOMEM),
        (NEW, HUGE | {"ops_filters/0/max": 2}, None),
        (NEW, CGROUP_GOAL, errno.ENOMEM),
        (NEW, CGROUP_GOAL | {"quotas/goals/0/path": "/b"}, errno.ENOMEM),
        (NEW, CGROUP_GOAL | {"quotas/goals/0/path": "/a"}, None),
        (NEW, CGROUP_GOAL | {"quotas/goals/0/target_value": 0}, None),
        (NEW, ELIGIBLE_GOAL, None),
        (NEW, GOAL | {"quotas/goals/0/nid": 99}, None),
        (NEW, {"core_filters/nr_filters": 1}, None),
        *((name, {"access_pattern/age/min": 2, "access_pattern/age/max": 1}, None) for name in (OLD, NEW)),
        *((name, {"action": "migrate_hot", "target_nid": 99}, None) for name in (OLD, NEW)),
        *((name, {"watermarks/metric": "free_mem_rate", "watermarks/low": 5000}, None) for name in (OLD, NEW)),
    ],
)
def test_what_on_refuses_of_a_scheme(
    fake_kernel: Start, name: str, files: dict[str, object], error: int | None
) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.set_cgroups("/a")
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    set_scheme(kernel, files)
    assert command(kernel, "on") == error


def test_a_goal_for_eligible_memory_needs_physical_memory(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    kernel.add_process(42, "busy")
    stage_virtual(kernel, 42)
    stage_schemes(kernel, (0, UINT))
    set_scheme(kernel, ELIGIBLE_GOAL)
    assert command(kernel, "on") == errno.EINVAL


def test_a_bad_scheme_leaves_the_kdamond_as_it_was_when_it_is_committed(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    pid = kernel.read("0/pid")
    set_scheme(kernel, MEMCG)
    assert command(kernel, "commit") == errno.ENOMEM
    assert kernel.read("0/pid") == pid


def test_goals_for_a_cgroup_that_is_not_there_are_einval_when_they_are_committed_alone(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    set_scheme(kernel, CGROUP_GOAL)
    assert command(kernel, "commit_schemes_quota_goals") == errno.EINVAL


def test_the_goal_of_tuning_must_allow_the_sampling_interval(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    stage_physical(kernel)
    set_intervals(
        kernel,
        **{
            "intervals_goal/access_bp": 400,
            "intervals_goal/aggrs": 3,
            "intervals_goal/min_sample_us": 5_000,
            "intervals_goal/max_sample_us": 10_000,
        },
    )
    assert command(kernel, "on") == errno.EINVAL


@both
def test_off_needs_that_something_was_ever_on(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    assert command(kernel, "off") == errno.EINVAL


@pytest.mark.parametrize(("name", "error"), [(OLD, errno.EPERM), (NEW, None)])
def test_off_after_the_kdamond_has_ended(fake_kernel: Start, name: str, error: int | None) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    kernel.write("0/state", "on")
    kernel.kill_kdamond()
    assert kernel.read("0/state") == "off"
    assert command(kernel, "off") == error


@pytest.mark.parametrize("name", [OLD, NEW])
def test_after_a_refused_on_nothing_was_ever_on(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    kernel.write("0/state", "on")
    kernel.write("0/state", "off")
    kernel.write(f"{CONTEXT}/monitoring_attrs/nr_regions/min", 2)
    assert command(kernel, "on") == errno.EINVAL
    assert command(kernel, "off") == errno.EINVAL
