"""`damon-exporter report wss` prints what damo prints, to the byte."""

from pathlib import Path

import pytest
from damo_itself import DEMO, Damo, changing_snapshots
from reporting import now_and_then, one_monitor, report, report_json


@pytest.fixture(scope="session")
def three_targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return one_monitor(tmp_path_factory.mktemp("wss") / "r", changing_snapshots(11, targets=3)[:60])


def test_of_several_kdamonds_each_is_named_where_damo_keeps_only_the_last(damo: Damo) -> None:
    ours = report("wss", "-i", DEMO)
    assert [line for line in ours.splitlines() if "monitor" in line] == ["# monitor\tnode", "# monitor\tprocesses"]
    assert ours.split("# monitor\tprocesses\n")[1] == damo("report", "wss", "--per_target", recording=DEMO)


@pytest.mark.parametrize(
    ("ours", "damos"),
    [
        ("--raw-number", "--raw_number"),
        ("--sort-by time --range 0 100 7", "--sortby time --range 0 100 7"),
    ],
    ids=["raw", "in time"],
)
def test_each_target_is_printed_as_damo_prints_it(damo: Damo, three_targets: Path, ours: str, damos: str) -> None:
    printed = report("wss", "-i", three_targets, *ours.split())
    assert printed == damo("report", "wss", "--per_target", *damos.split(), recording=three_targets)


def test_where_all_snapshots_are_left_out_it_is_said_why_there_is_nothing(damo: Damo, three_targets: Path) -> None:
    printed = report("wss", "-i", three_targets, "--exclude-samples", "60")
    assert printed.count(": all 60 are left out, give --exclude-samples 0\n") == 3
    damos = damo("report", "wss", "--per_target", "--exclude_samples", "60", recording=three_targets)
    assert printed.replace(": all 60 are left out, give --exclude-samples 0", "") == damos


def test_a_snapshot_without_regions_counts_as_a_working_set_of_nothing(damo: Damo, tmp_path: Path) -> None:
    file = now_and_then(tmp_path / "r")
    printed = report("wss", "-i", file)
    assert "\n 25             0 B |" in printed
    assert printed == damo("report", "wss", "--per_target", recording=file)


def test_json_has_the_same_numbers_as_numbers(three_targets: Path) -> None:
    answer = report_json("wss", "-i", three_targets, "--range", "50", "101", "50")
    lines = report("wss", "-i", three_targets, "--range", "50", "101", "50", "--raw-number").splitlines()
    assert (answer["version"], answer["report"], len(answer["targets"])) == (1, "wss", 3)
    first = answer["targets"][0]
    assert {key: first[key] for key in ("kdamond", "monitor", "operations", "target", "name", "snapshots")} == {
        "kdamond": 0,
        "monitor": "made",
        "operations": "vaddr",
        "target": 0,
        "name": "",
        "snapshots": 40,
    }
    assert [f"# avr:\t{int(first['average_bytes'])}"] == lines[2:3]
    assert [(f"{each['percentile']}", f"{each['bytes']}") for each in first["percentiles"]] == [
        tuple(line.split()[:2]) for line in lines[3:5]
    ]
