"""The trace events of schemes, copied from a running 7.3.4 (Debian, x86-64). 6.12 has neither of them."""

import struct
from collections.abc import Mapping
from typing import Final

from damon_exporter.testing.fake_kernel.schemes import Stats
from damon_exporter.testing.trace_texts import format_file

STAT: Final = "damos_stat_after_apply_interval"
EFFECTIVE_QUOTA: Final = "damos_esz"
IDS: Final = {STAT: 749, EFFECTIVE_QUOTA: 748}
COUNTERS: Final = (
    "nr_tried",
    "sz_tried",
    "nr_applied",
    "sz_applied",
    "sz_ops_filter_passed",
    "qt_exceeds",
    "nr_snapshots",
)
CONTEXT = 0  # there is one for each kdamond

_FORMAT = """\
name: {name}
ID: {id}
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:unsigned int context_idx;\toffset:8;\tsize:4;\tsigned:0;
\tfield:unsigned int scheme_idx;\toffset:12;\tsize:4;\tsigned:0;
{fields}
print fmt: "ctx_idx=%u scheme_idx=%u {printed}", REC->context_idx, REC->scheme_idx, {values}
"""


def _format(name: str, *fields: str) -> str:
    lines = [
        f"\tfield:unsigned long {field};\toffset:{16 + 8 * at};\tsize:8;\tsigned:0;\n"
        for at, field in enumerate(fields)
    ]
    return _FORMAT.format(
        name=name,
        id=IDS[name],
        fields="".join(lines),
        printed=" ".join(f"{field}=%lu" for field in fields),
        values=", ".join(f"REC->{field}" for field in fields),
    )


FORMATS: Final[Mapping[str, str]] = {
    format_file(EFFECTIVE_QUOTA): _format(EFFECTIVE_QUOTA, "esz"),
    format_file(STAT): _format(STAT, *COUNTERS),
}
"""Path below the instance's folder → the file's whole text."""


def stat_record(pid: int, scheme: int, stats: Stats) -> bytes:
    """``damos_stat_after_apply_interval``: all counters of a scheme."""
    return _record(STAT, pid, scheme, *(getattr(stats, name) for name in COUNTERS))


def quota_record(pid: int, scheme: int, effective: int) -> bytes:
    """``damos_esz``: a new effective quota in bytes."""
    return _record(EFFECTIVE_QUOTA, pid, scheme, effective)


def _record(name: str, pid: int, scheme: int, *values: int) -> bytes:
    return struct.pack(f"<HBBiII{len(values)}Q", IDS[name], 0, 0, pid, CONTEXT, scheme, *values)
