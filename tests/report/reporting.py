"""Running `damon-exporter report` on recordings."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from damo_itself import changing_snapshots

from damon_exporter.analysis.snapshot import Snapshot
from damon_exporter.cli import cli
from damon_exporter.sources.recording import RecordedMonitor, write_recording

COLOUR = re.compile(r"\033\[[0-9;]*m")


def report(*arguments: str | Path) -> str:
    """Print a report; it has nothing to complain about."""
    ended = CliRunner().invoke(cli, ["report", *map(str, arguments)], catch_exceptions=False)
    assert (ended.exit_code, ended.stderr) == (0, "")
    return ended.stdout


def report_json(*arguments: str | Path) -> Any:
    return json.loads(report(*arguments, "--json"))


def one_monitor(path: Path, snapshots: list[Snapshot], targets: dict[int, str] | None = None) -> Path:
    """Write a recording of one monitor."""
    write_recording(path, snapshots, monitors={0: RecordedMonitor("made", "vaddr", targets or {})})
    return path


def without_colours(text: str) -> str:
    assert COLOUR.search(text), "damo colours always"
    return COLOUR.sub("", text)


def now_and_then(path: Path) -> Path:
    """Write a recording of a target that has no regions in every third of 60 snapshots, the first among them."""
    made = changing_snapshots(19, targets=1)[:60]
    return one_monitor(path, [_emptied(each) if i % 3 == 0 else each for i, each in enumerate(made)])


def _emptied(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, regions=snapshot.regions.only(slice(0)), without_regions=(0,))


def untimed(snapshot: Snapshot) -> Snapshot:
    """The same, of a kernel that does not tell its intervals."""
    return Snapshot(snapshot.kdamond, snapshot.end_ns, snapshot.regions, None, None)
