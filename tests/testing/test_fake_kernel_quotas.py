"""Quotas of schemes in the fake kernel: how much is tried in which window, and what comes first."""

import time
from collections.abc import Mapping

import pytest
from driving import wait_for
from staging import (
    CONTEXT,
    GIB,
    MIB,
    NEW,
    OLD,
    UINT,
    ULONG,
    Start,
    both,
    set_scheme,
    stage_physical,
    stage_schemes,
    statistics,
    tried,
    tried_bytes,
)

from damon_exporter.testing.fake_kernel import FakeKernel

NO_END = 2**31
QUARTER = GIB // 4
USER_GOAL = {"quotas/goals/nr_goals": 1, "quotas/goals/0/target_value": 100}


def start(kernel: FakeKernel, files: Mapping[str, object], action: str = "stat") -> None:
    """Let one scheme for all of 1 GiB begin."""
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    set_scheme(kernel, {"action": action, **files})
    kernel.write("0/state", "on")


def effective(kernel: FakeKernel) -> int:
    kernel.write("0/state", "update_schemes_effective_quotas")
    return int(kernel.read(f"{CONTEXT}/schemes/0/quotas/effective_bytes"))


def wait_for_regions(kernel: FakeKernel) -> list[dict[str, int]]:
    """What the next pass that tries anything tries."""
    found: list[dict[str, int]] = []
    while not found:
        kernel.write("0/state", "update_schemes_tried_regions")
        found = tried(kernel)
    return found


def test_a_window_has_so_many_bytes_and_no_more(kernel: FakeKernel) -> None:
    start(kernel, {"quotas/bytes": 100 * MIB, "quotas/reset_interval_ms": NO_END})
    wait_for(lambda: statistics(kernel)["nr_tried"])
    time.sleep(0.2)
    assert statistics(kernel)["sz_tried"] == 100 * MIB


def test_the_first_window_has_no_limit_on_6_12(fake_kernel: Start) -> None:
    """A first window without end, as damo asks for, is a quota without effect."""
    kernel = fake_kernel(kernel=OLD)
    start(kernel, {"quotas/bytes": 100 * MIB, "quotas/reset_interval_ms": ULONG})
    wait_for(lambda: statistics(kernel)["sz_tried"] >= 3 * GIB)
    assert effective(kernel) == 0


@both
def test_every_full_window_is_counted_when_the_next_one_begins(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, {"quotas/bytes": 100 * MIB, "quotas/reset_interval_ms": 100})
    wait_for(lambda: statistics(kernel)["qt_exceeds"] >= 2)
    first = statistics(kernel)
    wait_for(lambda: statistics(kernel)["qt_exceeds"] >= first["qt_exceeds"] + 3)
    second = statistics(kernel)
    windows = second["qt_exceeds"] - first["qt_exceeds"]
    assert abs((second["sz_tried"] - first["sz_tried"]) / (100 * MIB) - windows) <= 1


@both
def test_without_an_interval_every_pass_is_a_window(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, {"quotas/bytes": QUARTER})
    wait_for(lambda: statistics(kernel)["qt_exceeds"])
    wait_for(lambda: tried_bytes(kernel) == QUARTER)


@pytest.mark.parametrize(("reset_ms", "windows"), [(2**32, True), (2**32 - 1, False)])
def test_the_interval_has_32_bits_of_which_the_first_means_for_ever(
    kernel: FakeKernel, reset_ms: int, windows: bool
) -> None:
    start(kernel, {"quotas/bytes": QUARTER, "quotas/reset_interval_ms": reset_ms})
    wait_for(lambda: statistics(kernel)["nr_tried"])
    time.sleep(0.2)
    assert (statistics(kernel)["sz_tried"] > QUARTER) is windows


@both
def test_a_window_begins_where_the_last_one_ended(fake_kernel: Start, name: str) -> None:
    """And so five windows, of which one finds that it is at the end, come by everywhere and reset all ages."""
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT), (0, UINT))
    set_scheme(kernel, {"action": "lru_prio", "quotas/bytes": QUARTER})
    kernel.write("0/state", "on")
    wait_for(lambda: statistics(kernel)["qt_exceeds"] > 20)
    kernel.write("0/state", "update_schemes_tried_regions")
    assert max(region["age"] for region in tried(kernel, 1)) < 10


@both
def test_without_a_quota_there_is_no_effective_one(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, {"quotas/reset_interval_ms": 1000})
    wait_for(lambda: statistics(kernel)["sz_tried"] >= 2 * GIB)
    assert effective(kernel) == 0


@both
@pytest.mark.parametrize(
    ("ms", "size", "least"), [(0, 10 * MIB, 10 * MIB), (3, 0, 12 * MIB), (3, 10 * MIB, 10 * MIB), (1, GIB, 4 * MIB)]
)
def test_the_effective_quota_is_the_least_of_bytes_and_time(
    fake_kernel: Start, name: str, ms: int, size: int, least: int
) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, {"quotas/ms": ms, "quotas/bytes": size})
    wait_for(lambda: effective(kernel))
    assert effective(kernel) == least


@both
def test_files_show_the_effective_quota_as_of_the_last_update(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, {"quotas/bytes": QUARTER})
    wait_for(lambda: statistics(kernel)["qt_exceeds"])
    assert kernel.read(f"{CONTEXT}/schemes/0/quotas/effective_bytes") == "0"


def test_a_refresh_updates_counters_and_effective_quota(kernel: FakeKernel) -> None:
    start(kernel, {"quotas/bytes": QUARTER})
    kernel.write("0/refresh_ms", 20)
    wait_for(lambda: kernel.read(f"{CONTEXT}/schemes/0/quotas/effective_bytes") == str(QUARTER))
    wait_for(lambda: kernel.read(f"{CONTEXT}/schemes/0/stats/qt_exceeds") != "0")


def test_less_than_a_page_is_nothing_and_always_full(kernel: FakeKernel) -> None:
    start(kernel, {"quotas/bytes": 1000})
    wait_for(lambda: statistics(kernel)["qt_exceeds"] >= 2)
    assert statistics(kernel)["nr_tried"] == 0


def test_less_than_a_page_is_tried_with_nothing_on_6_12(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=OLD)
    start(kernel, {"quotas/bytes": 1000})
    wait_for(lambda: effective(kernel))
    before = statistics(kernel)
    wait_for(lambda: statistics(kernel)["nr_tried"] > before["nr_tried"])
    assert statistics(kernel)["sz_tried"] == before["sz_tried"]


@both
def test_a_quota_that_a_commit_takes_away_ends_with_its_window(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, {"quotas/bytes": QUARTER})
    wait_for(lambda: statistics(kernel)["qt_exceeds"])
    set_scheme(kernel, {"quotas/bytes": 0})
    kernel.write("0/state", "commit")
    wait_for(lambda: effective(kernel) == 0)
    assert tried_bytes(kernel) == GIB


@pytest.mark.parametrize(("name", "goes_on"), [(OLD, True), (NEW, False)])
def test_a_quota_that_a_commit_brings_begins_full_on_7_3_and_with_its_second_window_on_6_12(
    fake_kernel: Start, name: str, goes_on: bool
) -> None:
    """Seen in guests: what was tried without a quota counts, and so a window without end lets nothing through."""
    kernel = fake_kernel(kernel=name)
    start(kernel, {})
    wait_for(lambda: statistics(kernel)["nr_tried"])
    set_scheme(kernel, {"quotas/bytes": QUARTER, "quotas/reset_interval_ms": NO_END})
    kernel.write("0/state", "commit")
    wait_for(lambda: effective(kernel) == (0 if goes_on else QUARTER))
    before = statistics(kernel)["sz_tried"]
    time.sleep(0.3)
    assert (statistics(kernel)["sz_tried"] > before) is goes_on


@both
@pytest.mark.parametrize(("action", "hot"), [("lru_prio", True), ("lru_deprio", False)])
def test_under_a_quota_actions_begin_with_the_hottest_or_the_coldest(
    fake_kernel: Start, name: str, action: str, hot: bool
) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.set_physical_heat([(2 * GIB - QUARTER, 2 * GIB, 1.0)])
    start(kernel, {"quotas/bytes": QUARTER, "quotas/weights/nr_accesses_permil": 1}, action)
    wait_for(lambda: statistics(kernel)["qt_exceeds"] >= 2)
    seen = [region["nr_accesses"] > 0 for region in wait_for_regions(kernel)]
    assert seen == [hot] * len(seen)


@pytest.mark.parametrize(("charge", "limited"), [((0, 0), True), ((1, 2), True), ((0, 1), False)])
def test_what_is_tried_in_vain_may_cost_less(kernel: FakeKernel, charge: tuple[int, int], limited: bool) -> None:
    numerator, denominator = charge
    files = {"quotas/fail_charge_num": numerator, "quotas/fail_charge_denom": denominator}
    start(kernel, {"quotas/bytes": QUARTER, "quotas/reset_interval_ms": NO_END, **files})
    wait_for(lambda: statistics(kernel)["nr_tried"])
    time.sleep(0.2)
    assert (statistics(kernel)["sz_tried"] <= 2 * QUARTER) is limited


def test_a_quota_that_ends_before_the_last_region_makes_no_snapshot(kernel: FakeKernel) -> None:
    start(kernel, {"quotas/bytes": QUARTER})
    wait_for(lambda: statistics(kernel)["qt_exceeds"] >= 2)
    counters = statistics(kernel)
    assert counters["nr_snapshots"] < counters["qt_exceeds"]


def test_what_quotas_cut_goes_together_again(kernel: FakeKernel) -> None:
    start(kernel, {"quotas/bytes": MIB, "apply_interval_us": 2_000}, "lru_deprio")
    wait_for(lambda: statistics(kernel)["nr_tried"] > 100)
    set_scheme(kernel, {"quotas/bytes": 0})
    kernel.write("0/state", "commit")
    wait_for(lambda: effective(kernel) == 0)
    kernel.write("0/state", "update_schemes_tried_regions")
    assert len(tried(kernel)) < 50


@both
def test_a_goal_that_is_not_reached_makes_the_quota_grow_from_one_byte(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, USER_GOAL | {"quotas/goals/0/current_value": 50, "quotas/reset_interval_ms": 200})
    wait_for(lambda: 0 < effective(kernel) < 10)
    wait_for(lambda: effective(kernel) > 10)


@both
def test_values_for_goals_are_taken_by_a_command_of_their_own(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, USER_GOAL | {"quotas/goals/0/current_value": 50})
    wait_for(lambda: effective(kernel) > 10)
    set_scheme(kernel, {"quotas/goals/0/current_value": 300, "quotas/bytes": 1})
    kernel.write("0/state", "commit_schemes_quota_goals")
    wait_for(lambda: effective(kernel) == 1)


@both
def test_a_goal_without_a_target_value_is_none(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, {"quotas/goals/nr_goals": 1})
    assert tried_bytes(kernel) == GIB
    assert effective(kernel) == 0


@pytest.mark.parametrize(("measured", "quota"), [(99, 10 * MIB), (100, 0)])
def test_the_temporal_tuner_does_all_or_nothing(fake_kernel: Start, measured: int, quota: int) -> None:
    kernel = fake_kernel(kernel=NEW)
    kernel.set_goal_value("active_mem_bp", measured)
    goal = USER_GOAL | {"quotas/goals/0/target_metric": "active_mem_bp", "quotas/goal_tuner": "temporal"}
    start(kernel, {**goal, "quotas/bytes": 10 * MIB})
    wait_for(lambda: quota or statistics(kernel)["qt_exceeds"])
    wait_for(lambda: effective(kernel) == quota)
