"""DAMON's snapshots in a file, in the format that damo calls ``json_compressed``.

The format, as damo 3.4 writes and reads it (its ``_damo_records.py``): one zlib stream that holds a JSON list
with one *record* per target of a kdamond,

    [{"kdamond_idx": 0, "context_idx": 0, "scheme_idx": null, "target_id": 0, "scheme_filters": [],
      "intervals": {"sample_us": "5000", "aggr_us": "100000", "ops_update_us": "1000000"},
      "snapshots": [{"start_time": "1000000000", "end_time": "1100000000",
                     "regions": [{"start": "4,096", "end": "8,192",
                                  "nr_accesses": {"samples": 3, "percent": null},
                                  "age": {"usec": null, "aggr_intervals": "7"}}]}]}]

Numbers are JSON numbers, or text with or without thousands separators and units. Keys that damo does not know
it ignores, and so what only we know stands under ``damon_exporter`` in records and snapshots.
"""

from damon_exporter.sources.recording.model import Origin, RecordedMonitor, Recording, RecordingError
from damon_exporter.sources.recording.reader import read_recording
from damon_exporter.sources.recording.writer import RecordingWriter, write_recording

__all__ = [
    "Origin",
    "RecordedMonitor",
    "Recording",
    "RecordingError",
    "RecordingWriter",
    "read_recording",
    "write_recording",
]
