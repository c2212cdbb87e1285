"""The life of schemes in the fake kernel: their counters, watermarks, intervals and limits."""

import time
from collections.abc import Mapping

import pytest
from driving import wait_for
from staging import (
    GIB,
    NEW,
    UINT,
    Start,
    both,
    in_flight,
    set_scheme,
    stage_physical,
    stage_schemes,
    stage_virtual,
    statistic,
    statistics,
    tried_bytes,
)
from test_fake_kernel_trace import AGGREGATED, collect, make_instance

from damon_exporter.testing.fake_kernel import FakeKernel

ALL = (0, UINT)
MARKS = {"metric": "free_mem_rate", "interval_us": 50_000, "high": 400, "mid": 300, "low": 200}


def start(kernel: FakeKernel, *schemes: Mapping[str, object]) -> None:
    """Let some schemes for all of 1 GiB begin."""
    stage_physical(kernel)
    stage_schemes(kernel, *[ALL] * len(schemes))
    for index, files in enumerate(schemes):
        set_scheme(kernel, files, index)
    kernel.write("0/state", "on")


def tried(kernel: FakeKernel, scheme: int = 0) -> int:
    return statistics(kernel, scheme)["nr_tried"]


def grows(kernel: FakeKernel, scheme: int = 0) -> bool:
    """Whether a scheme tries anything in a while."""
    before = tried(kernel, scheme)
    time.sleep(0.3)
    return tried(kernel, scheme) > before


def watched() -> dict[str, object]:
    return {f"watermarks/{file}": value for file, value in MARKS.items()}


# Counters


@both
def test_counters_go_by_index_over_commits_and_begin_anew_where_a_scheme_was_dropped(
    fake_kernel: Start, name: str
) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, {}, {}, {})
    wait_for(lambda: tried(kernel, 2) > 200)
    stage_schemes(kernel, ALL)
    kernel.write("0/state", "commit")
    stage_schemes(kernel, ALL, ALL, ALL)
    kernel.write("0/state", "commit")
    assert tried(kernel, 0) > 200 > tried(kernel, 2)


@both
def test_a_commit_of_another_action_keeps_what_was_counted(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, {"action": "lru_prio"})
    wait_for(lambda: tried(kernel) > 50)
    before = statistics(kernel)["sz_applied"]
    set_scheme(kernel, {"action": "stat"})
    kernel.write("0/state", "commit")
    assert statistics(kernel)["sz_applied"] >= before > 0


@both
def test_after_on_counters_begin_at_zero_and_files_show_the_old_ones_until_an_update(
    fake_kernel: Start, name: str
) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, {})
    wait_for(lambda: tried(kernel) > 200)
    kernel.write("0/state", "off")
    kernel.write("0/state", "on")
    assert statistic(kernel, "nr_tried") > 200
    assert tried(kernel) < 200


@both
def test_files_of_a_kdamond_that_has_ended_keep_their_last_values(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, {})
    wait_for(lambda: tried(kernel))
    last = statistic(kernel, "nr_tried")
    kernel.kill_kdamond()
    assert statistic(kernel, "nr_tried") == last


def test_a_snapshot_is_counted_for_every_target(kernel: FakeKernel) -> None:
    kernel.add_process(42, "one", memory=[(GIB, 2 * GIB, 0.0)])
    kernel.add_process(43, "two", memory=[(GIB, 3 * GIB, 0.0)])
    stage_virtual(kernel, 42, 43)
    stage_schemes(kernel, ALL)
    kernel.write("0/state", "on")
    wait_for(lambda: statistics(kernel)["nr_snapshots"] >= 4)
    counters = statistics(kernel)
    assert counters["sz_tried"] * 2 == counters["nr_snapshots"] * 3 * GIB


# max_nr_snapshots


def test_a_scheme_rests_after_so_many_snapshots_until_a_commit_allows_more(kernel: FakeKernel) -> None:
    start(kernel, {"stats/max_nr_snapshots": 3})
    wait_for(lambda: statistics(kernel)["nr_snapshots"] == 3)
    assert not grows(kernel)
    set_scheme(kernel, {"stats/max_nr_snapshots": 5})
    assert not grows(kernel)
    kernel.write("0/state", "commit")
    wait_for(lambda: statistics(kernel)["nr_snapshots"] == 5)
    assert statistics(kernel)["sz_tried"] == 5 * GIB


def test_a_limit_of_0_snapshots_is_none(kernel: FakeKernel) -> None:
    start(kernel, {"stats/max_nr_snapshots": 1})
    wait_for(lambda: statistics(kernel)["nr_snapshots"] == 1)
    set_scheme(kernel, {"stats/max_nr_snapshots": 0})
    kernel.write("0/state", "commit")
    assert grows(kernel)


# apply_interval_us


@both
def test_schemes_are_applied_after_whole_samples_and_at_least_one(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, *({"apply_interval_us": interval} for interval in (1, 2_000, 3_999)))  # a sample is 2 ms
    wait_for(lambda: tried(kernel) > 100)
    assert len({statistic(kernel, "nr_tried", scheme) for scheme in range(3)}) == 1


# Watermarks


@both
@pytest.mark.parametrize(
    ("free", "active"), [(401, False), (400, True), (300, True), (299, True), (200, True), (199, False)]
)
def test_a_scheme_begins_active_unless_free_memory_is_beyond_the_marks(
    fake_kernel: Start, name: str, free: int, active: bool
) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.set_free_memory(free)
    start(kernel, watched())
    assert grows(kernel) is active


@both
def test_what_has_fallen_asleep_wakes_only_below_the_middle(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.set_free_memory(500)
    start(kernel, watched())
    kernel.set_free_memory(350)
    assert not grows(kernel)
    kernel.set_free_memory(299)
    wait_for(lambda: grows(kernel))
    kernel.set_free_memory(350)
    assert grows(kernel)


@both
def test_watermarks_are_of_each_scheme(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.set_free_memory(500)
    start(kernel, {}, watched())
    assert [grows(kernel, scheme) for scheme in (0, 1)] == [True, False]


def test_a_command_that_waits_for_all_schemes_does_not_wait_for_one_that_sleeps(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    kernel.set_free_memory(500)
    start(kernel, {}, watched())
    assert [tried_bytes(kernel, scheme) for scheme in (0, 1)] == [GIB, 0]


@both
def test_without_an_interval_to_sleep_for_monitoring_goes_on(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.set_free_memory(500)
    start(kernel, {**watched(), "watermarks/interval_us": 0})
    found = collect(make_instance(kernel, AGGREGATED), 0.3)
    assert any(len(cpu.events[AGGREGATED]) for cpu in found)
    assert not grows(kernel)


def test_a_command_that_waits_for_all_schemes_never_ends_while_none_is_active_and_none_sleeps(
    fake_kernel: Start,
) -> None:
    kernel = fake_kernel(kernel=NEW)
    kernel.set_free_memory(500)
    start(kernel, {**watched(), "watermarks/interval_us": 0})
    with in_flight(kernel, "update_schemes_tried_bytes") as pending:
        time.sleep(0.3)
        assert not pending.done()
        kernel.set_free_memory(250)
    assert pending.result() is None


def test_a_commit_wakes_what_waits_for_free_memory_below_the_middle(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=NEW)
    kernel.set_free_memory(500)
    start(kernel, watched())
    kernel.set_free_memory(350)
    assert not grows(kernel)
    kernel.write("0/state", "commit")
    assert grows(kernel)


def test_a_commit_finds_a_scheme_active_once_if_others_are_awake(fake_kernel: Start) -> None:
    """Seen in a guest: of two schemes the one asleep tried all of memory in the pass that came with the commit."""
    kernel = fake_kernel(kernel=NEW)
    kernel.set_free_memory(500)
    start(kernel, {}, {**watched(), "apply_interval_us": 2_000})
    wait_for(lambda: tried(kernel))
    kernel.write("0/state", "commit")
    counters = statistics(kernel, 1)
    assert counters["nr_snapshots"] == 1
    assert not grows(kernel, 1)
