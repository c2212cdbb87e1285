"""From a file to a `Recording`."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from damon_exporter.sources.recording.join import join_records
from damon_exporter.sources.recording.json_stream import DamagedStreamError, JsonStream, chunks_of, inflate
from damon_exporter.sources.recording.model import Origin, Recording, RecordingError
from damon_exporter.sources.recording.record import FIELDS, Record

MEMORY_LIMIT = 2**30
"""Bytes that the snapshots of one recording may take."""

SNAPSHOT_BYTES, REGION_BYTES = 2048, 56
"""What a snapshot of one target takes while targets are being joined, and each region in it (measured)."""

_CURE = (
    "a recording is written by `damon-exporter record` or `damo record`; other files of damo are made one by"
    " `damo convert_record_format --format json_compressed`"
)


def read_recording(
    path: Path, memory_limit: int = MEMORY_LIMIT, say: Callable[[str], None] = lambda _: None
) -> Recording:
    """Read what damo or we have recorded (``json_compressed`` or plain ``json``).

    ``say`` is called after every snapshot of a target, with how far it has come.
    Raises `RecordingError` if there is not one whole snapshot in a damaged file; if some are good, they are
    returned together with ``Recording.damage``. What needs more than ``memory_limit`` bytes counts as damage.
    """
    try:
        with path.open("rb") as file:
            reader = _Reader(JsonStream(_pieces(path, file)), memory_limit, say)
            damage = reader.read()
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror or error}") from error
    snapshots, monitors, incomplete = join_records(reader.records, path)
    if damage:
        damage = f"{path} is damaged at {damage}"
    if incomplete:
        damage = f"{damage or path}; {incomplete} snapshots lack a target and are left out"
    if damage and not snapshots:
        raise RecordingError(f"{damage}; not one whole snapshot could be read: {_CURE}")
    origins = (record.own.origin for record in reader.records)
    return Recording(path, snapshots, monitors, next(filter(None, origins), Origin()), damage, incomplete)


def _pieces(path: Path, file: BinaryIO) -> Iterator[bytes]:
    chunks = chunks_of(file)
    first = next(chunks, b"")
    whole = itertools.chain([first], chunks)
    if len(first) > 1 and first[0] & 0xF == 8 and int.from_bytes(first[:2], "big") % 31 == 0:  # RFC 1950
        return inflate(whole)
    if first.startswith(b"["):
        return whole
    what = "is not a recording" if first else "is empty"
    raise RecordingError(f"{path} {what}: {_CURE}")


class _Reader:
    """Takes the records from a stream; what was good is in ``records`` whatever comes."""

    def __init__(self, stream: JsonStream, memory_limit: int, say: Callable[[str], None]) -> None:
        self.records: list[Record] = []
        self._stream = stream
        self._memory_limit = self._memory_left = memory_limit
        self._say = say
        self._snapshots = 0

    def read(self) -> str | None:
        """Read to the end, or to the damage, and return where and what that was."""
        try:
            for _ in self._stream.list_elements():
                self._read_record()
            self._stream.finish()
        except DamagedStreamError as damage:
            last = len(self.records) - 1
            place = f"snapshot {len(self.records[last].parts)} of record {last}" if self.records else "its start"
            return f"{place}: {damage}"
        return None

    def _read_record(self) -> None:
        record = Record()
        self.records.append(record)
        self._use_memory(SNAPSHOT_BYTES)
        for key in self._stream.object_keys():
            if key == "snapshots":
                self._read_snapshots(record)
                continue
            value = self._stream.value()
            if key in FIELDS:
                _parse(record.read_field, key, value)
        record.whole = True

    def _read_snapshots(self, record: Record) -> None:
        for _ in self._stream.list_elements():
            _parse(record.read_snapshot, self._stream.value())
            self._use_memory(SNAPSHOT_BYTES + REGION_BYTES * len(record.parts[-1].start))
            self._snapshots += 1
            self._say(f"{self._snapshots} snapshots read")

    def _use_memory(self, size: int) -> None:
        self._memory_left -= size
        if self._memory_left < 0:
            raise DamagedStreamError(
                f"all of it needs more than {self._memory_limit} bytes of memory; record less at once"
            )


def _parse(read: Callable[..., None], *values: Any) -> None:
    try:
        read(*values)
    except KeyError as error:
        raise DamagedStreamError(f"{error} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise DamagedStreamError(f"it is not as damo writes it: {error}") from error
