"""`damon-exporter report heatmap` draws what damo draws, and its cells are damo's."""

from pathlib import Path

import numpy as np
import pytest
from damo_itself import DEMO, Damo, changing_snapshots
from made_regions import regions
from numpy.typing import NDArray
from reporting import now_and_then, one_monitor, report, report_json, untimed, without_colours

from damon_exporter.analysis.snapshot import Intervals, Snapshot

MIB = 1 << 20


@pytest.fixture(scope="session")
def three_targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return one_monitor(tmp_path_factory.mktemp("heatmap") / "r", changing_snapshots(14, targets=3)[:20])


def test_what_a_real_kernel_reported_is_drawn_as_damo_draws_it(damo: Damo) -> None:
    title, drawn = report("heatmap", "-i", DEMO, "--monitor", "processes").split("\n", 1)
    assert title == "# monitor processes, target 0 (service)"
    assert drawn == without_colours(damo("report", "heatmap", "--kdamond_idx", "1", "--tid", "0", recording=DEMO))


def test_time_without_regions_has_no_heat(damo: Damo, tmp_path: Path) -> None:
    file = now_and_then(tmp_path / "r")
    drawn = report("heatmap", "-i", file, "--resolution", "60", "40").split("\n", 1)[1]
    assert drawn == without_colours(damo("report", "heatmap", "--resol", "60", "40", recording=file))


def test_each_cell_of_each_target_has_the_heat_that_damo_finds(damo: Damo, three_targets: Path) -> None:
    ours = report_json("heatmap", "-i", three_targets, "--resolution", "30", "50")["targets"]
    assert len(ours) == 3
    for target, mine in enumerate(ours):
        options = ("--tid", str(target), "--resol", "30", "50", "--output", "raw")
        damos = cells(damo("report", "heatmap", *options, recording=three_targets))
        assert (mine["unit"], mine["column_bytes"]) == ("hz", damos[0, 1, 1])
        assert mine["row_seconds"] == pytest.approx(damos[1, 0, 0] / 1e9)
        heat = np.array(mine["heat"], np.float64)
        seen = ~np.isnan(heat)
        assert heat[seen] == pytest.approx(damos[..., 2][seen], rel=1e-9, abs=1e-9)
        assert not np.nan_to_num(damos[..., 2][~seen]).any()  # damo has 0 where only a border touches the cell
        assert seen.mean() > 0.3


def cells(printed: str) -> NDArray[np.float64]:
    """Time (ns), address (bytes), both from the start of the map, and heat, by row and column."""
    lines = [[float(value) for value in line.split("\t")] for line in printed.split("\n") if line]
    return np.array(lines).reshape(30, 50, 3)


def apart(*, accessed: tuple[int, int]) -> list[Snapshot]:
    """Two ranges with a gap between, the second of which is monitored from the fifth snapshot on."""
    low, high = (4 * MIB, 8 * MIB, accessed[0], 0), (100 * MIB, 104 * MIB, accessed[1], 0)
    made = [regions(low), regions(low, high)]
    return [Snapshot(0, (50 + i) * 10**8, made[i >= 5], Intervals(5_000, 100_000), 100_000) for i in range(10)]


def test_the_range_with_most_accesses_is_drawn_or_all_of_them(tmp_path: Path) -> None:
    file = one_monitor(tmp_path / "r", apart(accessed=(1, 20)))
    shape = ("--resolution", "2", "4")
    (hottest,) = report_json("heatmap", "-i", file, *shape)["targets"]
    assert (hottest["start"], hottest["heat"]) == (100 * MIB, [[None] * 4, [pytest.approx(200)] * 4])
    first, second = report_json("heatmap", "-i", file, *shape, "--ranges", "all")["targets"]
    assert (first["start"], first["heat"]) == (4 * MIB, [[pytest.approx(10)] * 4] * 2)
    assert second == hottest


def test_cells_in_which_nothing_was_monitored_are_blank(tmp_path: Path) -> None:
    file = one_monitor(tmp_path / "r", apart(accessed=(1, 20)))
    assert report("heatmap", "-i", file, "--resolution", "2", "4").split("\n")[1:3] == ["    ", "0000"]


def test_heat_without_known_intervals_is_in_samples(tmp_path: Path) -> None:
    file = one_monitor(tmp_path / "r", [untimed(each) for each in apart(accessed=(1, 20))])
    (hottest,) = report_json("heatmap", "-i", file, "--resolution", "2", "4")["targets"]
    assert hottest["unit"] == "samples"
    assert hottest["heat"][1] == [pytest.approx(20)] * 4
    assert "20.000 samples)" in report("heatmap", "-i", file, "--resolution", "2", "4")


def test_the_guide_names_time_and_ranges_as_damo_does(damo: Damo, tmp_path: Path) -> None:
    file = one_monitor(tmp_path / "r", [each for each in apart(accessed=(1, 20)) if len(each.regions) == 2])
    title, ours = report("heatmap", "-i", file, "--guide", "--raw-number").split("\n", 1)
    assert title == "# monitor made, target 0"
    assert damo("report", "heatmap", "--guide", recording=file).endswith(ours)
    assert ours.count("region\t") == 2
    (found,) = report_json("heatmap", "-i", file, "--guide")["targets"]
    assert (found["start_seconds"], found["end_seconds"]) == (pytest.approx(5.4), pytest.approx(5.9))
    assert found["ranges"] == [
        {"start": 4 * MIB, "end": 8 * MIB, "bytes": 4 * MIB},
        {"start": 100 * MIB, "end": 104 * MIB, "bytes": 4 * MIB},
    ]
