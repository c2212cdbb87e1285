"""What happens to kdamonds of the fake kernel as time goes by."""

import errno
import time

import pytest
from driving import wait_for
from staging import (
    CONTEXT,
    GIB,
    INTERVALS,
    MIB,
    NEW,
    OLD,
    UINT,
    Start,
    both,
    command,
    in_flight,
    set_intervals,
    stage_physical,
    stage_schemes,
    stage_virtual,
    tried,
)

from damon_exporter.testing.fake_kernel import FakeKernel


@pytest.mark.parametrize(("name", "resets"), [(OLD, False), (NEW, True)])
def test_a_small_step_down_to_zero_accesses_resets_the_age_only_since_7_3(
    fake_kernel: Start, name: str, resets: bool
) -> None:
    kernel = fake_kernel(kernel=name)
    rest = (GIB + 512 * MIB, 2 * GIB, 1.0)
    kernel.set_physical_heat([(GIB, GIB + 512 * MIB, 0.05), rest])
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    wait_for(lambda: first_region(kernel)["age"] >= 15)
    kernel.set_physical_heat([rest])
    wait_for(lambda: first_region(kernel)["nr_accesses"] == 0)
    assert (first_region(kernel)["age"] < 15) is resets


def first_region(kernel: FakeKernel) -> dict[str, int]:
    kernel.write("0/state", "update_schemes_tried_regions")
    return tried(kernel)[0]


def test_tuning_doubles_the_intervals_of_idle_memory_and_refresh_ms_shows_it(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    start_tuning(kernel)
    kernel.write("0/refresh_ms", 20)
    wait_for(lambda: kernel.read(f"{INTERVALS}/sample_us") == "8000")
    assert kernel.read(f"{INTERVALS}/aggr_us") == "160000"


def test_without_refresh_ms_the_files_show_tuned_intervals_only_after_an_update(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    start_tuning(kernel)
    time.sleep(0.3)
    assert kernel.read(f"{INTERVALS}/sample_us") == "2000"
    wait_for(lambda: tuned_sample_us(kernel) == 8_000)


def test_a_commit_of_stale_files_resets_the_tuning(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    start_tuning(kernel)
    wait_for(lambda: tuned_sample_us(kernel) == 8_000)
    set_intervals(kernel, sample_us=2_000, aggr_us=40_000)
    kernel.write("0/state", "commit")
    assert tuned_sample_us(kernel) < 8_000


def tuned_sample_us(kernel: FakeKernel) -> int:
    kernel.write("0/state", "update_tuned_intervals")
    return int(kernel.read(f"{INTERVALS}/sample_us"))


def start_tuning(kernel: FakeKernel) -> None:
    """Idle memory, tuned after every second aggregation up to four times the interval."""
    kernel.set_physical_heat([])
    stage_physical(kernel)
    set_intervals(
        kernel,
        **{
            "intervals_goal/access_bp": 400,
            "intervals_goal/aggrs": 2,
            "intervals_goal/min_sample_us": 1_000,
            "intervals_goal/max_sample_us": 8_000,
        },
    )
    kernel.write("0/state", "on")


@both
def test_a_kdamond_ends_when_its_last_process_is_reaped_and_not_before(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.add_process(42, "busy")
    kernel.add_process(43, "other")
    stage_virtual(kernel, 42, 43)
    kernel.write("0/state", "on")
    kernel.remove_process(43)
    kernel.end_process(42)
    time.sleep(0.1)
    assert kernel.read("0/state") == "on"
    kernel.remove_process(42)
    wait_for(lambda: kernel.read("0/state") == "off")


@both
def test_a_target_added_by_commit_has_no_regions_until_the_next_update(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.add_process(42, "busy")
    kernel.add_process(43, "other", memory=[(GIB, 2 * GIB, 0.0)])
    stage_virtual(kernel, 42)
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    kernel.write(f"{CONTEXT}/targets/nr_targets", 2)
    kernel.write(f"{CONTEXT}/targets/0/pid_target", 42)
    kernel.write(f"{CONTEXT}/targets/1/pid_target", 43)
    kernel.write("0/state", "commit")
    kernel.write("0/state", "update_schemes_tried_regions")
    assert not any(region["start"] == GIB for region in tried(kernel))
    set_intervals(kernel, update_us=50_000)
    kernel.write("0/state", "commit")
    wait_for(lambda: first_region(kernel)["start"] != GIB and any(r["start"] == GIB for r in tried(kernel)))


def sleep_by_watermarks(kernel: FakeKernel) -> None:
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    marks = f"{CONTEXT}/schemes/0/watermarks"
    for file, value in (
        ("metric", "free_mem_rate"),
        ("interval_us", 100_000),
        ("high", 400),
        ("mid", 300),
        ("low", 200),
    ):
        kernel.write(f"{marks}/{file}", value)
    kernel.write("0/state", "on")


@pytest.mark.parametrize(("name", "error"), [(OLD, None), (NEW, errno.ECANCELED)])
def test_asleep_by_watermarks_there_is_nothing_to_try(fake_kernel: Start, name: str, error: int | None) -> None:
    kernel = fake_kernel(kernel=name)
    sleep_by_watermarks(kernel)
    assert command(kernel, "update_schemes_tried_regions") == error
    assert tried(kernel) == []


def test_asleep_by_watermarks_a_commit_hangs_until_off_on_6_12(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=OLD)
    sleep_by_watermarks(kernel)
    with in_flight(kernel, "commit") as pending:
        time.sleep(0.5)
        assert not pending.done()
        kernel.write("0/state", "off")


@both
def test_free_memory_below_the_middle_wakes_it(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    sleep_by_watermarks(kernel)
    kernel.set_free_memory(250)
    wait_for(lambda: command(kernel, "update_schemes_tried_regions") is None and tried(kernel) != [])


def test_while_paused_there_is_nothing_to_try(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write(f"{CONTEXT}/pause", "Y")
    kernel.write("0/state", "on")
    assert command(kernel, "update_schemes_tried_regions") == errno.ECANCELED
    assert kernel.read("0/state") == "on"
