"""From snapshots to a file that damo reads."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

from damon_exporter.analysis.snapshot import Intervals, Regions, Snapshot, began_ns
from damon_exporter.sources.recording.deflate import GrowingText, ZlibStream
from damon_exporter.sources.recording.model import Origin, RecordedMonitor, RecordingError
from damon_exporter.sources.recording.record import OWN_KEY

COMPACT = (",", ":")

_REGION = '{"start":%d,"end":%d,"nr_accesses":{"samples":%d,"percent":null},"age":{"usec":null,"aggr_intervals":%d}}'


@dataclass(slots=True)
class _Kdamond:
    """What the records of one kdamond have in common; ``index`` is its number in the file."""

    index: int
    previous_end_ns: int | None = None
    intervals: list[Intervals] = field(default_factory=list)
    """All that were ever in force."""

    def frame(self, snapshot: Snapshot) -> tuple[str, str]:
        """Return what stands before and behind the regions of the next snapshot, of whatever target."""
        start_ns = began_ns(snapshot, self.previous_end_ns)
        self.previous_end_ns = snapshot.end_ns
        intervals = snapshot.intervals
        timing: dict[str, Any] = {OWN_KEY: _own_timing(snapshot)}
        if intervals and intervals not in self.intervals:
            self.intervals.append(intervals)
        if intervals and intervals != self.intervals[0]:
            timing["sample_interval_us"] = intervals.sample_us
        head = f'{{"start_time":{start_ns},"end_time":{snapshot.end_ns},"regions":['
        return head, "]," + json.dumps(timing, separators=COMPACT).removeprefix("{")


class RecordingWriter:
    """Writes a recording, snapshot by snapshot, in constant memory.

    What has been appended waits in unnamed temporary files in the folder of ``path``. `close` makes the
    recording of them (mode 0600) and puts it in place of ``path`` at once: whoever opens ``path`` finds the
    former file, if there was one, or the whole new one. If writing fails, as on a full disk, `RecordingError`
    is raised, ``path`` stays as it was and the temporary files are gone. Leaving a ``with`` block closes the
    writer, also when an error ends the block: what was recorded until then is good.

    ``monitors`` (by ``Snapshot.kdamond``) may be changed until `close`.
    """

    def __init__(
        self, path: Path, origin: Origin | None = None, monitors: Mapping[int, RecordedMonitor] | None = None
    ) -> None:
        self.path = path
        self.monitors = dict(monitors or {})
        self._origin = origin or Origin()
        self._kdamonds: dict[int, _Kdamond] = {}
        self._targets: dict[tuple[int, int], GrowingText] = {}
        self._open = True
        with self._all_or_nothing():
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            tempfile.TemporaryFile(dir=path.parent).close()  # Better now than at the end of the recording.

    def append(self, snapshot: Snapshot) -> None:
        """Add a snapshot; each kdamond's come in time order. One that tells of no target is left out.

        Raises `RecordingError` if it cannot be written, ValueError if the writer is closed.
        """
        if not self._open:
            raise ValueError(f"the recording {self.path} is closed")
        kdamond = self._kdamonds.setdefault(snapshot.kdamond, _Kdamond(len(self._kdamonds)))
        head, tail = kdamond.frame(snapshot)
        with self._all_or_nothing():
            for target, regions in snapshot.by_target():
                self._write(snapshot.kdamond, target, head + _json(regions) + tail)

    def close(self) -> None:
        """Put the recording in place. Raises `RecordingError` if it cannot be written."""
        if not self._open:
            return
        with self._all_or_nothing(), _replacement(self.path) as file:
            stream = ZlibStream(file)
            self._write_records(stream)
            stream.finish()
        self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _write(self, kdamond: int, target: int, snapshot: str) -> None:
        text = self._targets.get((kdamond, target))
        if text is None:
            text = self._targets[kdamond, target] = GrowingText(self.path.parent)
        else:
            snapshot = "," + snapshot
        text.write(snapshot)

    def _write_records(self, stream: ZlibStream) -> None:
        stream.write("[")
        for position, ((kdamond, target), snapshots) in enumerate(self._targets.items()):
            head = json.dumps(self._record(kdamond, target, is_first=position == 0), separators=COMPACT)
            stream.write(f'{"," if position else ""}{head.removesuffix("}")},"snapshots":[')
            snapshots.copy_to(stream)
            stream.write("]}")
        stream.write("]")

    def _record(self, kdamond: int, target: int, is_first: bool) -> dict[str, Any]:
        """Return all of a record but its snapshots."""
        shared = self._kdamonds[kdamond]
        monitor = self.monitors.get(kdamond, RecordedMonitor())
        names = {
            "monitor": monitor.name,
            "operations": monitor.operations,
            "target": monitor.targets.get(target, ""),
            "targets": [index for number, index in self._targets if number == kdamond],
            "origin": _without_empty(asdict(self._origin)) if is_first else {},
        }
        return {
            "kdamond_idx": shared.index,
            "context_idx": 0,
            "intervals": _record_intervals(shared.intervals),
            "scheme_idx": None,
            "target_id": target,
            "scheme_filters": [],
            OWN_KEY: _without_empty(names),
        }

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._let_go()
            raise RecordingError(
                f"cannot write {self.path}: {error.strerror or error}. Nothing was kept; record into a folder"
                " that can be written to and has room"
            ) from error

    def _let_go(self) -> None:
        self._open = False
        for text in self._targets.values():
            with contextlib.suppress(OSError):  # A full disk, again.
                text.close()
        self._targets.clear()


def write_recording(
    path: Path,
    snapshots: Iterable[Snapshot],
    origin: Origin | None = None,
    monitors: Mapping[int, RecordedMonitor] | None = None,
) -> None:
    """Write a whole recording. Raises `RecordingError`."""
    with RecordingWriter(path, origin, monitors) as writer:
        for snapshot in snapshots:
            writer.append(snapshot)


@contextlib.contextmanager
def _replacement(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` once it is written and on disk."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield cast(BinaryIO, file)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _json(regions: Regions) -> str:
    columns = (regions.start, regions.end, regions.nr_accesses, regions.age)
    return ",".join(_REGION % row for row in zip(*(column.tolist() for column in columns), strict=True))


def _own_timing(snapshot: Snapshot) -> dict[str, int]:
    """Return a snapshot's intervals and age unit as only we read them; what is not known is left out."""
    timing = {}
    if snapshot.intervals:
        timing = {
            "sample_us": snapshot.intervals.sample_us,
            "aggregation_us": snapshot.intervals.aggregation_us,
        }
    if snapshot.age_unit_us is not None:
        timing["age_unit_us"] = snapshot.age_unit_us
    return timing


def _record_intervals(in_force: list[Intervals]) -> dict[str, Any] | None:
    """Return a record's intervals as damo reads them: the first, and a goal if they changed on the way.

    damo looks at a snapshot's own interval only if the record names a goal of auto-tuning. The access ratio
    that was aimed at is not known here (0), nor is the interval of operations updates.
    """
    if not in_force:
        return None
    first = in_force[0]
    samples = [intervals.sample_us for intervals in in_force]
    goal = {"access_bp": 0, "aggrs": 1, "min_sample_us": min(samples), "max_sample_us": max(samples)}
    return {
        "sample_us": first.sample_us,
        "aggr_us": first.aggregation_us,
        "ops_update_us": 0,
        **({"intervals_goal": goal} if len(in_force) > 1 else {}),
    }


def _without_empty(words: dict[str, Any]) -> dict[str, Any]:
    return {key: word for key, word in words.items() if word}
