"""`damon-exporter report access` prints below its titles what damo prints in its default style, to the byte."""

from pathlib import Path

import pytest
from damo_itself import DEMO, Damo, changing_snapshots
from made_regions import regions
from reporting import COLOUR, now_and_then, one_monitor, report, report_json, untimed, without_colours

from damon_exporter.analysis.snapshot import Intervals, Snapshot

DAMOS_OWN = ("kdamond ", "record DAMON", "snapshot time")
MIB = 1 << 20


@pytest.fixture(scope="session")
def three_targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return one_monitor(tmp_path_factory.mktemp("access") / "r", changing_snapshots(12, targets=3)[:10])


def below_titles(printed: str, titles: tuple[str, ...]) -> list[str]:
    return [line for line in printed.splitlines() if line and not line.startswith(titles)]


@pytest.mark.parametrize("raw", [False, True], ids=["human", "raw"])
def test_every_snapshot_of_several_targets_is_printed_as_damo_prints_it(
    damo: Damo, three_targets: Path, raw: bool
) -> None:
    ours = report("access", "-i", three_targets, "--snapshot", "all", *(["--raw-number"] if raw else []))
    damos = without_colours(damo("report", "access", *(["--raw_number"] if raw else []), recording=three_targets))
    assert ours.count("# monitor made, target ") == 30
    assert below_titles(ours, ("# monitor",)) == below_titles(damos, DAMOS_OWN)


def test_a_snapshot_without_regions_is_one_all_the_same(damo: Damo, tmp_path: Path) -> None:
    file = now_and_then(tmp_path / "r")
    ours = report("access", "-i", file, "--snapshot", "all")
    damos = without_colours(damo("report", "access", recording=file))
    assert ours.count("heatmap: n/a (no region)\n") == 20
    assert below_titles(ours, ("# monitor",)) == below_titles(damos, DAMOS_OWN)


def test_a_temperature_of_less_than_one_below_zero_keeps_its_sign(damo: Damo, tmp_path: Path) -> None:
    made = regions((3 << 30, (3 << 30) + 3 * MIB, 0, 20))
    file = one_monitor(tmp_path / "r", [Snapshot(0, 10**12, made, Intervals(5_000, 100_000), 100_000)])
    ours = report("access", "-i", file)
    assert "# min/max temperatures: -200,000,000, -0, " in ours
    damos = without_colours(damo("report", "access", recording=file))
    assert below_titles(ours, ("# monitor",)) == below_titles(damos, DAMOS_OWN)


def test_what_a_real_kernel_reported_is_printed_as_damo_prints_it(damo: Damo) -> None:
    ours = report("access", "-i", DEMO, "--snapshot", "500")
    damos = damo("report", "access", "--snapshot_idx", "500", "500", recording=DEMO)
    assert "[...]" in ours
    assert below_titles(ours, ("# monitor",)) == below_titles(without_colours(damos), DAMOS_OWN)


def test_the_last_snapshot_is_shown_unless_another_is_asked_for(three_targets: Path) -> None:
    last = report("access", "-i", three_targets)
    assert last == report("access", "-i", three_targets, "--snapshot", "9")
    assert last == report("access", "-i", three_targets, "--snapshot", "-1")
    assert last.startswith("# monitor made, target 0, snapshot 9 (0 to 9)\n")


def test_a_wide_gap_is_cut_short_and_a_narrow_one_drawn(tmp_path: Path) -> None:
    made = regions((0, 40 * MIB, 5, 1), (42 * MIB, 80 * MIB, 0, 1), (1000 * MIB, 1002 * MIB, 0, 5))
    file = one_monitor(tmp_path / "r", [Snapshot(0, 10**9, made, Intervals(5_000, 100_000), 100_000)])
    drawn = report("access", "-i", file).splitlines()[1]
    assert drawn == f"heatmap: {'9' * 40}..{'5' * 38}[...]00"


def test_no_colours_go_into_a_pipe_unless_they_are_asked_for(three_targets: Path) -> None:
    plain = report("access", "-i", three_targets)
    coloured = report("access", "-i", three_targets, "--color", "always")
    assert "\033" not in plain
    assert coloured != plain
    assert COLOUR.sub("", coloured) == plain


def test_what_depends_on_intervals_that_nobody_knows_is_left_out(tmp_path: Path) -> None:
    file = one_monitor(tmp_path / "r", [untimed(changing_snapshots(13, targets=1)[0])])
    printed = report("access", "-i", file)
    assert "heatmap: n/a (intervals are not known)\nintervals: not known\n" in printed
    assert "memory bw estimate: n/a\n" in printed
    assert " samples age n/a" in printed
    region = report_json("access", "-i", file)["targets"][0]["snapshot"]["regions"][0]
    assert [region[key] for key in ("access_ratio", "access_hz", "age_seconds")] == [None, None, None]


def test_json_has_regions_in_bytes_and_seconds(tmp_path: Path) -> None:
    made = regions((4 * MIB, 8 * MIB, 5, 30), (8 * MIB, 9 * MIB, 0, 2))
    file = one_monitor(tmp_path / "r", [Snapshot(0, 10**9, made, Intervals(5_000, 100_000), 100_000)], {0: "busy"})
    assert report_json("access", "-i", file) == {
        "version": 1,
        "report": "access",
        "targets": [
            {
                "kdamond": 0,
                "monitor": "made",
                "operations": "vaddr",
                "target": 0,
                "name": "busy",
                "snapshot": {
                    "index": 0,
                    "snapshots": 1,
                    "start_seconds": 0.9,
                    "end_seconds": 1.0,
                    "sample_interval_seconds": 0.005,
                    "aggregation_interval_seconds": 0.1,
                    "total_bytes": 5 * MIB,
                    "working_set_bytes": 4 * MIB,
                    "access_bytes_per_second": 200.0 * MIB,
                    "regions": [
                        {
                            "start": 4 * MIB,
                            "end": 8 * MIB,
                            "bytes": 4 * MIB,
                            "nr_accesses": 5,
                            "access_ratio": 0.25,
                            "access_hz": 50.0,
                            "age_seconds": 3.0,
                        },
                        {
                            "start": 8 * MIB,
                            "end": 9 * MIB,
                            "bytes": MIB,
                            "nr_accesses": 0,
                            "access_ratio": 0.0,
                            "access_hz": 0.0,
                            "age_seconds": 0.2,
                        },
                    ],
                },
            }
        ],
    }
