"""What is in the way of our own monitors, and the cure for each."""

import pytest

from damon_exporter.kernel.errors import Busy, Denied, Gone, KernelError, NotOurs, Rejected, Stuck, Unsupported
from damon_exporter.kernel.features import Feature
from damon_exporter.kernel.modules import MODULES, Module
from damon_exporter.kernel.ownership import Holder, Survey
from damon_exporter.obstacles import STUCK, obstacles, reason_of
from damon_exporter.state import CONTROL_BLOCKED_REASONS

FREE = Survey(Holder.NOBODY)
HAS_ALL = tuple(Feature(name, True, "detail", "cure") for name in ("damon_sysfs", "damon_sysfs_write"))
LACKS_DAMON = (
    Feature("damon_sysfs", False, "detail", "boot another kernel"),
    Feature("damon_sysfs_write", False, "", ""),
)
READ_ONLY = (HAS_ALL[0], Feature("damon_sysfs_write", False, "detail", "run as uid 0"))


def module(name: str, enabled: bool = True) -> Module:
    return Module(name, enabled, None, None, tuned=False)


def test_nothing_is_in_the_way_of_a_free_tree() -> None:
    assert obstacles(frozenset(), FREE, [module("damon_stat", enabled=False)], HAS_ALL, None) == {}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_runs_is_unless_it_may_be_stopped(name: str) -> None:
    found = obstacles(frozenset(), FREE, [module(name)], HAS_ALL, None)
    assert f"set kernel.takeover: [{name}]" in found[name]
    assert obstacles(frozenset({name}), FREE, [module(name)], HAS_ALL, None) == {}


def test_a_kernel_without_damon_is() -> None:
    missing = Unsupported("cannot read nr_kdamonds")
    found = obstacles(frozenset(), Survey(Holder.UNREADABLE, problem=missing), [], LACKS_DAMON, missing)
    assert found == {"unsupported": "this kernel shows no DAMON: boot another kernel"}


def test_a_tree_that_cannot_be_written_is() -> None:
    found = obstacles(frozenset(), FREE, [], READ_ONLY, None)
    assert found == {"permission": "DAMON's control tree cannot be written: run as uid 0"}


def test_another_exporter_is() -> None:
    found = obstacles(frozenset(), FREE, [], HAS_ALL, Busy("another damon-exporter holds the lock"))
    assert found == {"foreign_kdamond": "another damon-exporter holds the lock"}


def test_kdamonds_of_others_are() -> None:
    found = obstacles(frozenset({"idle_sysfs"}), Survey(Holder.SOMEBODY), [], HAS_ALL, None)
    assert "ours start when nr_kdamonds has been 0" in found["foreign_kdamond"]


def test_an_idle_tree_is_unless_it_may_be_used() -> None:
    idle = Survey(Holder.SOMEBODY_IDLE)
    assert "idle_sysfs" in obstacles(frozenset(), idle, [], HAS_ALL, None)["foreign_kdamond"]
    assert obstacles(frozenset({"idle_sysfs"}), idle, [], HAS_ALL, None) == {}


@pytest.mark.parametrize("holder", [Holder.US, Holder.UNFINISHED])
def test_our_own_leftovers_are_not(holder: Holder) -> None:
    assert obstacles(frozenset(), Survey(holder), [], HAS_ALL, None) == {}


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (Busy(), "foreign_kdamond"),
        (Gone(), "foreign_kdamond"),
        (NotOurs(), "foreign_kdamond"),
        (Denied(), "permission"),
        (Stuck(), "stuck"),
        (Unsupported(), "unsupported"),
        (Rejected(), "unsupported"),
        (KernelError(), "unsupported"),
    ],
)
def test_every_error_of_the_kernels_has_its_reason(problem: KernelError, reason: str) -> None:
    assert reason_of(problem) == reason
    assert reason in CONTROL_BLOCKED_REASONS


def test_a_stuck_command_has_its_reason() -> None:
    assert set(STUCK) <= set(CONTROL_BLOCKED_REASONS)
