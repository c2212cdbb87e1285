"""What `damon-exporter report` says where there is nothing to show, or something else was meant."""

import re
import shlex
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from damo_itself import changing_snapshots
from reporting import one_monitor, report
from running import COMMAND, SECONDS, run

from damon_exporter.cli import cli
from damon_exporter.report.access import accesses
from damon_exporter.report.heatmap import guide, maps
from damon_exporter.report.paint import Paint
from damon_exporter.report.subjects import Heard, subjects
from damon_exporter.report.wss import Choice, working_sets
from damon_exporter.sources.recording import RecordedMonitor, RecordingError, write_recording


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return one_monitor(tmp_path / "r", changing_snapshots(15, targets=1)[:30])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["access", "--input", "r", "--watch"], "--watch is for what runs now: leave it out, or --input"),
        (["wss", "--input", "r", "--duration", "3s"], "--duration is for what runs now"),
        (["heatmap", "--input", "r", "--pid", "1"], "--pid is for what runs now"),
        (["access", "--pid", "1", "--monitor", "node"], "give one of --pid, --monitor"),
        (["access", "--watch", "--snapshot", "9"], "--watch shows what came last: leave out --snapshot, or give all"),
        (["access", "--duration", "soon"], "--duration: 'soon' is not a duration"),
        (["access", "--input", "r", "--snapshot", "last"], "'last' is neither a number, such as 0 or -1, nor all"),
        (["wss", "--input", "r", "--range", "50", "50", "1"], "START must be below STOP"),
        (["wss", "--input", "r", "--range", "0", "102", "1"], "both from 0 to 101"),
        (["wss", "--input", "r", "--range", "0", "101", "0"], "STEP above 0"),
        (["heatmap", "--input", "r", "--resolution", "0", "80"], "is not in the range"),
        (["heatmap", "--input", "r", "--raw-number"], "--raw-number is for --guide: give --json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_ends_with_2_and_a_sentence(arguments: list[str], sentence: str) -> None:
    ended = CliRunner().invoke(cli, ["report", *arguments], catch_exceptions=False)
    assert ended.exit_code == 2
    assert sentence in ended.stderr


def test_a_recording_that_is_not_there_ends_with_1_and_a_sentence(tmp_path: Path) -> None:
    ended = run("report", "heatmap", "--input", "nowhere", cwd=tmp_path)
    said = "damon-exporter: cannot read nowhere: No such file or directory\n"
    assert (ended.returncode, ended.stderr) == (1, said)


def test_a_recording_of_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(zlib.compress(b"[]"))
    with pytest.raises(RecordingError, match="/r holds no snapshot: nothing to report"):
        report("wss", "--input", tmp_path / "r")


def test_a_monitor_that_was_not_recorded_is_answered_with_those_that_were(file: Path) -> None:
    with pytest.raises(RecordingError, match="there is no monitor 'node', but made: give one of these to --monitor"):
        report("access", "--input", file, "--monitor", "node")


@pytest.mark.parametrize("position", ["30", "-31"])
def test_a_snapshot_that_is_not_there_is_answered_with_those_that_are(file: Path, position: str) -> None:
    with pytest.raises(RecordingError, match=f"there is no snapshot {position}: give --snapshot 0 to 29"):
        report("access", "--input", file, "--snapshot", position)


def test_what_could_be_read_of_a_damaged_recording_is_reported_with_a_warning(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])
    ended = CliRunner().invoke(cli, ["report", "access", "--input", str(file)], catch_exceptions=False)
    assert ended.exit_code == 0
    assert "# monitor" in ended.stdout
    assert f"damon-exporter: {file} is damaged" in ended.stderr


def test_a_reader_that_has_seen_enough_is_no_error(file: Path) -> None:
    command = [*COMMAND, "report", "access", "--input", str(file), "--snapshot", "all"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().startswith(b"# monitor made")
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("printing", "reason"),
    [("> /dev/full", "No space left on device"), (">&-", "standard output is closed")],
    ids=["full", "closed"],
)
@pytest.mark.parametrize("command", ["report access -i r", "config-schema"])
def test_what_cannot_be_printed_ends_with_1_and_the_reason(
    file: Path, command: str, printing: str, reason: str
) -> None:
    ended = in_a_shell(f"cd {file.parent} && damon-exporter {command} {printing}")
    assert (ended.returncode, ended.stderr) == (1, f"damon-exporter: cannot print: {reason}\n")


def test_a_report_needs_no_stderr(file: Path) -> None:
    assert in_a_shell(f"damon-exporter 2>&- report access -i {file}").stdout == report("access", "-i", file)


def test_a_recording_can_come_through_a_pipe(file: Path) -> None:
    for source in (file, repacked(file)):
        ended = in_a_shell(f"cat {source} | damon-exporter report access -i /dev/stdin")
        assert (ended.stdout, ended.stderr) == (report("access", "-i", file), "")


def repacked(file: Path) -> Path:
    """Return the same recording in a file that is not compressed."""
    plain = file.with_name("plain")
    plain.write_bytes(zlib.decompress(file.read_bytes()))
    return plain


def in_a_shell(line: str) -> "subprocess.CompletedProcess[str]":
    script = line.replace("damon-exporter", shlex.join(COMMAND))
    return subprocess.run(["sh", "-c", script], check=False, capture_output=True, text=True, timeout=SECONDS)


def test_names_that_anybody_may_have_chosen_send_nothing_to_a_terminal(tmp_path: Path) -> None:
    snapshots = changing_snapshots(17, targets=1)[:22]
    both = [replace(each, kdamond=kdamond) for each in snapshots for kdamond in (0, 1)]
    hostile = RecordedMonitor("m\033[31m\udc80", "vaddr", {0: "a\n\033[2J"})
    write_recording(tmp_path / "r", both, monitors={0: hostile, 1: hostile})
    name = r"m\x1b[31m\x80"
    assert f"# monitor {name}, target 0 (a\\x0a\\x1b[2J), snapshot 21" in report("access", "-i", tmp_path / "r")
    assert f"# monitor\t{name}\n" in report("wss", "-i", tmp_path / "r")
    with pytest.raises(RecordingError, match=re.escape(f"but {name}: give one of these")):
        report("access", "-i", tmp_path / "r", "--monitor", "node")


def test_a_target_that_has_no_regions_has_a_section_that_says_so() -> None:
    snapshots = changing_snapshots(16, targets=1)[:2]
    heard = Heard(snapshots, {0: RecordedMonitor("made", "vaddr", {0: "busy", 1: "late"})})
    _, late = subjects(heard)
    nothing = accesses(late, -1)
    assert nothing is not None
    title = "# monitor made, target 1 (late)"
    assert nothing.lines(raw=False, paint=Paint(coloured=False)) == [title, "no region"]
    assert nothing.json()["snapshot"] is None
    sets = working_sets(late, Choice(range(0, 101, 25), exclude_samples=0, by_time=False))
    assert sets.lines(raw=False) == ["# target_id\t1", "# <percentile> <wss>", "# no snapshot"]
    assert (sets.json()["average_bytes"], sets.json()["percentiles"]) == (None, [])
    assert guide(late).lines(raw=False) == [title, "no region"]
    assert guide(late).json()["ranges"] == []
    assert list(maps(guide(late), 2, 2, every_range=True)) == []


def test_a_pipe_gets_no_escape_sequences(file: Path) -> None:
    ended = run("report", "heatmap", "--input", str(file))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\033" not in ended.stdout
