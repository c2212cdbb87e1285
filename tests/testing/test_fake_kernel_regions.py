"""Tried regions and counters of schemes in the fake kernel."""

import errno
import time

import pytest
from staging import (
    CONTEXT,
    GIB,
    MIB,
    NEW,
    OLD,
    UINT,
    Start,
    both,
    command,
    give_regions,
    in_flight,
    set_intervals,
    stage_physical,
    stage_schemes,
    stage_virtual,
    statistic,
    tried,
)


@both
def test_tried_regions_cover_what_is_monitored(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel, (GIB, 2 * GIB), (4 * GIB, 5 * GIB))
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_regions")
    regions = tried(kernel)
    assert len(regions) >= 10
    assert sum(region["end"] - region["start"] for region in regions) == 2 * GIB
    assert kernel.read(f"{CONTEXT}/schemes/0/tried_regions/total_bytes") == str(2 * GIB)


@both
def test_accesses_are_what_the_test_said_of_memory(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
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
    fake_kernel: Start, name: str, from_zero: bool
) -> None:
    kernel = fake_kernel(kernel=name)
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
def test_tried_regions_wait_for_the_slowest_scheme(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT), (0, UINT))
    kernel.write(f"{CONTEXT}/schemes/1/apply_interval_us", 400_000)
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_bytes")
    before = time.monotonic()
    kernel.write("0/state", "update_schemes_tried_bytes")
    assert time.monotonic() - before > 0.25


@pytest.mark.parametrize(("name", "error"), [(OLD, None), (NEW, errno.ECANCELED)])
def test_without_schemes_there_is_nothing_to_try(fake_kernel: Start, name: str, error: int | None) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    kernel.write("0/state", "on")
    assert command(kernel, "update_schemes_tried_regions") == error


def test_a_refused_update_has_wiped_the_regions_on_7_3(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_regions")
    kernel.kill_kdamond()
    assert tried(kernel)
    assert command(kernel, "update_schemes_tried_regions") == errno.ECANCELED
    assert tried(kernel) == []


def test_a_kdamond_that_ends_cancels_the_command_that_waits_for_it_on_7_3(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    set_intervals(kernel, aggr_us=60_000_000)
    kernel.write("0/state", "on")
    with in_flight(kernel, "update_schemes_tried_regions") as pending:
        kernel.kill_kdamond()
    assert pending.result() == errno.ECANCELED


@both
def test_cleared_regions_are_gone(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_regions")
    kernel.write("0/state", "clear_schemes_tried_regions")
    assert tried(kernel) == []
    assert kernel.read(f"{CONTEXT}/schemes/0/tried_regions/total_bytes") == "0"


@both
def test_schemes_that_part_the_accesses_add_up_to_the_one_that_matches_all(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT), (0, 0), (1, 10), (11, UINT))
    kernel.write("0/state", "on")
    time.sleep(0.2)
    kernel.write("0/state", "update_schemes_stats")
    sizes = [statistic(kernel, "sz_tried", scheme) for scheme in range(4)]
    assert sizes[0] == sum(sizes[1:]) > 0
    assert sizes[0] == GIB * (statistic(kernel, "sz_tried") // GIB)


def test_bounds_of_2_to_the_32nd_become_zero(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    stage_physical(kernel)
    stage_schemes(kernel, (1, 2**32))
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_regions")
    assert tried(kernel) == []


@both
def test_new_folders_show_no_counts_until_the_next_update_and_the_kernel_has_kept_them(
    fake_kernel: Start, name: str
) -> None:
    kernel = fake_kernel(kernel=name)
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
def test_commit_keeps_ages_and_counts(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
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


@both
def test_physical_memory_without_regions_is_monitored_and_shows_nothing(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    give_regions(kernel, 0, [])
    stage_schemes(kernel, (0, UINT))
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_regions")
    assert kernel.read("0/state") == "on"
    assert tried(kernel) == []


@pytest.mark.parametrize(
    ("name", "letting_through"), [(OLD, {"matching": "N"}), (NEW, {"matching": "Y", "allow": "Y"})]
)
def test_a_target_filter_lets_one_target_through(
    fake_kernel: Start, name: str, letting_through: dict[str, str]
) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.add_process(42, "busy")
    kernel.add_process(43, "other", memory=[(GIB, 2 * GIB, 0.0)])
    stage_virtual(kernel, 42, 43)
    stage_schemes(kernel, (0, UINT))
    kernel.write(f"{CONTEXT}/schemes/0/filters/nr_filters", 1)
    for file, value in {"type": "target", "damon_target_idx": "1", **letting_through}.items():
        kernel.write(f"{CONTEXT}/schemes/0/filters/0/{file}", value)
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_bytes")
    assert kernel.read(f"{CONTEXT}/schemes/0/tried_regions/total_bytes") == str(GIB)


@both
def test_a_virtual_target_has_the_regions_of_its_process(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.add_process(42, "busy", memory=[(GIB, GIB + 64 * MIB, 1.0), (2 * GIB, 2 * GIB + 32 * MIB, 0.0)])
    stage_virtual(kernel, 42)
    stage_schemes(kernel, (1, UINT), (0, 0))
    kernel.write("0/state", "on")
    kernel.write("0/state", "update_schemes_tried_bytes")
    sizes = [int(kernel.read(f"{CONTEXT}/schemes/{index}/tried_regions/total_bytes")) for index in (0, 1)]
    assert sizes == [64 * MIB, 32 * MIB]
