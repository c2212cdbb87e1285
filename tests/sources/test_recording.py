"""Recordings that we write, read again; and the spellings of damo's records."""

import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from damon_exporter.analysis.snapshot import Intervals, Regions, Snapshot
from damon_exporter.sources.recording import (
    Origin,
    RecordedMonitor,
    RecordingError,
    RecordingWriter,
    read_recording,
    write_recording,
)

FIVE_MS = Intervals(5_000, 100_000)
Row = tuple[int, int, int, int, int]


def regions(*rows: Row) -> Regions:
    """Build regions from (target, start, end, nr_accesses, age)."""
    target, start, end, accesses, age = zip(*rows, strict=True)
    return Regions(
        np.array(target, np.uint32),
        np.array(start, np.uint64),
        np.array(end, np.uint64),
        np.array(accesses, np.uint32),
        np.array(age, np.uint32),
    )


def snapshot(
    end_ns: int,
    *rows: Row,
    kdamond: int = 0,
    intervals: Intervals | None = FIVE_MS,
    age_unit_us: int | None = 100_000,
) -> Snapshot:
    return Snapshot(kdamond, end_ns, regions(*(rows or [(0, 0, 4096, 1, 0)])), intervals, age_unit_us)


def plain(snapshot: Snapshot) -> tuple[Any, ...]:
    """Return a snapshot as values that can be compared."""
    columns = [getattr(snapshot.regions, name) for name in Regions.__slots__]
    shape = [(column.dtype.name, column.tolist()) for column in columns]
    return snapshot.kdamond, snapshot.end_ns, snapshot.intervals, snapshot.age_unit_us, shape


def changing_snapshots(count: int) -> list[Snapshot]:
    """Make snapshots of two kdamonds with several targets whose regions and numbers change all the time."""
    random = np.random.default_rng(7)
    made = []
    for step in range(count):
        for kdamond, targets in enumerate((1, 3)):
            rows = []
            for target in range(targets):
                cuts = np.unique(random.integers(1, 2**20, random.integers(1, 90))) * 4096
                base = (target + 1) << 40
                rows += [
                    (target, base + start, base + end, random.integers(0, 21), random.integers(0, 500))
                    for start, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)
                ]
            rows = rows or [(0, 0, 4096, 0, 0)]
            made.append(snapshot(10**12 + step * 100_300_000 + kdamond * 1_000, *rows, kdamond=kdamond))
    return made


def write_json(path: Path, records: object) -> Path:
    path.write_bytes(zlib.compress(json.dumps(records).encode()))
    return path


def record(*snapshots: dict[str, Any], **keys: Any) -> dict[str, Any]:
    intervals = {"sample_us": "5000", "aggr_us": "100000", "ops_update_us": "1000000"}
    return {"kdamond_idx": 0, "intervals": intervals, "target_id": 0, **keys, "snapshots": list(snapshots)}


def counted(end_ns: object, *regions: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"start_time": 0, "end_time": end_ns, "regions": list(regions or [region()]), **keys}


def region(start: object = 0, end: object = 4096, **keys: Any) -> dict[str, Any]:
    accesses, age = {"samples": 3, "percent": None}, {"usec": None, "aggr_intervals": "2"}
    return {"start": start, "end": end, "nr_accesses": accesses, "age": age, **keys}


def test_a_changing_recording_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = changing_snapshots(150)
    write_recording(tmp_path / "r", written)
    recording = read_recording(tmp_path / "r")
    assert recording.damage is None
    assert [plain(each) for each in recording] == [plain(each) for each in written]


def test_intervals_may_change_and_may_be_unknown(tmp_path: Path) -> None:
    written = [
        snapshot(10**9, intervals=None, age_unit_us=None),
        snapshot(2 * 10**9, intervals=FIVE_MS, age_unit_us=100_000),
        snapshot(3 * 10**9, intervals=FIVE_MS, age_unit_us=200_000),
        snapshot(4 * 10**9, intervals=Intervals(10_000, 200_000), age_unit_us=200_000),
    ]
    write_recording(tmp_path / "r", written)
    assert [plain(each) for each in read_recording(tmp_path / "r")] == [plain(each) for each in written]


def test_names_and_origin_come_back(tmp_path: Path) -> None:
    origin = Origin("a demo", "7.3.4", "damon-exporter record -o r", "zigzag: “two” areas")
    monitors = {
        0: RecordedMonitor("node", "paddr", {0: "physical"}),
        1: RecordedMonitor("databases", "vaddr", {0: "postgres", 2: "redis"}),
    }
    write_recording(tmp_path / "r", changing_snapshots(2), origin, monitors)
    recording = read_recording(tmp_path / "r")
    assert (recording.name, recording.origin, recording.monitors) == ("r", origin, monitors)


def test_kdamonds_are_numbered_in_the_order_in_which_they_appear(tmp_path: Path) -> None:
    written = [snapshot(1, kdamond=4711), snapshot(2, kdamond=12), snapshot(3, kdamond=4711)]
    write_recording(tmp_path / "r", written, monitors={12: RecordedMonitor("twelve")})
    recording = read_recording(tmp_path / "r")
    assert [each.kdamond for each in recording] == [0, 1, 0]
    assert recording.monitors[1].name == "twelve"


def test_a_recording_of_nothing_is_empty_and_not_an_error(tmp_path: Path) -> None:
    write_recording(tmp_path / "r", [])
    recording = read_recording(tmp_path / "r")
    assert (len(recording), recording.damage) == (0, None)


def test_names_may_be_learned_while_recording(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "r") as writer:
        writer.append(snapshot(1))
        writer.monitors[0] = RecordedMonitor("late")
    assert read_recording(tmp_path / "r").monitors[0].name == "late"


def test_only_the_owner_may_read_a_recording(tmp_path: Path) -> None:
    write_recording(tmp_path / "r", [snapshot(1)])
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o600


def test_the_former_recording_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    write_recording(tmp_path / "r", [snapshot(1)])
    with RecordingWriter(tmp_path / "r") as writer:
        writer.append(snapshot(2))
        assert [each.end_ns for each in read_recording(tmp_path / "r")] == [1]
    assert [each.end_ns for each in read_recording(tmp_path / "r")] == [2]


def test_nothing_but_the_recording_is_left_in_the_folder(tmp_path: Path) -> None:
    write_recording(tmp_path / "r", changing_snapshots(3))
    assert [each.name for each in tmp_path.iterdir()] == ["r"]


def test_an_error_while_recording_does_not_lose_what_was_recorded(tmp_path: Path) -> None:
    def snapshots() -> Iterator[Snapshot]:
        yield snapshot(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_recording(tmp_path / "r", snapshots())
    assert len(read_recording(tmp_path / "r")) == 1


def test_a_closed_recording_takes_no_more_snapshots(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r")
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.append(snapshot(1))


@pytest.mark.parametrize("name", ["missing/r", "."])
def test_a_place_that_cannot_be_written_is_told_before_recording(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordingError, match=r"cannot write .*(No such file|Is a directory)"):
        RecordingWriter(tmp_path / name)


FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_recording import changing_snapshots
from damon_exporter.sources.recording import RecordingError, write_recording
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_recording(Path(sys.argv[1]), changing_snapshots(60))
except RecordingError as error:
    print(error)
"""


def test_a_write_that_fails_names_the_cause_and_leaves_the_former_recording(tmp_path: Path) -> None:
    write_recording(tmp_path / "r", [snapshot(1)])
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "r"), str(Path(__file__).parent)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told.startswith(f"cannot write {tmp_path / 'r'}: File too large. Nothing was kept")
    assert [each.name for each in tmp_path.iterdir()] == ["r"]
    assert [each.end_ns for each in read_recording(tmp_path / "r")] == [1]


def test_plain_json_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "r").write_text(json.dumps([record(counted(1))], indent=4))
    assert len(read_recording(tmp_path / "r")) == 1


def test_numbers_may_be_text_with_separators_and_units(tmp_path: Path) -> None:
    intervals = {"sample_us": "5 ms", "aggr_us": "100 ms", "ops_update_us": "1 s"}
    one = counted("1 s 1 us", region("4,096", "1,048,576"))
    path = write_json(tmp_path / "r", [record(one, intervals=intervals)])
    assert [plain(each) for each in read_recording(path)] == [plain(snapshot(1_000_001_000, (0, 4096, 2**20, 3, 2)))]


def test_times_may_be_fractions_of_nanoseconds(tmp_path: Path) -> None:
    path = write_json(tmp_path / "r", [record(counted(1234.6))])
    assert [each.end_ns for each in read_recording(path)] == [1235]


@pytest.mark.parametrize(("percent", "samples"), [(100, 20), ("35 %", 7), (0, 0), (4.9, 1)])
def test_accesses_may_be_told_in_percent(tmp_path: Path, percent: object, samples: int) -> None:
    accesses = {"samples": None, "percent": percent}
    path = write_json(tmp_path / "r", [record(counted(1, region(nr_accesses=accesses)))])
    assert [each.regions.nr_accesses.tolist() for each in read_recording(path)] == [[samples]]


@pytest.mark.parametrize(("usec", "intervals"), [("1 s 50 ms", 10), (99_999, 0), (-5_000_000, 0)])
def test_ages_may_be_told_as_times(tmp_path: Path, usec: object, intervals: int) -> None:
    path = write_json(tmp_path / "r", [record(counted(1, region(age={"usec": usec, "aggr_intervals": None})))])
    (only,) = read_recording(path)
    assert (only.regions.age.tolist(), only.age_unit_us) == ([intervals], 100_000)


def test_a_kernel_that_tells_no_ages_leaves_their_unit_unknown(tmp_path: Path) -> None:
    path = write_json(tmp_path / "r", [record(counted(1, region(age={"usec": None, "aggr_intervals": None})))])
    (only,) = read_recording(path)
    assert (only.regions.age.tolist(), only.age_unit_us) == ([0], None)


def test_a_record_without_intervals_leaves_them_unknown(tmp_path: Path) -> None:
    path = write_json(tmp_path / "r", [record(counted(1), intervals=None)])
    (only,) = read_recording(path)
    assert (only.intervals, only.age_unit_us) == (None, None)


@pytest.mark.parametrize("sample_interval_us", [20_000, "20 ms", "20000000"], ids=["ours", "text", "damo 3.4"])
def test_a_tuned_sample_interval_keeps_the_ratio_of_the_record(tmp_path: Path, sample_interval_us: object) -> None:
    one = counted(400_000_000, sample_interval_us=sample_interval_us)
    (only,) = read_recording(write_json(tmp_path / "r", [record(one)]))
    assert only.intervals == Intervals(20_000, 400_000)


def test_targets_traced_one_after_the_other_make_one_snapshot(tmp_path: Path) -> None:
    ends = (100_000_000, 200_000_000)
    records = [record(*(counted(end + 40_000 * t) for end in ends), target_id=t) for t in (0, 1)]
    path = write_json(tmp_path / "r", records)
    assert [(each.end_ns, each.regions.target.tolist()) for each in read_recording(path)] == [
        (100_040_000, [0, 1]),
        (200_040_000, [0, 1]),
    ]


def test_a_target_that_is_not_there_yet_does_not_hold_up_the_others(tmp_path: Path) -> None:
    first = record(counted(10**8), counted(2 * 10**8), target_id=0)
    path = write_json(tmp_path / "r", [first, record(counted(2 * 10**8), target_id=1)])
    assert [each.regions.target.tolist() for each in read_recording(path)] == [[0], [0, 1]]


def test_target_pointers_of_old_kernels_become_indexes(tmp_path: Path) -> None:
    pointers = (18446623435582458880, 18446623435582450000)
    path = write_json(tmp_path / "r", [record(counted(1), target_id=pointer) for pointer in pointers])
    assert [each.regions.target.tolist() for each in read_recording(path)] == [[0, 1]]


def test_one_record_per_snapshot_is_read_as_one_sequence(tmp_path: Path) -> None:
    records = [record(counted(end), target_id=None, scheme_idx=0) for end in (3 * 10**9, 10**9, 2 * 10**9)]
    path = write_json(tmp_path / "r", records)
    assert [(each.kdamond, each.end_ns) for each in read_recording(path)] == [
        (0, 10**9),
        (0, 2 * 10**9),
        (0, 3 * 10**9),
    ]


def test_records_of_damon_stat_are_physical_memory(tmp_path: Path) -> None:
    path = write_json(tmp_path / "r", [record(counted(1), kdamond_idx=-1, data_source="damon_stat")])
    assert read_recording(path).monitors == {0: RecordedMonitor("damon_stat", "paddr")}


def test_regions_of_no_size_are_read(tmp_path: Path) -> None:
    """CVE-2025-38519."""
    path = write_json(tmp_path / "r", [record(counted(1, region(0, 4096), region(0, 0), region(4096, 4096)))])
    recording = read_recording(path)
    assert recording.damage is None
    assert [each.regions.end.tolist() for each in recording] == [[0, 4096, 4096]]


def test_regions_are_put_in_order(tmp_path: Path) -> None:
    path = write_json(tmp_path / "r", [record(counted(1, region(8192, 12288), region(0, 4096)))])
    assert [each.regions.start.tolist() for each in read_recording(path)] == [[0, 8192]]
