import re

from prometheus_client.process_collector import ProcessCollector

from damon_exporter.metrics.catalog import METRICS, PROCESS, Kind


def test_every_name_stands_once() -> None:
    names = [metric.name for metric in METRICS]

    assert sorted(set(names)) == sorted(names)


def test_counters_and_only_they_end_in_total() -> None:
    assert [m.name for m in METRICS if m.name.endswith("_total") != (m.kind is Kind.COUNTER)] == []


def test_info_metrics_and_only_they_end_in_info() -> None:
    assert [m.name for m in METRICS if m.name.endswith("_info") != (m.kind is Kind.INFO)] == []


def test_names_and_labels_use_only_lower_case_and_underscores() -> None:
    words = [word for metric in METRICS for word in (metric.name, *metric.labels)]

    assert [word for word in words if not re.fullmatch(r"[a-z][a-z_]*", word)] == []


def test_no_label_is_one_that_prometheus_keeps_for_itself() -> None:
    reserved = {"le", "quantile", "job", "instance"}

    assert [m.name for m in METRICS if reserved & set(m.labels)] == []


def test_every_help_is_one_line_of_whole_sentences() -> None:
    assert [m.name for m in METRICS if "\n" in m.help or not m.help.endswith(".")] == []


def test_the_working_set_is_defined_where_it_is_read() -> None:
    (working_set,) = (m for m in METRICS if m.name == "damon_working_set_bytes")

    assert "at least one sample" in working_set.help
    assert "not container_memory_working_set_bytes" in working_set.help


def test_the_idle_age_says_what_it_cannot_tell_apart() -> None:
    (idle_age,) = (m for m in METRICS if m.name == "damon_idle_age_seconds")

    assert "count as 0" in idle_age.help
    assert "below one aggregation interval cannot be told apart" in idle_age.help


def test_the_process_metrics_are_those_of_the_client_library() -> None:
    kinds = {"gauge": "", "counter": "_total"}
    collected = {f.name + kinds[f.type]: f.documentation for f in ProcessCollector(registry=None).collect()}

    assert {metric.name: metric.help for metric in PROCESS.metrics} == collected
