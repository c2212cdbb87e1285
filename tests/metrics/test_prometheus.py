import math
from collections.abc import Iterable
from dataclasses import replace

import pytest
from example_state import DOWN, HOSTILE_NAME, NODE, PHYSICAL, STATE, UNKNOWN_INTERVALS
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric

from damon_exporter.metrics.catalog import METRICS, PROCESS
from damon_exporter.metrics.prometheus import families
from damon_exporter.state import CONTROL_BLOCKED_REASONS, Histogram, NodeState


def series(state: NodeState) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Every series of the state, by the name that a query uses."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in families(state):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def names(found: Iterable[Metric]) -> set[str]:
    return {family.name for family in found}


def with_target(**changes: object) -> NodeState:
    return replace(STATE, monitors=(replace(NODE, targets=(replace(PHYSICAL, **changes),)),))


def test_every_metric_of_the_catalogue_can_be_seen() -> None:
    expected = {m.name.removesuffix("_total").removesuffix("_info") for m in METRICS if m not in PROCESS.metrics}

    assert names(families(STATE)) == expected


def test_a_state_without_monitors_has_no_access_pattern() -> None:
    assert not any(name.startswith("damon_monitor") for name in series(replace(STATE, monitors=())))


def test_bands_sum_to_the_monitored_bytes() -> None:
    found = series(with_target())

    bands = sum(value for _, value in found["damon_access_band_bytes"])
    assert bands == found["damon_monitored_bytes"][0][1] == 8_589_934_591


def test_unknown_intervals_leave_out_what_needs_them() -> None:
    found = names(families(replace(STATE, monitors=(UNKNOWN_INTERVALS,))))

    assert not found & {
        "damon_access_band_bytes",
        "damon_access_band_byte_seconds",
        "damon_idle_age_seconds",
        "damon_heatmap_access_seconds",
        "damon_sample_interval_seconds",
        "damon_aggregation_interval_seconds",
        "damon_kdamond_cpu_seconds",
    }
    assert "damon_working_set_bytes" in found


def test_a_monitor_that_cannot_start_shows_as_down() -> None:
    found = series(replace(STATE, monitors=(DOWN,)))

    assert found["damon_monitor_up"] == [({"monitor": "bench"}, 0)]
    assert "damon_monitored_bytes" not in found


def test_buckets_are_cumulative_under_canonical_bounds() -> None:
    found = series(with_target(idle_age=Histogram((1.0, 60.0, 1048576.0), (3, 0, 4, 5), 17.5)))

    buckets = [(labels["le"], value) for labels, value in found["damon_idle_age_seconds_bucket"]]
    assert buckets == [("1.0", 3), ("60.0", 3), ("1.048576e+06", 7), ("+Inf", 12)]
    assert found["damon_idle_age_seconds_gcount"][0][1] == 12
    assert found["damon_idle_age_seconds_gsum"][0][1] == 17.5


def test_a_histogram_with_a_count_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        families(with_target(idle_age=Histogram((1.0, 60.0), (1, 2), 0.0)))


def test_every_reason_that_may_block_control_is_shown() -> None:
    blocked = {labels["reason"]: value for labels, value in series(STATE)["damon_control_blocked"]}

    assert blocked == {reason: float(reason == "damon_stat") for reason in CONTROL_BLOCKED_REASONS}


def test_labels_are_the_same_tuple_in_every_series_of_a_metric() -> None:
    found = series(STATE)

    differing = {name for name, rows in found.items() if len({tuple(labels) for labels, _ in rows}) > 1}
    assert differing == set()


def test_a_target_that_has_gone_leaves_no_series() -> None:
    families(STATE)

    remaining = series(replace(STATE, monitors=(NODE,)))["damon_monitored_bytes"]
    assert [labels["target"] for labels, _ in remaining] == ["physical"]


def test_a_name_that_is_no_unicode_can_be_encoded() -> None:
    targets = [labels["target"] for labels, _ in series(STATE)["damon_regions"]]

    assert HOSTILE_NAME.replace("\udcff", "\\udcff") in targets


@given(st.integers(0, 2**53))
def test_byte_counts_are_exact(size: int) -> None:
    assert series(with_target(monitored_bytes=size))["damon_monitored_bytes"][0][1] == size


def test_no_value_is_infinite_or_not_a_number() -> None:
    assert all(math.isfinite(value) for rows in series(STATE).values() for _, value in rows)
