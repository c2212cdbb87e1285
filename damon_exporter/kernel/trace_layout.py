"""Where things lie in a trace page and in an event, as the running kernel's own texts say it.

Pure functions of the texts in ``events/header_page``, ``events/header_event`` and an event's ``format``.
"""

import re
import sys
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from damon_exporter.kernel.errors import Unsupported

_FIELD = re.compile(r"field:\s*([^;]*?)(\w+)(?:\[[^;]*\])?;\s*offset:(\d+);\s*size:(\d+);\s*signed:([01]);")

WORD = 4
"""Bytes in the unit of a record's length."""


@dataclass(frozen=True, slots=True)
class _Field:
    offset: int
    size: int
    signed: bool

    @property
    def numpy_type(self) -> str:
        """A number of 1, 2, 4 or 8 bytes; whatever else there is stays bytes."""
        return f"{'i' if self.signed else 'u'}{self.size}" if self.size in (1, 2, 4, 8) else f"V{self.size}"


def _fields(text: str) -> dict[str, _Field]:
    found = _FIELD.findall(text)
    return {name: _Field(int(offset), int(size), signed == "1") for _, name, offset, size, signed in found}


def _number(text: str, pattern: str, file: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise Unsupported(f"{file} does not tell {pattern!r}: this kernel's trace pages have another form")
    return int(found[1])


@dataclass(frozen=True, slots=True)
class PageLayout:
    """A sub-buffer: a header with the time and length of its data, then records; all offsets in bytes.

    A record begins with a 32-bit word: in the low ``type_len_bits`` its length in words or one of the three
    special types, in the rest the nanoseconds since the record before.
    """

    timestamp_offset: int
    commit_offset: int
    commit_bytes: int
    data_offset: int
    data_bytes: int
    type_len_bits: int
    padding: int
    time_extend: int
    time_stamp: int

    @property
    def page_bytes(self) -> int:
        """The size of a whole sub-buffer, which is what one read of ``trace_pipe_raw`` gives."""
        return self.data_offset + self.data_bytes

    @classmethod
    def parse(cls, header_page: str, header_event: str) -> Self:
        """Read the two texts; raises `Unsupported` if something is not as this decoder needs it."""
        fields = _fields(header_page)
        missing = {"timestamp", "commit", "data"} - fields.keys()
        if missing:
            raise Unsupported(f"events/header_page has no field {', '.join(sorted(missing))}")
        stamp, commit, data = fields["timestamp"], fields["commit"], fields["data"]
        if sys.byteorder != "little" or stamp.size != 8 or data.offset % 4 or data.size % 4:
            raise Unsupported("this machine's trace pages have a form we cannot read: use kernel.source: sysfs")
        file = "events/header_event"
        return cls(
            timestamp_offset=stamp.offset,
            commit_offset=commit.offset,
            commit_bytes=commit.size,
            data_offset=data.offset,
            data_bytes=data.size,
            type_len_bits=_number(header_event, r"type_len\s*:\s*(\d+) bits", file),
            padding=_number(header_event, r"padding\s*: type == (\d+)", file),
            time_extend=_number(header_event, r"time_extend\s*: type == (\d+)", file),
            time_stamp=_number(header_event, r"time_stamp\s*: type == (\d+)", file),
        )


@dataclass(frozen=True, slots=True)
class EventFormat:
    """One kind of event: its number in ``common_type``, and its payload as a structured type."""

    name: str
    number: int
    dtype: np.dtype[Any]

    @classmethod
    def parse(cls, text: str, required: frozenset[str] = frozenset()) -> Self:
        """Read a ``format`` file; raises `Unsupported` if a required field is missing."""
        named = re.search(r"^name: (\w+)$", text, re.MULTILINE)
        name = named[1] if named else "event"
        number = _number(text, r"(?m)^ID: (\d+)$", f"the format of {name}")
        fields = _fields(text)
        missing = sorted((required | {"common_type"}) - fields.keys())
        if missing:
            raise Unsupported(
                f"the tracepoint {name} of this kernel has no {', '.join(missing)} "
                "(age came with Linux 5.17): use a newer kernel, or kernel.source: sysfs"
            )
        return cls(name, number, _payload_type(fields))

    @classmethod
    def absent(cls, name: str, fields: frozenset[str]) -> Self:
        """Stand in for an event that this kernel does not have: no record ever carries its number."""
        return cls(name, -1, np.dtype([(field, np.uint64) for field in sorted(fields)]))

    @property
    def record_bytes(self) -> int:
        """What one event takes of a page: its payload and the word before it."""
        return WORD + self.dtype.itemsize


def _payload_type(fields: dict[str, _Field]) -> np.dtype[Any]:
    """The C structure: padded at the end to a multiple of its largest number, as the kernel's records are."""
    end = max(field.offset + field.size for field in fields.values())
    alignment = max(4, *(field.size for field in fields.values() if field.size in (1, 2, 4, 8)))
    return np.dtype(
        {
            "names": list(fields),
            "formats": [field.numpy_type for field in fields.values()],
            "offsets": [field.offset for field in fields.values()],
            "itemsize": -(-end // alignment) * alignment,
        }
    )
