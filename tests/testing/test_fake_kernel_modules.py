"""damon_stat, damon_reclaim and damon_lru_sort in the fake kernel, and who may monitor beside whom."""

import errno

import pytest
from driving import wait_for
from staging import Start, errno_of, stage_physical
from test_fake_kernel_trace import AGGREGATED, collect, make_instance

from damon_exporter.testing.fake_kernel import FakeKernel

MODULES = {"6.12": ["damon_lru_sort", "damon_reclaim"], "7.3": ["damon_lru_sort", "damon_reclaim", "damon_stat"]}
EVERY_MODULE = [(name, module) for name, modules in MODULES.items() for module in modules]


def value(kernel: FakeKernel, module: str, name: str) -> str:
    return kernel.parameter(module, name).read_text().strip()


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
