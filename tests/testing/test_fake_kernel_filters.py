"""Which regions and pages the filters of schemes let through in the fake kernel."""

from collections.abc import Mapping

import pytest
from driving import wait_for
from staging import (
    GIB,
    MIB,
    NEW,
    OLD,
    UINT,
    ULONG,
    Start,
    add_filters,
    both,
    set_scheme,
    stage_physical,
    stage_schemes,
    stage_virtual,
    statistics,
    tried,
    tried_bytes,
)

from damon_exporter.testing.fake_kernel import FakeKernel

Filter = Mapping[str, object]
QUARTER = GIB // 4
FIRST: Filter = {"type": "addr", "addr_end": GIB + QUARTER}
FIRST_TWO: Filter = {"type": "addr", "addr_end": GIB + 2 * QUARTER}
EVERYTHING: Filter = {"type": "addr", "addr_end": ULONG}
NOTHING: Filter = {"type": "addr"}
ANON: Filter = {"type": "anon"}
ALLOW = {"matching": "Y", "allow": "Y"}
REJECT = {"matching": "Y"}
REJECT_OTHERS = {"matching": "N"}


@pytest.fixture
def owned(kernel: FakeKernel) -> FakeKernel:
    """A machine whose monitored 1 GiB is a quarter each of /a's anonymous, /a/b's and /c's file pages, and free."""
    give_owners(kernel)
    return kernel


def give_owners(kernel: FakeKernel) -> None:
    kernel.set_physical_heat([])
    kernel.set_cgroups("/a/b", "/c")
    kinds = (("anon", "/a"), ("file", "/a/b"), ("file", "/c"))
    kernel.set_page_owners(
        [
            (GIB + index * QUARTER, GIB + (index + 1) * QUARTER, kind, cgroup)
            for index, (kind, cgroup) in enumerate(kinds)
        ]
    )


def start(kernel: FakeKernel, filters: Mapping[str, list[Filter]], action: str = "stat") -> None:
    """Let one scheme for all of 1 GiB begin."""
    stage_physical(kernel)
    stage_schemes(kernel, (0, UINT))
    set_scheme(kernel, {"action": action})
    for folder, each in filters.items():
        add_filters(kernel, folder, *each)
    kernel.write("0/state", "on")


def quarters_tried(kernel: FakeKernel) -> float:
    return tried_bytes(kernel) / QUARTER


def first_counters(kernel: FakeKernel) -> dict[str, int]:
    wait_for(lambda: statistics(kernel)["nr_tried"])
    return statistics(kernel)


def share(kernel: FakeKernel, counter: str) -> float:
    """A counter of bytes in quarters of all that was tried."""
    counters = first_counters(kernel)
    return 4 * counters[counter] / counters["sz_tried"]


@both
@pytest.mark.parametrize(
    ("filters", "quarters"),
    [
        ([FIRST | REJECT_OTHERS], 1),
        ([FIRST | REJECT], 3),
        ([FIRST | REJECT, FIRST_TWO | REJECT_OTHERS], 1),
        ([NOTHING | REJECT], 4),
        ([{"type": "addr", "addr_start": GIB + 100, "addr_end": GIB + QUARTER + 4095} | REJECT_OTHERS], 1),
    ],
    ids=["others rejected", "rejected", "two", "empty range", "bounds in the middle of pages"],
)
def test_filters_that_reject_addresses(fake_kernel: Start, name: str, filters: list[Filter], quarters: int) -> None:
    kernel = fake_kernel(kernel=name)
    start(kernel, {"filters": filters})
    assert quarters_tried(kernel) == quarters


@pytest.mark.parametrize(
    ("filters", "quarters"),
    [
        ([FIRST | ALLOW], 1),
        ([FIRST | ALLOW, FIRST_TWO | REJECT], 3),
        ([FIRST | REJECT, FIRST_TWO | ALLOW], 1),
        ([FIRST | REJECT, EVERYTHING | ALLOW], 3),
        ([FIRST_TWO | REJECT, FIRST | ALLOW], 0),
    ],
    ids=["the rest is rejected", "the rest is allowed", "the rest is rejected again", "all others", "first one counts"],
)
def test_of_filters_that_allow_the_first_match_decides_and_the_last_one_about_the_rest(
    kernel: FakeKernel, filters: list[Filter], quarters: int
) -> None:
    start(kernel, {"core_filters": filters})
    assert quarters_tried(kernel) == quarters


def test_core_filters_come_before_those_of_the_old_folder(kernel: FakeKernel) -> None:
    start(kernel, {"filters": [EVERYTHING | ALLOW], "core_filters": [FIRST | REJECT]})
    assert quarters_tried(kernel) == 3


def test_what_an_address_filter_cuts_is_one_region_again_after_a_pass_that_leaves_it_alone(kernel: FakeKernel) -> None:
    start(kernel, {"core_filters": [{"type": "addr", "addr_end": GIB + 48 * MIB} | ALLOW]})
    wait_for(lambda: statistics(kernel)["nr_tried"] > 3)
    add_filters(kernel, "core_filters")
    kernel.write("0/state", "commit")
    kernel.write("0/state", "update_schemes_tried_regions")
    assert not any(GIB + 48 * MIB in (region["start"], region["end"]) for region in tried(kernel))


def test_a_filter_for_a_target_that_is_not_there_matches_nothing(kernel: FakeKernel) -> None:
    start(kernel, {"core_filters": [{"type": "target", "damon_target_idx": 99} | ALLOW]})
    assert quarters_tried(kernel) == 0


def test_a_core_filter_that_nobody_wrote_to_is_a_filter_of_anonymous_pages(owned: FakeKernel) -> None:
    start(owned, {"core_filters": [{"matching": "Y", "allow": "Y"}]})
    assert share(owned, "sz_ops_filter_passed") == 1


@pytest.mark.parametrize(
    ("filters", "passed"),
    [
        ([ANON | ALLOW], 1),
        ([ANON | REJECT], 2),
        ([{"type": "memcg", "memcg_path": "/a"} | ALLOW], 1),
        ([{"type": "memcg", "memcg_path": "/"} | ALLOW], 0),
        ([{"type": "memcg", "memcg_path": "/a"} | REJECT, {"type": "memcg", "memcg_path": "/c"} | REJECT], 1),
        ([{"type": "young"} | REJECT], 3),
        ([{"type": "hugepage_size", "min": 0, "max": 4096} | ALLOW], 3),
        ([{"type": "hugepage_size", "min": 4097, "max": ULONG} | ALLOW], 0),
        ([{"type": "unmapped"} | ALLOW], 0),
    ],
    ids=["anon", "not anon", "one cgroup", "no descendants", "two cgroups", "young", "small", "huge", "unmapped"],
)
def test_stat_counts_the_pages_that_filters_let_through_and_tries_all(
    owned: FakeKernel, filters: list[Filter], passed: int
) -> None:
    start(owned, {"ops_filters": filters})
    assert share(owned, "sz_ops_filter_passed") == passed


def test_tried_regions_show_the_bytes_that_passed(owned: FakeKernel) -> None:
    start(owned, {"ops_filters": [ANON | ALLOW]})
    owned.write("0/state", "update_schemes_tried_regions")
    folder = owned.kdamonds / "0/contexts/0/schemes/0/tried_regions"
    assert sum(int(path.read_text()) for path in folder.glob("*/sz_filter_passed")) == QUARTER


def test_without_a_filter_of_pages_stat_looks_at_none(owned: FakeKernel) -> None:
    start(owned, {})
    assert share(owned, "sz_ops_filter_passed") == 0


@pytest.mark.parametrize(
    ("core", "passed"), [([FIRST_TWO | ALLOW], 2), ([FIRST | REJECT], 0), ([EVERYTHING | REJECT_OTHERS], 1)]
)
def test_what_a_core_filter_allows_skips_the_filters_of_pages_and_what_none_matches_does_not(
    owned: FakeKernel, core: list[Filter], passed: int
) -> None:
    start(owned, {"core_filters": core, "ops_filters": [ANON | ALLOW]})
    wait_for(lambda: statistics(owned)["nr_tried"])
    counters = statistics(owned)
    assert counters["sz_ops_filter_passed"] == passed * QUARTER * counters["nr_snapshots"]


@both
def test_actions_on_physical_memory_are_applied_to_what_passes(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    give_owners(kernel)
    start(kernel, {"filters": [{"type": "memcg", "memcg_path": "/a/b"} | REJECT]}, action="lru_deprio")
    assert share(kernel, "sz_applied") == 2


def test_a_filter_of_young_pages_takes_the_place_of_the_one_that_pageout_has(kernel: FakeKernel) -> None:
    kernel.set_physical_heat([(GIB, 2 * GIB, 1.0)])
    start(kernel, {"ops_filters": [{"type": "young"} | ALLOW]}, action="pageout")
    assert share(kernel, "sz_applied") == 4


def test_stat_ignores_filters_of_pages_on_6_12(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel=OLD)
    start(kernel, {"filters": [ANON | REJECT]})
    assert quarters_tried(kernel) == 4


@pytest.mark.parametrize(("name", "applied"), [(OLD, 0), (NEW, 1)])
def test_a_core_filter_that_rejects_what_does_not_match_spoils_actions_on_physical_memory_on_6_12(
    fake_kernel: Start, name: str, applied: int
) -> None:
    """Seen in a guest: lru_deprio with the filter ``target``, 0, ``N`` was tried as without, and applied to nothing."""
    kernel = fake_kernel(kernel=name)
    start(kernel, {"filters": [EVERYTHING | REJECT_OTHERS]}, action="lru_deprio")
    counters = first_counters(kernel)
    assert counters["sz_applied"] == applied * counters["sz_tried"]


@both
def test_madvise_ignores_all_filters_of_pages(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.add_process(42, "idle", memory=[(GIB, 2 * GIB, 0.0)])
    stage_virtual(kernel, 42)
    stage_schemes(kernel, (0, UINT))
    set_scheme(kernel, {"action": "pageout"})
    add_filters(kernel, "filters", ANON | REJECT)
    kernel.write("0/state", "on")
    counters = first_counters(kernel)
    assert counters["sz_applied"] == counters["sz_tried"]


def test_stat_looks_at_pages_of_processes_too(kernel: FakeKernel) -> None:
    kernel.add_process(42, "idle", cgroup="/a", memory=[(GIB, 2 * GIB, 0.0)])
    stage_virtual(kernel, 42)
    stage_schemes(kernel, (0, UINT), (0, UINT))
    for scheme, path in enumerate(("/a", "/")):
        add_filters(kernel, "ops_filters", {"type": "memcg", "memcg_path": path} | ALLOW, scheme=scheme)
    kernel.write("0/state", "on")
    wait_for(lambda: statistics(kernel)["nr_tried"])
    passed = [statistics(kernel, scheme)["sz_ops_filter_passed"] for scheme in (0, 1)]
    assert passed[0] % GIB == passed[1] == 0 < passed[0]
