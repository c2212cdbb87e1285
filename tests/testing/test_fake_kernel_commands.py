"""Commands to kdamonds of the fake kernel: who has to wait, who is refused, and how they fail."""

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from driving import wait_for
from staging import (
    CONTEXT,
    INTERVALS,
    NEW,
    OLD,
    UINT,
    Start,
    both,
    command,
    errno_of,
    in_flight,
    set_intervals,
    stage_physical,
    stage_schemes,
)

SECOND = 1_000_000


@pytest.mark.parametrize(("name", "error"), [(OLD, errno.EINVAL), (NEW, None)])
def test_a_kernel_knows_the_commands_of_its_release(fake_kernel: Start, name: str, error: int | None) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    kernel.write("0/state", "on")
    assert command(kernel, "update_tuned_intervals") == error


@pytest.mark.parametrize(("name", "error"), [(OLD, errno.EINVAL), (NEW, errno.ECANCELED)])
@pytest.mark.parametrize("word", ["update_schemes_stats", "update_schemes_tried_regions", "commit"])
def test_commands_to_a_kdamond_that_has_ended(fake_kernel: Start, name: str, error: int, word: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    kernel.kill_kdamond()
    assert command(kernel, word) == error


@both
def test_commands_before_anything_was_on(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    assert command(kernel, "update_schemes_stats") == errno.EINVAL


def test_a_command_in_flight_lets_state_pid_and_every_nr_file_answer_ebusy_on_7_3(
    fake_kernel: Start,
) -> None:
    kernel = fake_kernel(kernel=NEW)
    stage_physical(kernel, slots=2)
    set_intervals(kernel, sample_us=400_000, aggr_us=400_000)
    kernel.write("0/state", "on")
    with in_flight(kernel, "update_schemes_stats") as pending:
        refused = [
            errno_of(lambda: kernel.read("0/state")),
            errno_of(lambda: kernel.read("1/pid")),
            errno_of(lambda: kernel.write("1/state", "off")),
            errno_of(lambda: kernel.write("nr_kdamonds", 2)),
            errno_of(lambda: kernel.write(f"{CONTEXT}/schemes/nr_schemes", 1)),
        ]
        allowed = [
            errno_of(lambda: kernel.read(f"{INTERVALS}/sample_us")),
            errno_of(lambda: kernel.read("nr_kdamonds")),
            errno_of(lambda: kernel.write(f"{INTERVALS}/update_us", 1)),
        ]
        assert not pending.done()
    assert refused == [errno.EBUSY] * 5
    assert allowed == [None] * 3
    assert pending.result() is None
    assert kernel.read("0/state") == "on"


def test_a_command_in_flight_refuses_only_another_command_on_6_12(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=OLD)
    stage_physical(kernel)
    set_intervals(kernel, sample_us=400_000, aggr_us=400_000)
    kernel.write("0/state", "on")
    with in_flight(kernel, "update_schemes_stats"):
        assert command(kernel, "update_schemes_stats") == errno.EBUSY
        assert kernel.read("0/state") == "on"


def test_the_lock_is_held_while_regions_are_collected_on_6_12(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=OLD)
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    set_intervals(kernel, aggr_us=400_000)
    kernel.write("0/state", "on")
    with in_flight(kernel, "update_schemes_tried_regions"):
        wait_for(lambda: errno_of(lambda: kernel.read("0/pid")) == errno.EBUSY)


@both
def test_of_two_commands_at_the_same_time_to_the_same_file_one_is_refused(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    set_intervals(kernel, sample_us=100_000, aggr_us=100_000)
    kernel.write("0/state", "on")
    barrier = threading.Barrier(2)

    def write() -> int | None:
        fd = os.open(kernel.kdamonds / "0/state", os.O_WRONLY)
        try:
            barrier.wait()
            return errno_of(lambda: os.write(fd, b"update_schemes_stats"))
        finally:
            os.close(fd)

    with ThreadPoolExecutor(2) as pool:
        results = [future.result() for future in [pool.submit(write) for _ in range(2)]]
    assert sorted(results, key=str) == [errno.EBUSY, None]


def test_a_command_costs_100_ms_on_6_12(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=OLD)
    stage_physical(kernel)
    kernel.write("0/state", "on")
    before = time.monotonic()
    kernel.write("0/state", "update_schemes_stats")
    assert time.monotonic() - before >= 0.1


def test_off_of_another_process_ends_a_pending_command_with_success_on_6_12(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=OLD)
    stage_physical(kernel)
    set_intervals(kernel, aggr_us=10 * SECOND)
    kernel.write("0/state", "on")
    with in_flight(kernel, "commit") as pending:
        kernel.write("0/state", "off")
    assert pending.result() is None


def test_a_bad_commit_leaves_the_kdamond_as_it_was_on_7_3(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    stage_physical(kernel)
    kernel.write("0/state", "on")
    pid = kernel.read("0/pid")
    kernel.write(f"{CONTEXT}/monitoring_attrs/nr_regions/min", 2)
    assert command(kernel, "commit") == errno.EINVAL
    assert kernel.read("0/pid") == pid


def test_a_bad_commit_succeeds_and_ends_the_kdamond_on_6_12(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=OLD)
    stage_physical(kernel)
    kernel.write("0/state", "on")
    kernel.write(f"{CONTEXT}/monitoring_attrs/nr_regions/min", 2)
    assert command(kernel, "commit") is None
    assert kernel.read("0/state") == "off"
