"""From what is configured of a scheme to the kernel's numbers: units, rounding, what the kernel lacks."""

import pytest

from damon_exporter.config import ConfigError, Monitor
from damon_exporter.config.loading import check
from damon_exporter.config.reading import parse
from damon_exporter.kernel.errors import Unsupported
from damon_exporter.kernel.leaf import ANY_COUNT, ANY_SIZE
from damon_exporter.kernel.plan import IntervalPlan
from damon_exporter.kernel.scheme_features import SINCE
from damon_exporter.kernel.scheme_plan import FilterPlan, GoalPlan, QuotaPlan, SchemePlan, WatermarkPlan
from damon_exporter.scheme_planning import plan_schemes

INTERVALS = IntervalPlan(5_000, 100_000, 1_000_000)
EVERYTHING = frozenset(SINCE)


def monitor(scheme: str, operations: str = "paddr", intervals: str = "{sample: 5ms, aggregation: 100ms}") -> Monitor:
    processes = "" if operations == "paddr" else ", processes: {match: [{comm: a}]}"
    text = f"""
kernel: {{allow_actions: true}}
monitors:
- {{name: node, operations: {operations}, intervals: {intervals}{processes}, schemes: [{{name: s, {scheme}}}]}}
"""
    return check(parse(text)).monitors[0]


def planned(scheme: str, operations: str = "paddr") -> SchemePlan:
    ((found,), _) = plan_schemes(monitor(scheme, operations), INTERVALS, EVERYTHING)
    return found


def test_what_nothing_is_said_of_matches_everything_and_is_not_limited() -> None:
    assert planned("action: pageout") == SchemePlan("s", "pageout")


@pytest.mark.parametrize(
    ("bounds", "counts"),
    [
        ("[0%, 0%]", (0, 0)),
        ("[5%, 25%]", (1, 5)),
        ("[1%, 9.9%]", (1, 1)),  # steps are 5 %: only counts within the bounds
        ("[0.33, 0.5]", (7, 10)),
        ("[0%, 100%]", (0, ANY_COUNT)),
        ("[51%, 100%]", (11, ANY_COUNT)),
    ],
)
def test_ratios_become_the_counts_that_lie_within(bounds: str, counts: tuple[int, int]) -> None:
    assert planned(f"action: stat, access_pattern: {{access_ratio: {bounds}}}").nr_accesses == counts


@pytest.mark.parametrize(
    ("bounds", "counts"),
    [
        ("[60s, max]", (600, ANY_COUNT)),
        ("[0s, 1s]", (0, 10)),
        ("[150ms, 250ms]", (2, 2)),
        ("[1us, 1h]", (1, 36_000)),
        ("[0s, 4971d]", (0, 4_294_944_000)),
    ],
)
def test_ages_become_the_aggregations_that_lie_within(bounds: str, counts: tuple[int, int]) -> None:
    assert planned(f"action: stat, access_pattern: {{age: {bounds}}}").age == counts


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("access_ratio: [1%, 3%]", "an aggregation has 20 samples, which makes steps of 5%"),
        ("age: [110ms, 190ms]", "no age lies between these"),
        ("age: [0s, 4972d]", "beyond what the kernel can count in 32 bits"),
        ("nr_accesses: [0, 4294967296]", "32 bits"),
        ("age_aggregations: [4294967296, max]", "32 bits"),
    ],
)
def test_bounds_that_no_region_can_have_or_the_kernel_cannot_hold_are_refused(pattern: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        monitor(f"action: stat, access_pattern: {{{pattern}}}")


@pytest.mark.parametrize("intervals", ["{autotune: {}}", "{}"])
def test_ages_in_time_are_refused_where_tuning_would_shift_them(intervals: str) -> None:
    with pytest.raises(ConfigError, match="auto-tuning changes how long an aggregation is"):
        monitor("action: stat, access_pattern: {age: [5s, max]}", intervals=intervals)
    assert monitor("action: stat, access_pattern: {age_aggregations: [50, max]}", intervals=intervals).schemes


def test_everything_arrives_in_the_kernels_units() -> None:
    scheme = planned(
        "action: migrate_cold, target_nid: 1, max_nr_snapshots: 7, apply_interval: 1s, "
        "access_pattern: {size: [4KiB, max]}, "
        "quotas: {time: 10ms, size: 128MiB, reset_interval: 1s, weights: {size: 0, access: 3, age: 7}, "
        "goal_tuner: temporal, fail_charge: {num: 1, denom: 1024}, goals: ["
        "{metric: some_mem_psi_us, target: 10ms}, {metric: node_mem_free_bp, target: 0.5%, nid: 1}, "
        "{metric: node_memcg_used_bp, target: 99.99%, nid: 0, path: /a}, "
        "{metric: user_input, target: 5, current: 4}]}, "
        "watermarks: {high: 50%, mid: 40%, low: 20%}, "
        "core_filters: [{type: addr, range: [4KiB, 8KiB], allow: true}, {type: target, target: 0}], "
        "ops_filters: [{type: memcg, path: /a, matching: false}, {type: hugepage_size, size: [2MiB, max]}]"
    )
    assert scheme == SchemePlan(
        name="s",
        action="migrate_cold",
        size=(4096, ANY_SIZE),
        apply_interval_us=1_000_000,
        quota=QuotaPlan(
            ms=10,
            bytes=128 << 20,
            reset_interval_ms=1000,
            weights=(0, 3, 7),
            goals=(
                GoalPlan("some_mem_psi_us", 10_000),
                GoalPlan("node_mem_free_bp", 50, nid=1),
                GoalPlan("node_memcg_used_bp", 9_999, nid=0, path="/a"),
                GoalPlan("user_input", 5, 4),
            ),
            goal_tuner="temporal",
            fail_charge=(1, 1024),
        ),
        watermarks=WatermarkPlan("free_mem_rate", 5_000_000, 500, 400, 200),
        core_filters=(
            FilterPlan("addr", True, True, (("addr_start", "4096"), ("addr_end", "8192"))),
            FilterPlan("target", True, False, (("damon_target_idx", "0"),)),
        ),
        ops_filters=(
            FilterPlan("memcg", False, False, (("memcg_path", "/a"),)),
            FilterPlan("hugepage_size", True, False, (("min", "2097152"), ("max", str(ANY_SIZE)))),
        ),
        target_nid=1,
        max_nr_snapshots=7,
    )


def test_processes_are_migrated_to_several_nodes_by_weight() -> None:
    assert planned("action: migrate_hot, dests: [{id: 2, weight: 3}, {id: 0, weight: 1}]", "vaddr").dests == (
        (2, 3),
        (0, 1),
    )


def test_what_the_kernel_lacks_is_refused_by_name_with_the_release_that_has_it() -> None:
    lacking = EVERYTHING - {"action=collapse", "filters/0/allow"}
    with pytest.raises(Unsupported, match=r"scheme s needs the action collapse \(Linux 7\.2\)") as caught:
        plan_schemes(monitor("action: collapse", "vaddr"), INTERVALS, lacking)
    assert "or set optional: true" in str(caught.value)


def test_an_optional_scheme_is_left_out_and_that_is_said() -> None:
    lacking = EVERYTHING - {"action=collapse"}
    optional = monitor("action: collapse, optional: true", "vaddr")
    assert plan_schemes(optional, INTERVALS, lacking) == (
        (),
        ("scheme s is left out, as this kernel lacks the action collapse (Linux 7.2)",),
    )


@pytest.mark.parametrize(
    ("scheme", "operations", "need"),
    [
        ("action: migrate_hot, target_nid: 1", "vaddr", "migration of processes"),
        ("action: stat, ops_filters: [{type: anon}]", "vaddr", "page filters of stat for processes"),
        ("action: stat, ops_filters: [{type: anon}]", "paddr", "page filters of stat"),
        (
            "action: pageout, core_filters: [{type: addr, range: [0, 4096], matching: false}]",
            "paddr",
            "inverted core filters",
        ),
    ],
)
def test_what_an_older_kernel_would_silently_not_do_is_refused_there(scheme: str, operations: str, need: str) -> None:
    with pytest.raises(Unsupported):
        plan_schemes(monitor(scheme, operations), INTERVALS, EVERYTHING - {need})
