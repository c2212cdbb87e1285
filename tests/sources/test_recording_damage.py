"""Recordings that are cut off, flipped, foreign or hostile: what was good is kept, and the rest is told."""

import json
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_regions import INTERVALS, PAGE, regions

from damon_exporter.analysis.snapshot import Snapshot
from damon_exporter.sources.recording import RecordingError, read_recording, write_recording

SNAPSHOTS = 400


def snapshot(number: int) -> dict[str, Any]:
    """Make a snapshot as damo spells it; its end and its region tell its number."""
    dice = random.Random(number)
    return {
        "start_time": str(number * 10**8),
        "end_time": str((number + 1) * 10**8),
        "regions": [
            {
                "start": "4,096",
                "end": f"{(number + 2) * 4096:,}",
                "nr_accesses": {"samples": dice.randrange(20), "percent": None},
                "age": {"usec": None, "aggr_intervals": str(dice.randrange(10**6))},
            }
        ],
        "total_bytes": None,
    }


def records(*snapshots: object) -> list[dict[str, Any]]:
    intervals = {"sample_us": 5000, "aggr_us": 100000, "ops_update_us": 0}
    return [{"kdamond_idx": 0, "intervals": intervals, "target_id": 0, "snapshots": list(snapshots)}]


GOOD = zlib.compress(json.dumps(records(*map(snapshot, range(SNAPSHOTS))), indent=4).encode())


def numbers(path: Path) -> list[int]:
    return [each.end_ns // 10**8 - 1 for each in read_recording(path)]


def written(folder: Path, content: bytes | object) -> Path:
    path = folder / "r"
    path.write_bytes(content if isinstance(content, bytes) else zlib.compress(json.dumps(content).encode()))
    return path


def test_a_whole_recording_is_not_damaged(tmp_path: Path) -> None:
    assert read_recording(written(tmp_path, GOOD)).damage is None


@pytest.mark.parametrize("percent", [10, 50, 90, 99])
def test_of_a_recording_cut_off_the_first_snapshots_are_kept(tmp_path: Path, percent: int) -> None:
    path = written(tmp_path, GOOD[: len(GOOD) * percent // 100])
    kept = numbers(path)
    assert kept == list(range(len(kept)))
    assert len(kept) == pytest.approx(SNAPSHOTS * percent / 100, abs=SNAPSHOTS * 0.05)


def test_the_damage_names_file_snapshot_byte_and_cause(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD[:2000])
    recording = read_recording(path)
    assert recording.damage == (
        f"{path} is damaged at snapshot {len(recording)} of record 0: byte 2000: "
        "the compressed data end early, the file was cut off"
    )


def test_a_missing_check_sum_costs_no_snapshot(tmp_path: Path) -> None:
    recording = read_recording(written(tmp_path, GOOD[:-4]))
    assert len(recording) == SNAPSHOTS
    assert recording.damage is not None


def test_a_wrong_check_sum_is_told(tmp_path: Path) -> None:
    damage = read_recording(written(tmp_path, GOOD[:-1] + b"\0")).damage or ""
    assert f"byte {len(GOOD) - 1}: " in damage
    assert "incorrect data check" in damage


def test_plain_json_that_is_cut_off_keeps_its_first_snapshots(tmp_path: Path) -> None:
    text = zlib.decompress(GOOD)
    recording = read_recording(written(tmp_path, text[: len(text) // 2]))
    assert 0 < len(recording) < SNAPSHOTS
    assert "the JSON ends early" in (recording.damage or "") or "Unterminated" in (recording.damage or "")


def test_something_behind_the_end_is_told(tmp_path: Path) -> None:
    recording = read_recording(written(tmp_path, GOOD + b"more"))
    assert len(recording) == SNAPSHOTS
    assert f"byte {len(GOOD)}: something follows" in (recording.damage or "")


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, len(GOOD) - 1), flip=st.integers(1, 255))
def test_no_flipped_byte_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, position: int, flip: int) -> None:
    broken = bytearray(GOOD)
    broken[position] ^= flip
    path = written(tmp_path_factory.mktemp("flip"), bytes(broken))
    try:
        told = read_recording(path).damage
    except RecordingError as error:
        told = str(error)
    assert str(path) in (told or "")


BAD_REGIONS: dict[str, dict[str, Any]] = {
    "a negative address": {"start": -4096},
    "an end before the start": {"end": 0},
    "an address beyond 64 bits": {"end": 2**64},
    "no number": {"start": "here"},
    "not finite": {"start": float("nan")},
    "a list": {"start": [1]},
    "too many accesses": {"nr_accesses": {"samples": 2**32}},
    "no accesses": {"nr_accesses": {}},
    "accesses that are no object": {"nr_accesses": 3},
    "an age that is no object": {"age": []},
}


@pytest.mark.parametrize("bad", BAD_REGIONS.values(), ids=BAD_REGIONS.keys())
def test_a_region_that_no_kernel_made_ends_the_reading(tmp_path: Path, bad: dict[str, Any]) -> None:
    broken = snapshot(1)
    broken["regions"][0].update(bad)
    recording = read_recording(written(tmp_path, records(snapshot(0), broken, snapshot(2))))
    assert len(recording) == 1
    assert "snapshot 1 of record 0" in (recording.damage or "")


@pytest.mark.parametrize("bad", [5, None, [], {}, {"regions": 5}, {"regions": []}, {"end_time": 2**63}])
def test_a_snapshot_that_is_none_ends_the_reading(tmp_path: Path, bad: object) -> None:
    merged = {**snapshot(1), **bad} if isinstance(bad, dict) and "end_time" in bad else bad
    recording = read_recording(written(tmp_path, records(snapshot(0), merged)))
    assert len(recording) == 1
    assert recording.damage


@pytest.mark.parametrize("intervals", [5, {}, {"sample_us": 0, "aggr_us": 0}, {"sample_us": 9, "aggr_us": 5}])
def test_intervals_that_cannot_be_end_the_reading(tmp_path: Path, intervals: object) -> None:
    with pytest.raises(RecordingError, match="snapshot 0 of record 0"):
        read_recording(written(tmp_path, [{**records(snapshot(0))[0], "intervals": intervals}]))


def test_an_age_of_centuries_ends_the_reading(tmp_path: Path) -> None:
    old = snapshot(1)
    old["regions"][0]["age"]["aggr_intervals"] = 2**32 - 1
    (record,) = records(snapshot(0), old)
    recording = read_recording(written(tmp_path, [{**record, "intervals": {"sample_us": 5000, "aggr_us": 60 * 10**6}}]))
    assert len(recording) == 1
    assert "4294967295 times 60000000 us is no age" in (recording.damage or "")


FOREIGN = {
    "empty": (b"", "is empty"),
    "text": (b"some text\n", "is not a recording"),
    "perf": (b"PERFILE2" + bytes(100), "is not a recording"),
    "gzip": (b"\x1f\x8b" + bytes(20), "is not a recording"),
    "zlib of text": (zlib.compress(b"some text"), "'[' expected"),
    "zlib of an object": (zlib.compress(b'{"a": 1}'), "'[' expected"),
    "a list of numbers": (zlib.compress(b"[1, 2]"), "'{' expected"),
    "not UTF-8": (zlib.compress(b'[{"\xff'), "not UTF-8"),
    "only a header": (zlib.compress(b"x")[:2], "cut off"),
    "an endless nesting": (zlib.compress(b'[{"snapshots": [' + b"[" * 10**6), "nested too deeply"),
    "an endless number": (zlib.compress(b'[{"target_id": ' + b"1" * 10**6), "snapshot 0 of record 0"),
    "an endless string": (zlib.compress(b'[{"target_id": "' + b"1" * 20 * 2**20), "no JSON value ends"),
}


@pytest.mark.parametrize(("content", "cause"), FOREIGN.values(), ids=FOREIGN.keys())
def test_what_is_not_a_recording_is_told_with_cause_and_cure(tmp_path: Path, content: bytes, cause: str) -> None:
    with pytest.raises(RecordingError) as told:
        read_recording(written(tmp_path, content))
    assert cause in str(told.value)
    assert "damon-exporter record" in str(told.value)


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cannot_be_opened_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordingError, match="cannot read"):
        read_recording(tmp_path / name)


def test_more_snapshots_than_memory_allows_are_left_out(tmp_path: Path) -> None:
    recording = read_recording(written(tmp_path, GOOD), memory_limit=100_000)
    assert 40 < len(recording) < 60
    assert "more than 100000 bytes of memory" in (recording.damage or "")


def test_a_bomb_of_empty_records_ends_at_the_memory_limit(tmp_path: Path) -> None:
    bomb = zlib.compress(b"[" + b"{}," * 10**6)
    with pytest.raises(RecordingError, match="more than 1000000 bytes of memory"):
        read_recording(written(tmp_path, bomb), memory_limit=10**6)


@pytest.mark.parametrize("aggr_us", ["1e20", str(10**12)])
def test_intervals_that_no_kernel_has_are_refused(tmp_path: Path, aggr_us: str) -> None:
    made = records(snapshot(0))
    made[0]["intervals"]["aggr_us"] = aggr_us
    with pytest.raises(RecordingError, match="are no intervals"):
        read_recording(written(tmp_path, made))


def test_overlapping_regions_are_refused(tmp_path: Path) -> None:
    overlapping = snapshot(0)
    overlapping["regions"] *= 2
    assert "overlap" in str(read_recording(written(tmp_path, records(snapshot(1), overlapping))).damage)


# Several targets: the file holds one behind the other


def of_target(target: int, snapshots: range) -> dict[str, Any]:
    return {**records(*map(snapshot, snapshots))[0], "target_id": target}


def cut(text: str, before: str) -> bytes:
    """What is left of a recording that was cut off there."""
    return text[: text.rindex(before)].encode()


@pytest.mark.parametrize("percent", [55, 75, 95])
def test_snapshots_that_lack_a_target_are_dropped_and_counted(tmp_path: Path, percent: int) -> None:
    whole = zlib.compress(json.dumps([of_target(target, range(SNAPSHOTS)) for target in (0, 1)]).encode())
    recording = read_recording(written(tmp_path, whole[: len(whole) * percent // 100]))
    assert {tuple(each.regions.target.tolist()) for each in recording} == {(0, 1)}
    assert len(recording) == pytest.approx(SNAPSHOTS * (percent - 50) / 50, abs=SNAPSHOTS * 0.05)
    assert recording.incomplete == SNAPSHOTS - len(recording)
    assert f"; {recording.incomplete} snapshots lack a target and are left out" in (recording.damage or "")


def test_a_target_of_which_nothing_but_the_name_was_read_leaves_no_snapshot(tmp_path: Path) -> None:
    text = json.dumps([of_target(target, range(5)) for target in (0, 1)])
    with pytest.raises(RecordingError, match="not one whole snapshot could be read"):
        read_recording(written(tmp_path, cut(text, '{"start_time": "0"')))


def test_other_kdamonds_lose_nothing_by_it(tmp_path: Path) -> None:
    other = {**of_target(0, range(5)), "kdamond_idx": 1}
    text = json.dumps([other, *(of_target(target, range(5)) for target in (0, 1))])
    recording = read_recording(written(tmp_path, cut(text, '{"start_time": "0"')))
    assert [each.kdamond for each in recording] == [0] * 5
    assert list(recording.monitors) == [0]
    assert recording.incomplete == 5


def test_a_target_that_has_gone_is_not_missed(tmp_path: Path) -> None:
    text = json.dumps([of_target(0, range(3)), of_target(1, range(5)), of_target(2, range(5))])
    recording = read_recording(written(tmp_path, cut(text, '{"start_time": "400000000"')))
    assert [len(each.regions) for each in recording] == [3, 3, 3, 2]
    assert recording.incomplete == 1


def test_a_recording_read_to_its_last_record_lacks_nothing(tmp_path: Path) -> None:
    text = json.dumps([of_target(0, range(5)), of_target(1, range(3))])
    recording = read_recording(written(tmp_path, zlib.compress(text.encode())[:-4]))
    assert recording.damage
    assert [len(each.regions) for each in recording] == [2, 2, 2, 1, 1]
    assert recording.incomplete == 0


def test_a_target_whose_record_is_cut_away_is_missed_if_we_have_written_the_file(tmp_path: Path) -> None:
    two = regions((0, PAGE, 1, 0, 0), (0, PAGE, 1, 0, 1))
    one = regions((0, PAGE, 1, 0, 0))
    made = [
        Snapshot(kdamond, number * 10**8, two if kdamond else one, INTERVALS, 100_000)
        for number in range(1, 6)
        for kdamond in (0, 1)
    ]
    write_recording(tmp_path / "r", made)
    assert read_recording(tmp_path / "r").damage is None
    text = zlib.decompress((tmp_path / "r").read_bytes()).decode()
    recording = read_recording(written(tmp_path, cut(text, ',{"kdamond_idx":1')))
    assert [each.kdamond for each in recording] == [0] * 5
    assert recording.incomplete == 5
