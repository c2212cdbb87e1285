"""What a plan stands for: which files, in which order, and how plans are told apart."""

import re
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_exporter.kernel.leaf import ANY_COUNT, ANY_SIZE, Leaf
from damon_exporter.kernel.plan import (
    NR_SCHEMES,
    TOKEN_FILE,
    IntervalGoal,
    IntervalPlan,
    KdamondPlan,
    TargetPlan,
)
from damon_exporter.kernel.scheme_features import SINCE
from damon_exporter.kernel.scheme_plan import FilterPlan, GoalPlan, QuotaPlan, SchemePlan, WatermarkPlan

NODE = KdamondPlan(
    operations="paddr",
    intervals=IntervalPlan(5_000, 100_000, 1_000_000),
    goal=IntervalGoal(400, 3, 5_000, 250_000),
    min_regions=10,
    max_regions=1000,
    targets=(TargetPlan(None, ((4096, 8192), (1 << 30, 2 << 30))),),
    refresh_ms=1000,
    region_schemes=False,
)
TWO_PROCESSES = replace(NODE, operations="vaddr", targets=(TargetPlan(42), TargetPlan(43)), region_schemes=True)

numbers = st.integers(1, 2**32 - 1)
targets = st.builds(TargetPlan, st.none() | numbers, st.lists(st.tuples(numbers, numbers), max_size=3).map(tuple))
filters = st.lists(
    st.builds(
        FilterPlan,
        st.sampled_from(["anon", "addr"]),
        st.booleans(),
        st.booleans(),
        st.sampled_from([(), (("memcg_path", "/a"),), (("addr_start", "1"), ("addr_end", "2"))]),
    ),
    max_size=2,
).map(tuple)
goals = st.builds(
    GoalPlan, st.just("node_memcg_used_bp"), numbers, numbers, st.none() | numbers, st.none() | st.just("/a")
)
schemes = st.builds(
    SchemePlan,
    name=st.just("s"),
    action=st.sampled_from(["stat", "pageout"]),
    apply_interval_us=numbers,
    quota=st.builds(QuotaPlan, numbers, numbers, numbers, goals=st.lists(goals, max_size=2).map(tuple)),
    watermarks=st.builds(WatermarkPlan, st.just("free_mem_rate"), numbers, numbers, numbers, numbers),
    core_filters=filters,
    ops_filters=filters,
    dests=st.lists(st.tuples(numbers, numbers), max_size=2).map(tuple),
)
plans = st.builds(
    KdamondPlan,
    operations=st.sampled_from(["paddr", "vaddr", "fvaddr"]),
    intervals=st.builds(IntervalPlan, numbers, numbers, numbers),
    goal=st.none() | st.builds(IntervalGoal, numbers, numbers, numbers, numbers),
    min_regions=numbers,
    max_regions=numbers,
    targets=st.lists(targets, min_size=1, max_size=4).map(tuple),
    refresh_ms=st.none() | numbers,
    region_schemes=st.booleans(),
    schemes=st.lists(schemes, max_size=2).map(tuple),
    offers=st.sampled_from([(), tuple(sorted(SINCE)), tuple(sorted(key for key in SINCE if key != "core_filters"))]),
    addr_unit=st.none() | numbers,
    pause=st.none() | st.booleans(),
    probes=st.none() | st.lists(filters, max_size=2).map(tuple),
)


def written(plan: KdamondPlan) -> list[Leaf]:
    """All that is written to a slot, in order."""
    return [("contexts/nr_contexts", "1"), (NR_SCHEMES, str(plan.nr_schemes)), (TOKEN_FILE, "1"), *plan.leaves()]


def files_of(plan: KdamondPlan) -> dict[str, str]:
    return dict(plan.leaves())


@given(plans)
def test_no_write_undoes_an_earlier_one(plan: KdamondPlan) -> None:
    before: list[str] = []
    for leaf, _ in written(plan):
        folder, _, name = leaf.rpartition("/")
        if name.startswith("nr_") and name != "nr_regions/min":
            remade = re.compile(rf"{re.escape(folder)}/\d+/")
            assert not [earlier for earlier in before if remade.match(earlier)]
        before.append(leaf)


@given(plans)
def test_every_numbered_folder_has_been_made_before_it_is_written_to(plan: KdamondPlan) -> None:
    made: dict[str, int] = {}
    for leaf, value in written(plan):
        folder, _, name = leaf.rpartition("/")
        for numbered in re.finditer(r"/(\d+)(?=/)", f"/{leaf}"):
            parent = f"/{leaf}"[: numbered.start()].lstrip("/")
            assert int(numbered[1]) < made[parent]
        if name.startswith("nr_"):
            made[folder] = int(value)


@given(plans)
def test_no_file_is_written_twice(plan: KdamondPlan) -> None:
    leaves = [leaf for leaf, _ in plan.leaves()]
    assert len(set(leaves)) == len(leaves)


@given(plans)
def test_the_token_file_is_left_to_the_skeleton(plan: KdamondPlan) -> None:
    assert TOKEN_FILE not in files_of(plan)


@given(plans)
def test_counts_that_the_kernel_keeps_in_32_bits_never_overflow(plan: KdamondPlan) -> None:
    for leaf, value in plan.leaves():
        if re.search(r"access_pattern/(nr_accesses|age)/", leaf):
            assert int(value) in (0, ANY_COUNT)
            assert ANY_COUNT < 2**32


@given(plans, plans)
def test_the_fingerprint_changes_with_what_is_written(one: KdamondPlan, other: KdamondPlan) -> None:
    if files_of(one) != files_of(other):
        assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"operations": "fvaddr"},
        {"intervals": IntervalPlan(5_000, 100_000, 1_000_001)},
        {"goal": None},
        {"min_regions": 11},
        {"max_regions": 1001},
        {"targets": (TargetPlan(None, ((4096, 8192),)),)},
        {"refresh_ms": None},
        {"region_schemes": True},
        {"schemes": (SchemePlan("cold", "pageout"),)},
        {"offers": ("dests",)},
        {"addr_unit": 1},
        {"pause": False},
        {"probes": ()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_fingerprint_changes_with_every_part_of_a_plan(change: dict[str, object]) -> None:
    assert replace(NODE, **change).fingerprint != NODE.fingerprint


def test_every_part_of_a_plan_has_been_changed_above() -> None:
    assert {field.name for field in fields(KdamondPlan)} == {
        "operations", "intervals", "goal", "min_regions", "max_regions", "targets", "refresh_ms", "region_schemes",
        "schemes", "offers", "addr_unit", "pause", "probes",
    }  # fmt: skip


def test_the_fingerprint_fits_into_a_token() -> None:
    assert 0 <= NODE.fingerprint < 2**32


def test_scheme_0_of_a_plan_without_region_schemes_matches_nothing() -> None:
    assert {value for leaf, value in NODE.leaves() if "access_pattern" in leaf} == {"0"}


def test_with_one_target_scheme_0_matches_every_region() -> None:
    files = files_of(replace(NODE, region_schemes=True))
    pattern = "contexts/0/schemes/0/access_pattern"
    assert files[f"{pattern}/sz/max"] == str(ANY_SIZE)
    assert files[f"{pattern}/nr_accesses/max"] == files[f"{pattern}/age/max"] == str(ANY_COUNT)
    assert replace(NODE, region_schemes=True).nr_schemes == 1


def test_with_several_targets_each_has_a_scheme_that_rejects_the_others() -> None:
    files = files_of(TWO_PROCESSES)
    assert TWO_PROCESSES.nr_schemes == 3
    assert files["contexts/0/schemes/0/access_pattern/sz/max"] == "0"
    for index in (0, 1):
        scheme = f"contexts/0/schemes/{index + 1}"
        assert files[f"{scheme}/access_pattern/sz/max"] == str(ANY_SIZE)
        assert files[f"{scheme}/filters/nr_filters"] == "1"
        assert files[f"{scheme}/filters/0/type"] == "target"
        assert files[f"{scheme}/filters/0/damon_target_idx"] == str(index)
        assert files[f"{scheme}/filters/0/matching"] == "N"


def test_what_tuning_changes_is_not_lasting() -> None:
    lasting = dict(NODE.lasting())
    assert not [leaf for leaf in lasting if leaf.endswith(("sample_us", "aggr_us")) and "goal" not in leaf]
    assert lasting["contexts/0/schemes/nr_schemes"] == "1"


@pytest.mark.parametrize("goal", [None, IntervalGoal()], ids=["not there", "off"])
def test_fixed_intervals_are_lasting(goal: IntervalGoal | None) -> None:
    lasting = dict(replace(NODE, goal=goal).lasting())
    assert lasting["contexts/0/monitoring_attrs/intervals/sample_us"] == "5000"
