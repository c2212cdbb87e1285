import math
import re
from collections.abc import Iterable
from dataclasses import replace

import pytest
from example_state import ATTRIBUTION, DATABASES, DOWN, HOSTILE_NAME, NODE, PHYSICAL, POSTGRES, STATE, UNKNOWN_INTERVALS
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric

from damon_exporter.escaping import printable
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

    assert names(families(STATE)) | names(families(replace(STATE, max_series=100))) == expected


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


def test_a_name_that_nobody_can_print_is_escaped() -> None:
    targets = [labels["target"] for labels, _ in series(STATE)["damon_regions"]]

    assert printable(HOSTILE_NAME) in targets
    assert HOSTILE_NAME not in targets


def test_no_label_value_of_any_metric_is_unprintable() -> None:
    hostile = replace(STATE, kernel_release=HOSTILE_NAME, pod_labels={("a\n", "\ud800"): {"\x1b": "\0"}})

    values = {value for rows in series(hostile).values() for labels, _ in rows for value in labels.values()}
    assert {"a\\x0a", "\\xed\\xa0\\x80", "\\x1b", "\\x00", printable(HOSTILE_NAME)} <= values
    assert all(value.isprintable() for value in values)


def test_resident_bytes_stand_beside_the_span_of_processes_only() -> None:
    found = series(STATE)

    assert [value for _, value in found["damon_target_resident_bytes"]] == [POSTGRES.resident_bytes]
    assert len(found["damon_monitored_bytes"]) == 3


def test_whose_a_target_is_stands_in_five_words_of_which_some_are_empty() -> None:
    ((labels, value),) = series(STATE)["damon_target_info"]

    assert value == 1
    assert labels == {
        "monitor": "databases",
        "target": printable(HOSTILE_NAME),
        "cgroup": r"/system.slice/post\x2dgres.service",
        "namespace": "",
        "pod": "",
        "container": "",
    }


def test_processes_that_are_left_out_are_counted_where_processes_are_matched() -> None:
    assert series(STATE)["damon_targets_dropped"] == [({"monitor": "databases"}, 2)]
    assert ({"monitor": "databases"}, 3) in series(STATE)["damon_targets"]


def test_the_kinds_of_pages_sum_to_the_monitored_bytes() -> None:
    found = series(STATE)

    kinds = sum(value for _, value in found["damon_page_kind_band_bytes"])
    assert kinds == found["damon_monitored_bytes"][0][1] == PHYSICAL.monitored_bytes
    assert {labels["kind"] for labels, _ in found["damon_page_kind_band_bytes"]} == set(ATTRIBUTION.kinds)


def test_the_nodes_sum_to_the_bands() -> None:
    found = series(with_target())
    by_band: dict[str, float] = {}
    for labels, value in found["damon_numa_access_band_bytes"]:
        by_band[labels["band"]] = by_band.get(labels["band"], 0) + value

    assert by_band == {labels["band"]: value for labels, value in found["damon_access_band_bytes"]}


def test_a_container_is_named_by_its_pod_and_another_cgroup_by_its_path() -> None:
    rows = [labels for labels, _ in series(STATE)["damon_cgroup_standard_error_bytes"]]

    assert [(row["cgroup"], row["pod"], row["container"]) for row in rows] == [
        ("", "cart-7d9c", "server"),
        ("/system.slice/po\\xffst", "", ""),
    ]


def test_attribution_that_is_not_asked_for_has_no_series() -> None:
    found = names(families(replace(STATE, monitors=(DATABASES,))))

    assert not {name for name in found if re.match("damon_(attribution|cgroup|page_kind|numa)_", name)}


def test_an_attribution_of_kinds_alone_still_says_what_it_costs() -> None:
    kinds_only = replace(ATTRIBUTION, cgroups=(), unknown_bytes=None)
    found = series(replace(STATE, monitors=(replace(NODE, attribution=kinds_only),)))

    assert "damon_attribution_unknown_bytes" not in found
    assert found["damon_attribution_samples_total"][0][1] == 983_040
    assert found["damon_attribution_seconds_total"][0][1] == 4.5
    assert "damon_cgroup_access_band_bytes" not in found


def test_a_pod_has_one_series_for_each_of_its_labels() -> None:
    rows = [labels for labels, _ in series(STATE)["damon_pod_label_info"]]

    assert rows == [
        {"namespace": "shop", "pod": "cart-7d9c", "label": "app", "value": "cart"},
        {"namespace": "shop", "pod": "cart-7d9c", "label": "app.kubernetes.io/version", "value": "2.1"},
    ]
    assert series(STATE)["damon_containers_unnamed"] == [({}, 1)]


@given(st.integers(0, 2**53))
def test_byte_counts_are_exact(size: int) -> None:
    assert series(with_target(monitored_bytes=size))["damon_monitored_bytes"][0][1] == size


def test_no_value_is_infinite_or_not_a_number() -> None:
    assert all(math.isfinite(value) for rows in series(STATE).values() for _, value in rows)
