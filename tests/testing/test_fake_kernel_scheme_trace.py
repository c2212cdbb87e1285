"""The events by which schemes of the fake kernel tell what they have done, since 7.0."""

from pathlib import Path

import numpy as np
from driving import wait_for
from numpy.typing import NDArray
from staging import (
    GIB,
    MIB,
    UINT,
    set_scheme,
    stage_physical,
    stage_schemes,
    statistics,
)
from test_fake_kernel_trace import collect, make_instance

from damon_exporter.testing.fake_kernel import FakeKernel

STAT = "damos_stat_after_apply_interval"
EFFECTIVE_QUOTA = "damos_esz"
ALL = (0, UINT)


def events(instance: Path, name: str, seconds: float = 0.0) -> NDArray[np.void]:
    """The events of a kind that are there, and those of a while, by their time."""
    found = [cpu.events[name] for cpu in collect(instance, seconds)]
    order = np.argsort(np.concatenate([events.ts for events in found]), kind="stable")
    data: NDArray[np.void] = np.concatenate([events.data for events in found])[order]
    return data


def test_every_pass_tells_the_counters_of_the_schemes_that_were_due(kernel: FakeKernel) -> None:
    stage_physical(kernel)
    stage_schemes(kernel, ALL, ALL)
    set_scheme(kernel, {"action": "lru_prio"}, scheme=1)
    instance = make_instance(kernel, STAT)
    kernel.write("0/state", "on")
    pid = int(kernel.read("0/pid"))
    told = events(instance, STAT, 0.3)
    assert told["scheme_idx"][:4].tolist() == [0, 1, 0, 1]
    assert set(told["common_pid"].tolist()) == {pid}
    first = told[told["scheme_idx"] == 0]
    assert first["nr_snapshots"].tolist() == list(range(1, len(first) + 1))
    assert (first["sz_tried"] == first["nr_snapshots"] * GIB).all()


def test_events_have_the_counters_that_files_have_after_an_update(kernel: FakeKernel) -> None:
    stage_physical(kernel)
    stage_schemes(kernel, ALL)
    set_scheme(kernel, {"action": "lru_prio", "quotas/bytes": 10 * MIB, "stats/max_nr_snapshots": 0})
    instance = make_instance(kernel, STAT)
    kernel.write("0/state", "on")
    wait_for(lambda: statistics(kernel)["qt_exceeds"] >= 2)
    shown = statistics(kernel)
    del shown["max_nr_snapshots"]
    told = events(instance, STAT)
    assert any(all(event[name] == value for name, value in shown.items()) for event in told)


def test_a_scheme_that_sleeps_is_told_with_those_that_do_not(kernel: FakeKernel) -> None:
    """Seen in a guest: it is due, and so its counters are told although it was not applied."""
    kernel.set_free_memory(500)
    stage_physical(kernel)
    stage_schemes(kernel, ALL, ALL)
    set_scheme(kernel, {"watermarks/metric": "free_mem_rate", "watermarks/interval_us": 100_000}, scheme=1)
    instance = make_instance(kernel, STAT)
    kernel.write("0/state", "on")
    told = events(instance, STAT, 0.3)
    sleeping = told[told["scheme_idx"] == 1]
    assert len(sleeping) > 2
    assert not sleeping["nr_tried"].any()


def test_an_effective_quota_is_told_when_it_is_first_set_and_when_it_changes(kernel: FakeKernel) -> None:
    stage_physical(kernel)
    stage_schemes(kernel, ALL, ALL)
    set_scheme(kernel, {"quotas/bytes": 10 * MIB, "quotas/reset_interval_ms": 50}, scheme=1)
    instance = make_instance(kernel, EFFECTIVE_QUOTA)
    kernel.write("0/state", "on")
    wait_for(lambda: statistics(kernel, 1)["qt_exceeds"] >= 3)
    set_scheme(kernel, {"quotas/bytes": 20 * MIB}, scheme=1)
    kernel.write("0/state", "commit")
    told = events(instance, EFFECTIVE_QUOTA, 0.3)
    assert told["esz"].tolist() == [10 * MIB, 20 * MIB]
    assert told["scheme_idx"].tolist() == [1, 1]


def test_kdamonds_of_modules_tell_as_well(kernel: FakeKernel) -> None:
    instance = make_instance(kernel, STAT, EFFECTIVE_QUOTA)
    kernel.set_free_memory(300)
    kernel.parameter("damon_reclaim", "enabled").write_text("Y")
    pid = int(kernel.parameter("damon_reclaim", "kdamond_pid").read_text())
    assert events(instance, STAT, 0.3)["common_pid"].tolist()[:2] == [pid, pid]
