"""DAMON's own modules, as their parameters show them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from damon_exporter.analysis.snapshot import Intervals
from damon_exporter.kernel.modules import Module, modules
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.scheme_stats import Watermarks
from damon_exporter.testing.fake_kernel import FakeKernel

Start = Callable[..., FakeKernel]


def module(kernel: FakeKernel, name: str) -> Module:
    return next(module for module in modules(kernel.paths) if module.name == name)


@pytest.mark.parametrize(
    ("name", "built_in"),
    [("6.12", ["damon_reclaim", "damon_lru_sort"]), ("7.3", ["damon_stat", "damon_reclaim", "damon_lru_sort"])],
)
def test_the_modules_of_a_kernel_are_found_and_all_off(fake_kernel: Start, name: str, built_in: list[str]) -> None:
    found = modules(fake_kernel(kernel=name).paths)
    assert [module.name for module in found] == built_in
    assert not any(module.enabled for module in found)


def test_damon_stat_that_runs_tells_its_pid_and_intervals(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_stat"])
    found = module(kernel, "damon_stat")
    assert found.enabled
    assert found.tuned
    assert found.pid == int(kernel.parameter("damon_stat", "kdamond_pid").read_text())


@pytest.mark.parametrize("name", ["6.12", "7.3"])
def test_damon_reclaim_that_runs_tells_its_pid_and_intervals(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name, enabled=["damon_reclaim"])
    found = module(kernel, "damon_reclaim")
    assert replace(found, schemes=()) == Module(
        "damon_reclaim", True, found.pid, Intervals(5_000, 100_000), tuned=False
    )
    assert found.pid == int(kernel.parameter("damon_reclaim", "kdamond_pid").read_text())


def test_a_module_tells_the_unit_of_its_addresses(tmp_path: Path) -> None:
    parameters = tmp_path / "module/damon_reclaim/parameters"
    parameters.mkdir(parents=True)
    for name, value in (("enabled", "Y"), ("addr_unit", "4096")):
        (parameters / name).write_text(f"{value}\n")
    (found,) = modules(KernelPaths(sysfs=tmp_path))
    assert found.addr_unit == 4096


def test_a_module_that_is_off_has_no_pid(fake_kernel: Start) -> None:
    assert module(fake_kernel(kernel="7.3"), "damon_reclaim").pid is None


def test_a_kernel_that_tells_no_pid_leaves_it_unknown(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_stat"])
    kernel.fail("*/damon_stat/parameters/kdamond_pid", "open", 2)
    assert module(kernel, "damon_stat").pid is None


def test_intervals_that_have_not_been_shown_yet_are_unknown(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_stat"])
    assert module(kernel, "damon_stat").intervals in (None, Intervals(5_000, 100_000))


def test_parameters_that_may_not_be_read_hide_the_module(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel="7.3")
    kernel.fail("*/damon_stat/parameters/enabled", "open", 13)
    assert "damon_stat" not in [module.name for module in modules(kernel.paths)]


# Schemes


def test_the_schemes_of_modules_tell_what_they_did_and_when_they_are_active(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_lru_sort"])
    (hot, cold) = module(kernel, "damon_lru_sort").schemes
    assert [(label, shown.index, shown.action) for label, shown in (hot, cold)] == [
        ("hot", 0, "lru_prio"),
        ("cold", 1, "lru_deprio"),
    ]
    assert cold[1].counters.keys() == {"nr_tried", "sz_tried", "nr_applied", "sz_applied", "qt_exceeds"}
    assert cold[1].watermarks == Watermarks(200, 150, 50)


def test_bytes_that_a_module_counts_in_units_are_told_in_bytes(tmp_path: Path) -> None:
    parameters = tmp_path / "module/damon_reclaim/parameters"
    parameters.mkdir(parents=True)
    counted = {"nr_reclaim_tried_regions": 1, "bytes_reclaim_tried_regions": 2, "nr_reclaimed_regions": 3}
    counted |= {"bytes_reclaimed_regions": 4, "nr_quota_exceeds": 5}
    settings = {"enabled": "Y", "addr_unit": 16, "wmarks_high": 3, "wmarks_mid": 2, "wmarks_low": 1}
    for name, value in {**counted, **settings}.items():
        (parameters / name).write_text(f"{value}\n")
    ((_, shown),) = modules(KernelPaths(sysfs=tmp_path))[0].schemes
    assert list(shown.counters.values()) == [1, 32, 3, 64, 5]
