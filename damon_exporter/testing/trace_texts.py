"""What Linux says of its trace buffer's layout, copied from running kernels (Debian, x86-64)."""

from collections.abc import Mapping
from typing import Final

AGGREGATED: Final = "damon_aggregated"
INTERVALS_TUNE: Final = "damon_monitor_intervals_tune"

_HEADER_EVENT = """\
# compressed entry header
\ttype_len    :    5 bits
\ttime_delta  :   27 bits
\tarray       :   32 bits

\tpadding     : type == 29
\ttime_extend : type == 30
\ttime_stamp : type == 31
\tdata max type_len  == 28
"""

_HEADER_PAGE = """\
\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: {overwrite};
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;
"""

_COMMON_FIELDS = """\
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""

_AGGREGATED = """\
\tfield:unsigned long target_id;\toffset:8;\tsize:8;\tsigned:0;
\tfield:unsigned int nr_regions;\toffset:16;\tsize:4;\tsigned:0;
\tfield:unsigned long start;\toffset:24;\tsize:8;\tsigned:0;
\tfield:unsigned long end;\toffset:32;\tsize:8;\tsigned:0;
\tfield:unsigned int nr_accesses;\toffset:40;\tsize:4;\tsigned:0;
\tfield:unsigned int age;\toffset:44;\tsize:4;\tsigned:0;

print fmt: "target_id=%lu nr_regions=%u %lu-%lu: %u %u", REC->target_id, REC->nr_regions, \
REC->start, REC->end, REC->nr_accesses, REC->age
"""

_INTERVALS_TUNE = """\
\tfield:unsigned long sample_us;\toffset:8;\tsize:8;\tsigned:0;

print fmt: "sample_us=%lu", REC->sample_us
"""


def format_file(event: str) -> str:
    """The path of a DAMON event's format file, from the folder of a trace instance."""
    return f"events/damon/{event}/format"


def _format(event: str, number: int, fields: str) -> dict[str, str]:
    return {format_file(event): f"name: {event}\nID: {number}\n{_COMMON_FIELDS}{fields}"}


TRACE_FILES: Final[Mapping[str, Mapping[str, str]]] = {
    "6.12": {
        "events/header_event": _HEADER_EVENT,
        "events/header_page": _HEADER_PAGE.format(overwrite="int overwrite;\toffset:8;\tsize:1;\tsigned:1"),
        **_format(AGGREGATED, 734, _AGGREGATED),
    },
    "7.3": {
        "events/header_event": _HEADER_EVENT,
        "events/header_page": _HEADER_PAGE.format(overwrite="char overwrite;\toffset:8;\tsize:1;\tsigned:0"),
        **_format(AGGREGATED, 744, _AGGREGATED),
        **_format(INTERVALS_TUNE, 746, _INTERVALS_TUNE),
    },
}
"""Kernel series → path below the instance's folder → the file's whole text."""
