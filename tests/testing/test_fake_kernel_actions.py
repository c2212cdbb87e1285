"""What actions of schemes do to memory in the fake kernel, and to the ages of regions."""

import pytest
from driving import wait_for
from staging import (
    CONTEXT,
    GIB,
    MIB,
    NEW,
    OLD,
    UINT,
    Start,
    both,
    set_scheme,
    stage_physical,
    stage_schemes,
    stage_virtual,
    statistics,
    tried,
)

from damon_exporter.testing.fake_kernel import FakeKernel

MADVISE = {"willneed", "cold", "pageout", "hugepage", "nohugepage"}
LRU = {"lru_prio", "lru_deprio"}
MIGRATE = {"migrate_hot", "migrate_cold"}
ACTIONS = ["stat", *sorted(MADVISE - {"pageout"}), "collapse", *sorted(LRU | MIGRATE), "pageout"]
"""In an order in which none takes from another what that needs: `pageout` comes last."""
LAST = 2 * GIB


def apply(kernel: FakeKernel, action: str, files: dict[str, object] | None = None) -> None:
    """Let one scheme for all regions begin."""
    stage_schemes(kernel, (0, UINT))
    set_scheme(kernel, {"action": action, **(files or {})})
    kernel.write("0/state", "on")


def apply_every(kernel: FakeKernel) -> set[str]:
    """Let a scheme for each action run for a while; those that were tried and applied."""
    names = [name for name in ACTIONS if name != "collapse" or (kernel.tracefs / "events/damon/damos_esz").exists()]
    stage_schemes(kernel, *[(0, UINT)] * len(names))
    for scheme, name in enumerate(names):
        set_scheme(kernel, {"action": name, "target_nid": 1}, scheme)
    kernel.write("0/state", "on")
    wait_for(lambda: statistics(kernel)["nr_tried"])
    counted = {name: statistics(kernel, scheme) for scheme, name in enumerate(names)}
    assert all(counters["nr_tried"] for counters in counted.values()), "an action was not even tried"
    return {name for name, counters in counted.items() if counters["sz_applied"]}


@pytest.mark.parametrize(("name", "applied"), [(OLD, MADVISE), (NEW, MADVISE | MIGRATE | {"collapse"})])
def test_which_actions_there_are_for_processes(fake_kernel: Start, name: str, applied: set[str]) -> None:
    kernel = fake_kernel(kernel=name, numa_nodes=2)
    kernel.add_process(42, "idle", memory=[(GIB, LAST, 0.0)])
    stage_virtual(kernel, 42)
    assert apply_every(kernel) == applied


@both
def test_which_actions_there_are_for_physical_memory(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name, numa_nodes=2)
    kernel.set_physical_heat([])
    stage_physical(kernel)
    assert apply_every(kernel) == {"pageout", *LRU, *MIGRATE}


@both
@pytest.mark.parametrize(("action", "resets"), [("stat", False), ("lru_prio", True), ("willneed", True)])
def test_every_action_but_stat_resets_ages_even_one_that_there_is_not(
    fake_kernel: Start, name: str, action: str, resets: bool
) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    apply(kernel, action)
    wait_for(lambda: statistics(kernel)["nr_tried"] > 60)
    kernel.write("0/state", "update_schemes_tried_regions")
    assert all((region["age"] <= 1) is resets for region in tried(kernel))


@both
def test_whoever_finds_the_ages_reset_by_a_scheme_before_it_matches_later(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT), (0, UINT))
    set_scheme(kernel, {"action": "lru_prio"})
    set_scheme(kernel, {"access_pattern/age/min": 1}, scheme=1)
    kernel.write("0/state", "on")
    wait_for(lambda: statistics(kernel)["nr_tried"] > 60)
    assert statistics(kernel, 1)["nr_tried"] == 0


@both
def test_physical_pageout_spares_what_is_accessed(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.set_physical_heat([(GIB, GIB + 256 * MIB, 1.0)])
    stage_physical(kernel)
    apply(kernel, "pageout", {"apply_interval_us": 40_000})
    wait_for(lambda: statistics(kernel)["nr_tried"])
    counters = statistics(kernel)
    assert counters["sz_applied"] * 4 == counters["sz_tried"] * 3


@both
def test_what_is_not_on_lru_lists_is_tried_and_not_applied(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.set_page_owners([(GIB, GIB + 64 * MIB, "file", None), (GIB + 64 * MIB, GIB + 128 * MIB, "slab", None)])
    stage_physical(kernel, (GIB, GIB + 256 * MIB))
    apply(kernel, "lru_deprio")
    wait_for(lambda: statistics(kernel)["nr_tried"])
    counters = statistics(kernel)
    assert counters["sz_applied"] * 4 == counters["sz_tried"]


@both
def test_physical_pageout_takes_memory_from_its_cgroup(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.set_physical_heat([])
    kernel.set_cgroups("/a")
    kernel.set_page_owners([(GIB, LAST, "anon", "/a")])
    stage_physical(kernel, (GIB, GIB + 256 * MIB))
    apply(kernel, "pageout")
    wait_for(lambda: (kernel.sysfs / "fs/cgroup/a/memory.current").read_text() == f"{768 * MIB}\n")


@both
def test_memory_that_has_left_is_not_paged_out_again(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.set_physical_heat([])
    kernel.set_page_owners([(GIB, LAST, "anon", None)])
    stage_physical(kernel)
    apply(kernel, "pageout")
    wait_for(lambda: statistics(kernel)["sz_tried"] >= 3 * GIB)
    assert statistics(kernel)["sz_applied"] == GIB


def resident_mib(kernel: FakeKernel) -> int:
    return int((kernel.procfs / "42/statm").read_text().split()[1]) * 4096 // MIB


@both
def test_pageout_makes_idle_memory_of_a_process_leave(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    busy, idle = (GIB, GIB + 64 * MIB, 1.0), (GIB + 64 * MIB, GIB + 256 * MIB, 0.0)
    kernel.add_process(42, "half", rss=256 * MIB, memory=[busy, idle])
    stage_virtual(kernel, 42)
    apply(kernel, "pageout")
    wait_for(lambda: resident_mib(kernel) == 64)
    assert "VmRSS:\t   65536 kB\n" in (kernel.procfs / "42/status").read_text()


@both
def test_pageout_of_a_process_counts_whole_regions_though_they_have_left_before(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.add_process(42, "idle", rss=GIB, memory=[(GIB, LAST, 0.0)])
    stage_virtual(kernel, 42)
    apply(kernel, "pageout")
    wait_for(lambda: statistics(kernel)["sz_tried"] >= 3 * GIB)
    counters = statistics(kernel)
    assert counters["sz_applied"] == counters["sz_tried"]


def test_what_is_mapped_in_part_only_cannot_be_advised(kernel: FakeKernel) -> None:
    kernel.add_process(42, "small", memory=[(GIB, GIB + MIB, 0.0)])
    stage_virtual(kernel, 42)
    kernel.write(f"{CONTEXT}/operations", "fvaddr")
    kernel.write(f"{CONTEXT}/targets/0/regions/nr_regions", 1)
    kernel.write(f"{CONTEXT}/targets/0/regions/0/start", GIB + 512 * 1024)
    kernel.write(f"{CONTEXT}/targets/0/regions/0/end", GIB + 2 * MIB)
    kernel.write(f"{CONTEXT}/monitoring_attrs/nr_regions/min", 3)
    apply(kernel, "cold")
    wait_for(lambda: statistics(kernel)["nr_tried"])
    counters = statistics(kernel)
    assert counters["sz_applied"] * 3 == counters["sz_tried"]


@both
@pytest.mark.parametrize(("node", "moves"), [(-1, False), (0, False), (1, True), (2, False)])
def test_migration_needs_another_node_with_memory(fake_kernel: Start, name: str, node: int, moves: bool) -> None:
    kernel = fake_kernel(kernel=name, numa_nodes=[(0, 3 * GIB), (3 * GIB, 6 * GIB)])
    stage_physical(kernel)
    apply(kernel, "migrate_cold", {"target_nid": node})
    wait_for(lambda: statistics(kernel)["nr_tried"])
    assert bool(statistics(kernel)["sz_applied"]) is moves
