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


@both
def test_a_cgroup_that_is_not_there_is_enomem(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write(f"{CONTEXT}/schemes/0/filters/nr_filters", 1)
    kernel.write(f"{CONTEXT}/schemes/0/filters/0/type", "memcg")
    kernel.write(f"{CONTEXT}/schemes/0/filters/0/memcg_path", "/a/b")
    assert command(kernel, "on") == errno.ENOMEM
    kernel.set_cgroups("/a/b")
    assert command(kernel, "on") is None


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
