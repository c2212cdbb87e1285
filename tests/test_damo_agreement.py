"""damo and we read each other's recordings, and find the same working sets in them to the byte."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damo_itself import DEMO, Damo, changing_snapshots, tuned_snapshots
from made_regions import working_set_bytes
from numpy.typing import NDArray
from running import path_flags, run

from damon_exporter.analysis.snapshot import Regions, Snapshot
from damon_exporter.analysis.workingset import percentile_bytes
from damon_exporter.sources.recording import (
    Origin,
    RecordedMonitor,
    Recording,
    read_recording,
    write_recording,
)
from damon_exporter.testing.fake_kernel import FakeKernel

TARGETS = 3
LEFT_OUT_BY_DAMO = 20


@pytest.fixture(scope="session")
def physical(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    path = tmp_path_factory.mktemp("recordings") / "physical"
    monitors = {0: RecordedMonitor("node", "paddr", {0: "physical"})}
    write_recording(path, changing_snapshots(1, targets=1), Origin("one target"), monitors)
    return read_recording(path)


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    path = tmp_path_factory.mktemp("recordings") / "processes"
    write_recording(path, changing_snapshots(2, TARGETS))
    return read_recording(path)


def of_target(regions: Regions, target: int) -> Regions:
    own = regions.target == target
    return Regions(**{name: getattr(regions, name)[own] for name in Regions.__slots__})


def working_sets(recording: Recording, target: int | None = None) -> NDArray[np.int64]:
    """Return the working set of each snapshot that damo takes into account, in time order."""
    taken = recording.snapshots[LEFT_OUT_BY_DAMO:]
    return np.array(
        [working_set_bytes(s.regions if target is None else of_target(s.regions, target)) for s in taken],
        np.int64,
    )


def percentiles(sets: NDArray[np.int64]) -> list[int]:
    return [percentile_bytes(np.sort(sets), percentile) for percentile in range(101)]


def reported(output: str) -> dict[int, list[int]]:
    """Return the bytes per target id from `damo report wss --raw_number`, in the order of its lines."""
    found: dict[int, list[int]] = {}
    for line in output.splitlines():
        if line.startswith("# target_id"):
            latest = found[int(line.split()[-1])] = []
        elif not line.startswith("#"):
            latest.append(int(line.split()[1]))
    return found


ALL_PERCENTILES = ("--raw_number", "--nr_cols_bar", "0", "--range", "0", "101", "1")


def test_all_percentiles_of_a_whole_recording_are_damos(damo: Damo, physical: Recording) -> None:
    output = damo("report", "wss", *ALL_PERCENTILES, recording=physical.path)
    assert reported(output) == {0: percentiles(working_sets(physical))}


@pytest.mark.parametrize("monitor", ["node", "processes"])
def test_all_percentiles_of_what_a_real_kernel_reported_are_damos(damo: Damo, tmp_path: Path, monitor: str) -> None:
    shipped = read_recording(DEMO)
    number = next(number for number, recorded in shipped.monitors.items() if recorded.name == monitor)
    write_recording(tmp_path / "r", (snapshot for snapshot in shipped if snapshot.kdamond == number))
    recording = read_recording(tmp_path / "r")
    output = damo("report", "wss", *ALL_PERCENTILES, recording=recording.path)
    assert reported(output) == {0: percentiles(working_sets(recording))}


def test_a_process_that_was_recorded_has_the_working_set_that_damo_finds(
    damo: Damo, fake_kernel: Callable[..., FakeKernel], tmp_path: Path
) -> None:
    kernel = fake_kernel(kernel="7.3")
    hot, idle = (1 << 30, (1 << 30) + (48 << 20), 1.0), (2 << 30, (2 << 30) + (16 << 20), 0.0)
    kernel.add_process(42, "busy", memory=[hot, idle])
    ended = run("record", "-o", str(tmp_path / "r"), *path_flags(kernel.paths), "--pid", "42", "--duration", "4s")
    assert ended.returncode == 0, ended.stderr
    assert len(read_recording(tmp_path / "r").snapshots) > LEFT_OUT_BY_DAMO
    output = damo("report", "wss", *ALL_PERCENTILES, recording=tmp_path / "r")
    assert reported(output) == {0: [48 << 20] * 101}


def test_all_percentiles_of_each_target_are_damos(damo: Damo, processes: Recording) -> None:
    output = damo("report", "wss", *ALL_PERCENTILES, "--per_target", recording=processes.path)
    assert reported(output) == {target: percentiles(working_sets(processes, target)) for target in range(TARGETS)}


def test_working_sets_of_all_targets_together_are_damos_in_time(damo: Damo, processes: Recording) -> None:
    options = ("--raw_number", "--all_wss", "--sortby", "time")
    output = damo("report", "wss", *options, recording=processes.path)
    assert reported(output) == {0: working_sets(processes).tolist()}


def test_damos_percentiles_of_all_targets_are_the_sums_of_the_targets(damo: Damo, processes: Recording) -> None:
    output = damo("report", "wss", *ALL_PERCENTILES, recording=processes.path)
    by_target = [percentiles(working_sets(processes, target)) for target in range(TARGETS)]
    assert reported(output) == {0: [sum(each) for each in zip(*by_target, strict=True)]}


def test_damo_reports_the_accesses_of_our_recording(damo: Damo, physical: Recording) -> None:
    style = ("--snapshot_idx", "7", "7", "--style", "recency-percentiles", "--raw_number")
    output = damo("report", "access", *style, recording=physical.path)
    assert f"total size: {physical.snapshots[7].regions.sizes.sum()}" in output
    assert "record DAMON intervals: sample 5000, aggr 100000" in output


def test_damo_draws_a_heatmap_of_our_recording(damo: Damo, processes: Recording) -> None:
    output = damo("report", "heatmap", "--tid", "1", "--resol", "10", "40", recording=processes.path)
    assert "# resolution: 40x10" in output
    assert "hz)" in output


def test_damo_follows_intervals_that_changed_on_the_way(damo: Damo, tmp_path: Path) -> None:
    write_recording(tmp_path / "r", tuned_snapshots())
    output = damo("report", "access", "--snapshot_idx", "1", "1", "--raw_number", recording=tmp_path / "r")
    assert "intervals: sample 20000 aggr 400000 (max access hz 50.000000)" in output


def test_damo_finds_our_recording_valid(damo: Damo, processes: Recording) -> None:
    assert damo("validate", "--nr_regions", "1", "150", recording=processes.path) == ""


@pytest.mark.parametrize("written", [changing_snapshots(6, TARGETS)[:30], tuned_snapshots()], ids=["fixed", "tuned"])
def test_what_damo_writes_again_of_our_recording_is_the_same(
    damo: Damo, tmp_path: Path, written: list[Snapshot]
) -> None:
    write_recording(tmp_path / "ours", written)
    options = ("convert_record_format", "--output_file", tmp_path / "damos")
    damo(*options, recording=tmp_path / "ours", option="--record_file")
    assert [plain(each) for each in read_recording(tmp_path / "damos")] == [plain(each) for each in written]


def plain(snapshot: Snapshot) -> tuple[object, ...]:
    columns = [getattr(snapshot.regions, name).tolist() for name in Regions.__slots__]
    return snapshot.end_ns, snapshot.intervals, snapshot.age_unit_us, columns


DAMO_WRITES = """
import json, pathlib, sys
import damo
sys.path.insert(0, str(pathlib.Path(damo.__file__).parent))
import _damon, _damo_records

given = json.load(sys.stdin)
records = []
for target, snapshots in enumerate(given["targets"]):
    intervals = _damon.DamonIntervals("5ms", "100ms", "1s")
    record = _damo_records.DamonRecord(0, 0, intervals, None, target, [])
    for start_time, end_time, rows in snapshots:
        regions = [_damon.DamonRegion(start, end, accesses, given["accesses"], age, given["age"])
                   for start, end, accesses, age in rows]
        record.snapshots.append(_damo_records.DamonSnapshot(start_time, end_time, regions, None))
    records.append(record)
error = _damo_records.write_damon_records(records, given["path"], given["format"], 0o600)
kdamonds = [_damon.Kdamond("on", 1, [_damon.DamonCtx("vaddr")])]
with open(given["path"] + ".kdamonds", "w") as file:
    json.dump([kdamond.to_kvpairs() for kdamond in kdamonds], file)
sys.exit(error)
"""


def damo_writes(path: Path, snapshots: list[Snapshot], **given: object) -> None:
    """Let damo's own code write a recording: one record per target, as `damo record` does."""
    targets = [
        [
            (snapshot.end_ns - 10**8, snapshot.end_ns, _rows(of_target(snapshot.regions, target)))
            for snapshot in snapshots
        ]
        for target in range(TARGETS)
    ]
    subprocess.run(
        [sys.executable, "-c", DAMO_WRITES],
        input=json.dumps({"path": str(path), "targets": targets, **given}),
        check=True,
        text=True,
        env={**os.environ, "HOME": str(path.parent)},
    )


def _rows(regions: Regions) -> list[tuple[int, ...]]:
    columns = (regions.start, regions.end, regions.nr_accesses, regions.age)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("file_format", ["json_compressed", "json"])
def test_a_recording_written_by_damo_is_read_as_it_was_meant(tmp_path: Path, file_format: str) -> None:
    meant = changing_snapshots(4, TARGETS)[:40]
    damo_writes(tmp_path / "r", meant, format=file_format, accesses="samples", age="aggr_intervals")
    recording = read_recording(tmp_path / "r")
    assert recording.damage is None
    assert [plain(each) for each in recording] == [plain(each) for each in meant]


def test_the_operations_that_damo_wrote_beside_its_recording_are_known(tmp_path: Path) -> None:
    meant = changing_snapshots(4, TARGETS)[:2]
    damo_writes(tmp_path / "r", meant, format="json_compressed", accesses="samples", age="aggr_intervals")
    assert read_recording(tmp_path / "r").monitors[0].operations == "vaddr"


def test_percents_and_times_written_by_damo_are_converted(tmp_path: Path) -> None:
    counted = changing_snapshots(5, TARGETS)[0]
    regions = counted.regions
    percents = Regions(regions.target, regions.start, regions.end, regions.nr_accesses * 5, regions.age * 100_000)
    told = Snapshot(0, counted.end_ns, percents, None, None)
    damo_writes(tmp_path / "r", [told], format="json_compressed", accesses="percent", age="usec")
    assert [plain(each) for each in read_recording(tmp_path / "r")] == [plain(counted)]
