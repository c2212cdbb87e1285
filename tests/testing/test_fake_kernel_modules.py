"""damon_stat, damon_reclaim and damon_lru_sort in the fake kernel, and who may monitor beside whom."""

import errno
import time

import pytest
from driving import wait_for
from staging import GIB, MIB, Start, both, errno_of, stage_physical
from test_fake_kernel_trace import AGGREGATED, collect, make_instance

from damon_exporter.testing.fake_kernel import FakeKernel

MODULES = {"6.12": ["damon_lru_sort", "damon_reclaim"], "7.3": ["damon_lru_sort", "damon_reclaim", "damon_stat"]}
EVERY_MODULE = [(name, module) for name, modules in MODULES.items() for module in modules]


def value(kernel: FakeKernel, module: str, name: str) -> str:
    return kernel.parameter(module, name).read_text().strip()


def count(kernel: FakeKernel, module: str, name: str) -> int:
    return int(value(kernel, module, name))


def enable(kernel: FakeKernel, module: str, **settings: object) -> None:
    """Let a module work on idle memory, of which there is so little free that it is not asleep."""
    kernel.set_physical_heat([])
    kernel.set_free_memory(180 if module == "damon_lru_sort" else 300)
    for name, setting in settings.items():
        kernel.parameter(module, name).write_text(f"{setting}")
    kernel.parameter(module, "enabled").write_text("Y")


@pytest.mark.parametrize("name", ["6.12", "7.3"])
def test_a_kernel_has_the_modules_of_its_release_and_none_is_on(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    modules = sorted(path.name for path in (kernel.sysfs / "module").iterdir())
    assert modules == MODULES[name]
    assert [value(kernel, module, "enabled") for module in modules] == ["N"] * len(modules)


def test_a_module_can_run_from_boot(fake_kernel: Start) -> None:
    kernel = fake_kernel(enabled=["damon_stat"])
    pid = value(kernel, "damon_stat", "kdamond_pid")
    assert value(kernel, "damon_stat", "enabled") == "Y"
    assert (kernel.procfs / pid / "comm").read_text() == "kdamond.0\n"
    assert kernel.read("nr_kdamonds") == "0"


@pytest.mark.parametrize(("name", "module"), EVERY_MODULE)
def test_while_a_module_runs_sysfs_is_refused_even_if_the_module_sleeps(
    fake_kernel: Start, name: str, module: str
) -> None:
    kernel = fake_kernel(kernel=name, enabled=[module])
    stage_physical(kernel)
    assert errno_of(lambda: kernel.write("0/state", "on")) == errno.EBUSY
    assert kernel.read("0/state") == "off"
    kernel.parameter(module, "enabled").write_text("N")
    kernel.write("0/state", "on")
    assert kernel.read("0/state") == "on"


@pytest.mark.parametrize(("name", "module"), EVERY_MODULE)
def test_while_sysfs_monitors_a_module_is_refused_and_reads_back_as_off(
    fake_kernel: Start, name: str, module: str
) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    kernel.write("0/state", "on")
    enabled = kernel.parameter(module, "enabled")
    assert errno_of(lambda: enabled.write_text("Y")) == errno.EBUSY
    assert enabled.read_text() == "N\n"


def test_modules_exclude_each_other(fake_kernel: Start) -> None:
    kernel = fake_kernel(enabled=["damon_stat"])
    assert errno_of(lambda: kernel.parameter("damon_reclaim", "enabled").write_text("Y")) == errno.EBUSY


def test_enabling_what_runs_changes_nothing(fake_kernel: Start) -> None:
    kernel = fake_kernel(enabled=["damon_stat"])
    pid = value(kernel, "damon_stat", "kdamond_pid")
    kernel.parameter("damon_stat", "enabled").write_text("Y")
    assert value(kernel, "damon_stat", "kdamond_pid") == pid


def test_a_stopped_module_has_no_kdamond(fake_kernel: Start) -> None:
    kernel = fake_kernel(enabled=["damon_stat"])
    pid = value(kernel, "damon_stat", "kdamond_pid")
    kernel.parameter("damon_stat", "enabled").write_text("N")
    assert value(kernel, "damon_stat", "kdamond_pid") == "-1"
    assert not (kernel.procfs / pid).exists()


def test_damon_stat_reports_all_memory_to_the_trace(fake_kernel: Start) -> None:
    kernel = fake_kernel(enabled=["damon_stat"], memory_map=[(0x1000, 1 << 30, "System RAM")])
    found = collect(make_instance(kernel, AGGREGATED), 0.4)
    events = next(cpu.events[AGGREGATED] for cpu in found if len(cpu.events[AGGREGATED]))
    assert (events.data["common_pid"] == int(value(kernel, "damon_stat", "kdamond_pid"))).all()
    assert events.data["start"].min() == 0x1000
    assert events.data["end"].max() == 1 << 30


def test_a_module_that_its_watermarks_keep_asleep_reports_nothing(fake_kernel: Start) -> None:
    kernel = fake_kernel(enabled=["damon_reclaim"])
    assert [len(cpu.events[AGGREGATED]) for cpu in collect(make_instance(kernel, AGGREGATED), 0.3)] == [0, 0]


def test_damon_stat_shows_zeros_before_its_first_refresh_and_101_percentiles_after(fake_kernel: Start) -> None:
    kernel = fake_kernel(enabled=["damon_stat"])
    kernel.reboot()  # it may have been running for a while
    before = value(kernel, "damon_stat", "memory_idle_ms_percentiles").split(",")
    wait_for(lambda: value(kernel, "damon_stat", "aggr_interval_us") == "100000")
    after = [int(text) for text in value(kernel, "damon_stat", "memory_idle_ms_percentiles").split(",")]
    assert before == ["0"] * 101
    assert len(after) == 101
    assert after[0] < 0 < after[-1]
    assert after == sorted(after)
    assert int(value(kernel, "damon_stat", "estimated_memory_bandwidth")) > 0


def test_damon_reclaim_counts_what_it_tries_and_reclaims(kernel: FakeKernel) -> None:
    enable(kernel, "damon_reclaim", min_age=0, quota_ms=0, quota_sz=256 * MIB, quota_reset_interval_ms=100)
    wait_for(lambda: count(kernel, "damon_reclaim", "nr_quota_exceeds") >= 2)
    names = ("nr_reclaim_tried_regions", "bytes_reclaim_tried_regions", "nr_reclaimed_regions")
    assert all(count(kernel, "damon_reclaim", name) for name in names)
    tried = count(kernel, "damon_reclaim", "bytes_reclaim_tried_regions")
    assert tried >= count(kernel, "damon_reclaim", "bytes_reclaimed_regions") > 0


def test_damon_reclaim_waits_for_regions_to_be_old_enough(kernel: FakeKernel) -> None:
    enable(kernel, "damon_reclaim", min_age=60_000_000)
    time.sleep(0.4)
    assert count(kernel, "damon_reclaim", "nr_reclaim_tried_regions") == 0


@pytest.mark.parametrize(("skip", "reclaims"), [("N", True), ("Y", False)])
def test_damon_reclaim_may_skip_anonymous_pages(kernel: FakeKernel, skip: str, reclaims: bool) -> None:
    kernel.set_page_owners([(GIB, 2 * GIB, "anon", None)])
    enable(kernel, "damon_reclaim", min_age=0, quota_ms=0, quota_sz=0, skip_anon=skip)
    wait_for(lambda: count(kernel, "damon_reclaim", "nr_reclaim_tried_regions"))
    assert bool(count(kernel, "damon_reclaim", "nr_reclaimed_regions")) is reclaims


def test_damon_reclaim_monitors_and_does_nothing_on_6_12(fake_kernel: Start) -> None:
    """Seen in a guest with 6.12.117: whatever its parameters and watermarks are, it tries nothing."""
    kernel = fake_kernel(kernel="6.12")
    enable(kernel, "damon_reclaim", min_age=0)
    kernel.set_free_memory(900)
    found = collect(make_instance(kernel, AGGREGATED), 0.3)
    assert any(len(cpu.events[AGGREGATED]) for cpu in found)
    assert count(kernel, "damon_reclaim", "nr_reclaim_tried_regions") == 0


@both
def test_damon_lru_sort_counts_hot_and_cold_apart(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    enable(kernel, "damon_lru_sort", cold_min_age=0, quota_ms=0)
    kernel.set_physical_heat([(GIB, GIB + 512 * MIB, 1.0)])
    wait_for(lambda: count(kernel, "damon_lru_sort", "nr_lru_sort_tried_hot_regions"))
    wait_for(lambda: count(kernel, "damon_lru_sort", "nr_lru_sorted_cold_regions"))
    hot, cold = (count(kernel, "damon_lru_sort", f"bytes_lru_sorted_{heat}_regions") for heat in ("hot", "cold"))
    assert 0 < hot < cold


@both
def test_counters_of_a_module_stay_when_it_is_disabled_and_go_on_when_it_is_enabled_again(
    fake_kernel: Start, name: str
) -> None:
    kernel = fake_kernel(kernel=name)
    enable(kernel, "damon_lru_sort", cold_min_age=0)
    wait_for(lambda: count(kernel, "damon_lru_sort", "nr_lru_sort_tried_cold_regions"))
    kernel.parameter("damon_lru_sort", "enabled").write_text("N")
    before = count(kernel, "damon_lru_sort", "bytes_lru_sort_tried_cold_regions")
    assert value(kernel, "damon_lru_sort", "kdamond_pid") == "-1"
    kernel.parameter("damon_lru_sort", "enabled").write_text("Y")
    assert count(kernel, "damon_lru_sort", "bytes_lru_sort_tried_cold_regions") >= before > 0


@pytest.mark.parametrize(("name", "shown"), [("6.12", (GIB, 4 * GIB - 1)), ("7.3", (MIB, 4 * GIB))])
def test_a_module_shows_which_memory_it_has_chosen(fake_kernel: Start, name: str, shown: tuple[int, int]) -> None:
    memory = [(MIB, 512 * MIB, "System RAM"), (GIB, 4 * GIB, "System RAM")]
    kernel = fake_kernel(kernel=name, memory_map=memory)
    kernel.parameter("damon_lru_sort", "enabled").write_text("Y")
    assert tuple(count(kernel, "damon_lru_sort", f"monitor_region_{end}") for end in ("start", "end")) == shown


@both
@pytest.mark.parametrize(
    ("setting", "bad"),
    [("aggr_interval", 0), ("min_nr_regions", 2), ("sample_interval", 200_000), ("monitor_region_start", 1)],
)
def test_parameters_that_make_no_sense_are_refused_when_a_module_is_enabled(
    fake_kernel: Start, name: str, setting: str, bad: int
) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.parameter("damon_lru_sort", setting).write_text(f"{bad}")
    assert errno_of(lambda: kernel.parameter("damon_lru_sort", "enabled").write_text("Y")) == errno.EINVAL
    assert value(kernel, "damon_lru_sort", "enabled") == "N"
