"""What the fake kernel does on writes to ``state``, on both kernels."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from staging import (
    CONTEXT,
    GIB,
    INTERVALS,
    MIB,
    UINT,
    give_regions,
    set_intervals,
    stage_physical,
    stage_schemes,
    stage_virtual,
    statistic,
    tried,
)

from damon_exporter.testing.fake_kernel import FakeKernel

SECOND = 1_000_000
OLD, NEW = "6.12", "7.3"
both = pytest.mark.parametrize("name", [OLD, NEW])


@pytest.fixture
def kernels(fake_kernel: Callable[..., FakeKernel]) -> dict[str, FakeKernel]:
    """Both kernels, with one process whose pid is 42."""
    kernels = {name: fake_kernel(kernel=name) for name in (OLD, NEW)}
    for kernel in kernels.values():
        kernel.add_process(42, "busy")
    return kernels


def errno_of(call: Callable[[], object]) -> int | None:
    try:
        call()
    except OSError as error:
        return error.errno
    return None


def command(kernel: FakeKernel, word: str) -> int | None:
    """Write a command to slot 0; returns the errno, None for success."""
    return errno_of(lambda: kernel.write("0/state", word))


@contextmanager
def in_flight(kernel: FakeKernel, word: str) -> Iterator[Future[int | None]]:
    """A command of another process that takes a while."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(command, kernel, word)
        time.sleep(0.05)
        assert not pending.done()
        yield pending


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@both
def test_on_starts_a_kdamond_that_proc_shows_and_off_ends_it(kernels: dict[str, FakeKernel], name: str) -> None:
    kernel = kernels[name]
    stage_physical(kernel)
    kernel.write("0/state", "on")
    pid = kernel.read("0/pid")
    assert kernel.read("0/state") == "on"
    assert (kernel.procfs / pid / "comm").read_text() == "kdamond.0\n"
    kernel.write("0/state", "off")
    assert (kernel.read("0/state"), kernel.read("0/pid")) == ("off", "-1")
    assert not (kernel.procfs / pid).exists()


def test_the_cpu_time_of_a_kdamond_grows(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[NEW]
    stage_physical(kernel)
    kernel.write("0/state", "on")
    stat = kernel.procfs / kernel.read("0/pid") / "stat"
    wait_for(lambda: int(stat.read_text().split()[14]) > 0)


@both
def test_every_start_has_a_pid_of_its_own(kernels: dict[str, FakeKernel], name: str) -> None:
    kernel = kernels[name]
    stage_physical(kernel)
    pids = []
    for _ in range(2):
        kernel.write("0/state", "on")
        pids.append(kernel.read("0/pid"))
        kernel.write("0/state", "off")
    assert pids[0] != pids[1]


@both
def test_slots_cannot_be_resized_while_one_of_them_runs(kernels: dict[str, FakeKernel], name: str) -> None:
    kernel = kernels[name]
    stage_physical(kernel, slots=2)
    kernel.write("0/state", "on")
    assert [errno_of(lambda n=n: kernel.write("nr_kdamonds", n)) for n in (0, 2, 3)] == [errno.EBUSY] * 3
    assert kernel.read("0/state") == "on"


def test_kdamonds_of_sysfs_run_side_by_side(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[NEW]
    stage_physical(kernel, slots=2)
    kernel.write("1/contexts/nr_contexts", 1)
    kernel.write("1/contexts/0/operations", "paddr")
    kernel.write("0/state", "on")
    kernel.write("1/state", "on")
    names = [(kernel.procfs / kernel.read(f"{slot}/pid") / "comm").read_text() for slot in (0, 1)]
    assert names == ["kdamond.0\n", "kdamond.1\n"]
    kernel.write("1/state", "off")


@both
def test_what_runs_cannot_be_turned_on(kernels: dict[str, FakeKernel], name: str) -> None:
    kernel = kernels[name]
    stage_physical(kernel)
    kernel.write("0/state", "on")
    assert command(kernel, "on") == errno.EBUSY


@both
def test_a_slot_without_context_cannot_be_turned_on(kernels: dict[str, FakeKernel], name: str) -> None:
    kernels[name].write("nr_kdamonds", 1)
    assert command(kernels[name], "on") == errno.EINVAL


@both
@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("monitoring_attrs/nr_regions/min", 2),
        ("monitoring_attrs/nr_regions/max", 9),
        ("monitoring_attrs/intervals/sample_us", 40_001),
        ("targets/nr_targets", 2),
        ("targets/0/regions/0/end", 4 * GIB),
    ],
)
def test_bad_attributes_and_targets_are_refused_at_on(
    kernels: dict[str, FakeKernel], name: str, file: str, value: int
) -> None:
    kernel = kernels[name]
    stage_physical(kernel, (GIB, 2 * GIB), (3 * GIB, 5 * GIB))
    kernel.write(f"{CONTEXT}/{file}", value)
    assert command(kernel, "on") == errno.EINVAL
    assert kernel.read("0/state") == "off"


@both
def test_a_process_that_is_not_there_is_refused_at_on(kernels: dict[str, FakeKernel], name: str) -> None:
    stage_virtual(kernels[name], 4711)
    assert command(kernels[name], "on") == errno.EINVAL


@both
def test_a_cgroup_that_is_not_there_is_enomem(kernels: dict[str, FakeKernel], name: str) -> None:
    kernel = kernels[name]
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write(f"{CONTEXT}/schemes/0/filters/nr_filters", 1)
    kernel.write(f"{CONTEXT}/schemes/0/filters/0/type", "memcg")
    kernel.write(f"{CONTEXT}/schemes/0/filters/0/memcg_path", "/a/b")
    assert command(kernel, "on") == errno.ENOMEM
    kernel.set_cgroups("/a/b")
    assert command(kernel, "on") is None


def test_the_goal_of_tuning_must_allow_the_sampling_interval(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[NEW]
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
def test_off_needs_that_something_was_ever_on(kernels: dict[str, FakeKernel], name: str) -> None:
    stage_physical(kernels[name])
    assert command(kernels[name], "off") == errno.EINVAL


@pytest.mark.parametrize(("name", "error"), [(OLD, errno.EPERM), (NEW, None)])
def test_off_after_the_kdamond_has_ended(kernels: dict[str, FakeKernel], name: str, error: int | None) -> None:
    kernel = kernels[name]
    stage_physical(kernel)
    kernel.write("0/state", "on")
    kernel.kill_kdamond()
    assert kernel.read("0/state") == "off"
    assert command(kernel, "off") == error


@pytest.mark.parametrize("name", [OLD, NEW])
def test_after_a_refused_on_nothing_was_ever_on(kernels: dict[str, FakeKernel], name: str) -> None:
    kernel = kernels[name]
    stage_physical(kernel)
    kernel.write("0/state", "on")
    kernel.write("0/state", "off")
    kernel.write(f"{CONTEXT}/monitoring_attrs/nr_regions/min", 2)
    assert command(kernel, "on") == errno.EINVAL
    assert command(kernel, "off") == errno.EINVAL


@pytest.mark.parametrize(("name", "error"), [(OLD, errno.EINVAL), (NEW, None)])
def test_a_kernel_knows_the_commands_of_its_release(
    kernels: dict[str, FakeKernel], name: str, error: int | None
) -> None:
    stage_physical(kernels[name])
    kernels[name].write("0/state", "on")
    assert command(kernels[name], "update_tuned_intervals") == error


@pytest.mark.parametrize(("name", "error"), [(OLD, errno.EINVAL), (NEW, errno.ECANCELED)])
@pytest.mark.parametrize("word", ["update_schemes_stats", "update_schemes_tried_regions", "commit"])
def test_commands_to_a_kdamond_that_has_ended(kernels: dict[str, FakeKernel], name: str, error: int, word: str) -> None:
    kernel = kernels[name]
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    kernel.kill_kdamond()
    assert command(kernel, word) == error


@both
def test_commands_before_anything_was_on(kernels: dict[str, FakeKernel], name: str) -> None:
    stage_physical(kernels[name])
    assert command(kernels[name], "update_schemes_stats") == errno.EINVAL


def test_a_command_in_flight_lets_state_pid_and_every_nr_file_answer_ebusy_on_7_3(
    kernels: dict[str, FakeKernel],
) -> None:
    kernel = kernels[NEW]
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


def test_a_command_in_flight_refuses_only_another_command_on_6_12(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[OLD]
    stage_physical(kernel)
    kernel.write("0/state", "on")
    with in_flight(kernel, "update_schemes_stats"):
        assert command(kernel, "update_schemes_stats") == errno.EBUSY
        assert kernel.read("0/state") == "on"


def test_the_lock_is_held_while_regions_are_collected_on_6_12(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[OLD]
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    set_intervals(kernel, aggr_us=400_000)
    kernel.write("0/state", "on")
    with in_flight(kernel, "update_schemes_tried_regions"):
        assert errno_of(lambda: kernel.read("0/pid")) == errno.EBUSY


@both
def test_of_two_commands_at_the_same_time_to_the_same_file_one_is_refused(
    kernels: dict[str, FakeKernel], name: str
) -> None:
    kernel = kernels[name]
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


def test_a_command_costs_100_ms_on_6_12(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[OLD]
    stage_physical(kernel)
    kernel.write("0/state", "on")
    before = time.monotonic()
    kernel.write("0/state", "update_schemes_stats")
    assert 0.1 <= time.monotonic() - before < 0.2


def test_off_of_another_process_ends_a_pending_command_with_success_on_6_12(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[OLD]
    stage_physical(kernel)
    set_intervals(kernel, aggr_us=10 * SECOND)
    kernel.write("0/state", "on")
    with in_flight(kernel, "commit") as pending:
        kernel.write("0/state", "off")
    assert pending.result() is None


def test_a_bad_commit_leaves_the_kdamond_as_it_was_on_7_3(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[NEW]
    stage_physical(kernel)
    kernel.write("0/state", "on")
    pid = kernel.read("0/pid")
    kernel.write(f"{CONTEXT}/monitoring_attrs/nr_regions/min", 2)
    assert command(kernel, "commit") == errno.EINVAL
    assert kernel.read("0/pid") == pid


def test_a_bad_commit_succeeds_and_ends_the_kdamond_on_6_12(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[OLD]
    stage_physical(kernel)
    kernel.write("0/state", "on")
    kernel.write(f"{CONTEXT}/monitoring_attrs/nr_regions/min", 2)
    assert command(kernel, "commit") is None
    assert kernel.read("0/state") == "off"


@both
def test_tried_regions_cover_what_is_monitored(kernels: dict[str, FakeKernel], name: str) -> None:
    kernel = kernels[name]
    stage_physical(kernel, (GIB, 2 * GIB), (4 * GIB, 5 * GIB))
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_regions")
    regions = tried(kernel)
    assert len(regions) >= 10
    assert sum(region["end"] - region["start"] for region in regions) == 2 * GIB
    assert kernel.read(f"{CONTEXT}/schemes/0/tried_regions/total_bytes") == str(2 * GIB)


@both
def test_accesses_are_what_the_test_said_of_memory(kernels: dict[str, FakeKernel], name: str) -> None:
    kernel = kernels[name]
    kernel.set_physical_heat([(GIB, GIB + 64 * MIB, 1.0), (GIB + 64 * MIB, GIB + 96 * MIB, 0.5)])
    stage_physical(kernel)
    stage_schemes(kernel, (20, 20), (1, 19))
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_bytes")
    sizes = [int(kernel.read(f"{CONTEXT}/schemes/{index}/tried_regions/total_bytes")) for index in (0, 1)]
    assert sizes == [64 * MIB, 32 * MIB]
    assert tried(kernel) == []


@pytest.mark.parametrize(("name", "from_zero"), [(OLD, False), (NEW, True)])
def test_region_folders_of_every_scheme_count_from_zero_since_7_3(
    kernels: dict[str, FakeKernel], name: str, from_zero: bool
) -> None:
    kernel = kernels[name]
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT), (0, UINT))
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_regions")
    folders = [
        sorted(int(path.name) for path in (kernel.kdamonds / f"{CONTEXT}/schemes/{index}/tried_regions").glob("[0-9]*"))
        for index in (0, 1)
    ]
    count = len(folders[0])
    if from_zero:
        assert folders == [list(range(count))] * 2
    else:
        assert folders == [list(range(0, 2 * count, 2)), list(range(1, 2 * count, 2))]


@both
def test_tried_regions_wait_for_the_slowest_scheme(kernels: dict[str, FakeKernel], name: str) -> None:
    kernel = kernels[name]
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT), (0, UINT))
    kernel.write(f"{CONTEXT}/schemes/1/apply_interval_us", 400_000)
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_bytes")
    before = time.monotonic()
    kernel.write("0/state", "update_schemes_tried_bytes")
    assert 0.25 < time.monotonic() - before < 0.7


@pytest.mark.parametrize(("name", "error"), [(OLD, None), (NEW, errno.ECANCELED)])
def test_without_schemes_there_is_nothing_to_try(kernels: dict[str, FakeKernel], name: str, error: int | None) -> None:
    stage_physical(kernels[name])
    kernels[name].write("0/state", "on")
    assert command(kernels[name], "update_schemes_tried_regions") == error


def test_a_refused_update_has_wiped_the_regions_on_7_3(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[NEW]
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_regions")
    kernel.kill_kdamond()
    assert tried(kernel)
    assert command(kernel, "update_schemes_tried_regions") == errno.ECANCELED
    assert tried(kernel) == []


def test_a_kdamond_that_ends_cancels_the_command_that_waits_for_it_on_7_3(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[NEW]
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    set_intervals(kernel, aggr_us=60 * SECOND)
    kernel.write("0/state", "on")
    with in_flight(kernel, "update_schemes_tried_regions") as pending:
        kernel.kill_kdamond()
    assert pending.result() == errno.ECANCELED


@both
def test_cleared_regions_are_gone(kernels: dict[str, FakeKernel], name: str) -> None:
    kernel = kernels[name]
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_regions")
    kernel.write("0/state", "clear_schemes_tried_regions")
    assert tried(kernel) == []
    assert kernel.read(f"{CONTEXT}/schemes/0/tried_regions/total_bytes") == "0"


@both
def test_schemes_that_part_the_accesses_add_up_to_the_one_that_matches_all(
    kernels: dict[str, FakeKernel], name: str
) -> None:
    kernel = kernels[name]
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT), (0, 0), (1, 10), (11, UINT))
    kernel.write("0/state", "on")
    time.sleep(0.2)
    kernel.write("0/state", "update_schemes_stats")
    sizes = [statistic(kernel, "sz_tried", scheme) for scheme in range(4)]
    assert sizes[0] == sum(sizes[1:]) > 0
    assert sizes[0] == GIB * (statistic(kernel, "sz_tried") // GIB)


def test_bounds_of_2_to_the_32nd_become_zero(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[NEW]
    stage_physical(kernel)
    stage_schemes(kernel, (1, 2**32))
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_regions")
    assert tried(kernel) == []


@both
def test_new_folders_show_no_counts_until_the_next_update_and_the_kernel_has_kept_them(
    kernels: dict[str, FakeKernel], name: str
) -> None:
    kernel = kernels[name]
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    time.sleep(0.1)
    kernel.write("0/state", "update_schemes_stats")
    before = statistic(kernel, "sz_tried")
    stage_schemes(kernel, (0, UINT))
    assert statistic(kernel, "sz_tried") == 0
    kernel.write("0/state", "update_schemes_stats")
    assert statistic(kernel, "sz_tried") >= before > 0


@both
def test_commit_keeps_ages_and_counts(kernels: dict[str, FakeKernel], name: str) -> None:
    kernel = kernels[name]
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    time.sleep(0.3)
    kernel.write("0/state", "update_schemes_stats")
    count = statistic(kernel, "nr_tried")
    stage_schemes(kernel, (0, UINT), (0, 0))
    kernel.write("0/state", "commit")
    kernel.write("0/state", "update_schemes_stats")
    kernel.write("0/state", "update_schemes_tried_regions")
    assert statistic(kernel, "nr_tried") >= count > 0
    assert min(region["age"] for region in tried(kernel)) >= 5


@pytest.mark.parametrize(("name", "resets"), [(OLD, False), (NEW, True)])
def test_a_small_step_down_to_zero_accesses_resets_the_age_only_since_7_3(
    kernels: dict[str, FakeKernel], name: str, resets: bool
) -> None:
    kernel = kernels[name]
    rest = (GIB + 512 * MIB, 2 * GIB, 1.0)
    kernel.set_physical_heat([(GIB, GIB + 512 * MIB, 0.05), rest])
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    time.sleep(0.4)
    kernel.set_physical_heat([rest])
    time.sleep(0.05)
    kernel.write("0/state", "update_schemes_tried_regions")
    idle = next(region for region in tried(kernel) if region["start"] == GIB)
    assert idle["nr_accesses"] == 0
    assert (idle["age"] < 6) is resets


def test_tuning_doubles_the_intervals_of_idle_memory_and_refresh_ms_shows_it(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[NEW]
    start_tuning(kernel)
    kernel.write("0/refresh_ms", 20)
    wait_for(lambda: kernel.read(f"{INTERVALS}/sample_us") == "8000")
    assert kernel.read(f"{INTERVALS}/aggr_us") == "160000"


def test_without_refresh_ms_the_files_show_tuned_intervals_only_after_an_update(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[NEW]
    start_tuning(kernel)
    time.sleep(0.3)
    assert kernel.read(f"{INTERVALS}/sample_us") == "2000"
    kernel.write("0/state", "update_tuned_intervals")
    assert kernel.read(f"{INTERVALS}/sample_us") == "8000"


def test_a_commit_of_stale_files_resets_the_tuning(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[NEW]
    start_tuning(kernel)
    time.sleep(0.3)
    kernel.write("0/state", "commit")
    kernel.write("0/state", "update_tuned_intervals")
    assert kernel.read(f"{INTERVALS}/sample_us") == "2000"


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
def test_a_virtual_target_has_the_regions_of_its_process(kernels: dict[str, FakeKernel], name: str) -> None:
    kernel = kernels[name]
    kernel.add_process(42, "busy", memory=[(GIB, GIB + 64 * MIB, 1.0), (2 * GIB, 2 * GIB + 32 * MIB, 0.0)])
    stage_virtual(kernel, 42)
    stage_schemes(kernel, (1, UINT), (0, 0))
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_bytes")
    sizes = [int(kernel.read(f"{CONTEXT}/schemes/{index}/tried_regions/total_bytes")) for index in (0, 1)]
    assert sizes == [64 * MIB, 32 * MIB]


@both
def test_a_kdamond_ends_when_its_last_process_is_reaped_and_not_before(
    kernels: dict[str, FakeKernel], name: str
) -> None:
    kernel = kernels[name]
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
def test_a_target_added_by_commit_has_no_regions_until_the_next_update(
    kernels: dict[str, FakeKernel], name: str
) -> None:
    kernel = kernels[name]
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
    time.sleep(0.15)
    kernel.write("0/state", "update_schemes_tried_regions")
    assert any(region["start"] == GIB for region in tried(kernel))


@both
def test_physical_memory_without_regions_is_monitored_and_shows_nothing(
    kernels: dict[str, FakeKernel], name: str
) -> None:
    kernel = kernels[name]
    stage_physical(kernel)
    give_regions(kernel, 0, [])
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_regions")
    assert kernel.read("0/state") == "on"
    assert tried(kernel) == []


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
def test_asleep_by_watermarks_there_is_nothing_to_try(
    kernels: dict[str, FakeKernel], name: str, error: int | None
) -> None:
    kernel = kernels[name]
    sleep_by_watermarks(kernel)
    assert command(kernel, "update_schemes_tried_regions") == error
    assert tried(kernel) == []


def test_asleep_by_watermarks_a_commit_hangs_until_off_on_6_12(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[OLD]
    sleep_by_watermarks(kernel)
    with in_flight(kernel, "commit") as pending:
        time.sleep(0.5)
        assert not pending.done()
        kernel.write("0/state", "off")


@both
def test_free_memory_below_the_middle_wakes_it(kernels: dict[str, FakeKernel], name: str) -> None:
    kernel = kernels[name]
    sleep_by_watermarks(kernel)
    kernel.set_free_memory(250)
    time.sleep(0.2)
    kernel.write("0/state", "update_schemes_tried_regions")
    assert tried(kernel)


def test_while_paused_there_is_nothing_to_try(kernels: dict[str, FakeKernel]) -> None:
    kernel = kernels[NEW]
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write(f"{CONTEXT}/pause", "Y")
    kernel.write("0/state", "on")
    assert command(kernel, "update_schemes_tried_regions") == errno.ECANCELED
    assert kernel.read("0/state") == "on"


@pytest.mark.parametrize(
    ("name", "letting_through"), [(OLD, {"matching": "N"}), (NEW, {"matching": "Y", "allow": "Y"})]
)
def test_a_target_filter_lets_one_target_through(
    kernels: dict[str, FakeKernel], name: str, letting_through: dict[str, str]
) -> None:
    kernel = kernels[name]
    kernel.add_process(43, "other", memory=[(GIB, 2 * GIB, 0.0)])
    stage_virtual(kernel, 42, 43)
    stage_schemes(kernel, (0, UINT))
    kernel.write(f"{CONTEXT}/schemes/0/filters/nr_filters", 1)
    for file, value in {"type": "target", "damon_target_idx": "1", **letting_through}.items():
        kernel.write(f"{CONTEXT}/schemes/0/filters/0/{file}", value)
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_bytes")
    assert kernel.read(f"{CONTEXT}/schemes/0/tried_regions/total_bytes") == str(GIB)
