"""One damo record, which is one target of one kdamond: from JSON values to arrays."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.snapshot import U32, U64, Intervals, impossible
from damon_exporter.sources.recording.model import Origin
from damon_exporter.sources.recording.spelling import microseconds, nanoseconds, percent, whole

OWN_KEY = "damon_exporter"
"""Where in a record or a snapshot stands what only we know; damo ignores keys that it does not know."""

IMPLAUSIBLE = 100
"""damo 3.4 writes a tuned sample interval in ns and reads it in us. This many times longer than it lasted cannot
be the aggregation interval of a snapshot."""

LONGEST_INTERVAL_US = 24 * 3600 * 10**6
"""A day; the longest that auto-tuning comes to are minutes."""

LONGEST_NS = 2**62
"""146 years, for times and ages: their sum fits into 64 bits."""

LONGEST_NAME = 4096
"""Characters that are kept of a text."""


@dataclass(frozen=True, slots=True)
class OwnNames:
    """What we write into a record beside damo's keys; all empty if damo wrote it."""

    monitor: str = ""
    operations: str = ""
    target: str = ""
    targets: tuple[int, ...] = ()
    """The indexes of all targets of the kdamond that the file has a record of."""
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """The regions of one target in one aggregation, in ascending order and in the units of `Snapshot`."""

    start_ns: int
    end_ns: int
    intervals: Intervals | None
    age_unit_us: int | None
    start: U64
    end: U64
    nr_accesses: U32
    age: U32


@dataclass(slots=True)
class Record:
    """A record as far as it has been read; ``fields`` has the keys of `FIELDS`. ``whole``: it was read to its end."""

    fields: dict[str, Any] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    whole: bool = False

    @property
    def kdamond(self) -> tuple[int, int, int | None]:
        """What tells kdamonds apart. A record of a scheme has only the regions that this was tried on."""
        get = self.fields.get
        return get("kdamond_idx") or 0, get("context_idx") or 0, get("scheme_idx")

    @property
    def cut_off(self) -> bool:
        """Was reading stopped in the midst of this target? It may have been before the target was named."""
        return not self.whole and "target_id" in self.fields

    @property
    def own(self) -> OwnNames:
        """What we wrote into it."""
        own: OwnNames = self.fields.get(OWN_KEY, OwnNames())
        return own

    def read_field(self, key: str, value: Any) -> None:
        """Keep the value of one of `FIELDS`. Raises ValueError, KeyError or TypeError."""
        self.fields[key] = FIELDS[key](value)

    def read_snapshot(self, value: Any) -> None:
        """Keep one snapshot; the record's intervals stand before it.

        Raises ValueError, KeyError, TypeError or AttributeError if it is not as damo writes it.
        """
        start_ns, end_ns = _time(value["start_time"]), _time(value["end_time"])
        intervals, age_unit_us = _timing(value, self.fields.get("intervals"), (end_ns - start_ns) // 1000)
        regions = value["regions"]
        start = _column((region["start"] for region in regions), np.uint64)
        end = _column((region["end"] for region in regions), np.uint64)
        order = np.lexsort((end, start))
        start, end = start[order], end[order]
        if impossible(start, end).any():
            raise ValueError("regions end before they start, overlap, or are those of several targets in one record")
        ages = _ages([region["age"] for region in regions], intervals)
        if ages is not None and age_unit_us and int(ages.max(initial=0)) * age_unit_us * 1000 >= LONGEST_NS:
            raise ValueError(f"{ages.max()} times {age_unit_us} us is no age")
        self.parts.append(
            Part(
                start_ns=start_ns,
                end_ns=end_ns,
                intervals=intervals,
                age_unit_us=age_unit_us if ages is not None else None,
                start=start,
                end=end,
                nr_accesses=_accesses([region["nr_accesses"] for region in regions], intervals)[order],
                age=np.zeros(len(start), np.uint32) if ages is None else ages[order],
            )
        )


def _timing(snapshot: Any, of_record: Intervals | None, duration_us: int) -> tuple[Intervals | None, int | None]:
    """Return the intervals in force and the unit of age: as we wrote them, else as far as damo tells."""
    if OWN_KEY in snapshot:
        own = snapshot[OWN_KEY]
        intervals = _intervals(own["sample_us"], own["aggregation_us"]) if "sample_us" in own else None
        return intervals, _age_unit_us(own)
    tuned = snapshot.get("sample_interval_us")
    if of_record and tuned is not None:
        of_record = _tuned(of_record, microseconds(tuned), duration_us)
    return of_record, of_record.aggregation_us if of_record else None


def _age_unit_us(own: Any) -> int | None:
    unit = _whole_or_none(own.get("age_unit_us"))
    if unit is not None and not 0 < unit <= LONGEST_INTERVAL_US:
        raise ValueError(f"{unit} us is no unit of age")
    return unit


def _tuned(of_record: Intervals, sample_us: int, duration_us: int) -> Intervals:
    """Return the intervals that auto-tuning had come to; it keeps their ratio."""
    ratio = of_record.aggregation_us / of_record.sample_us
    if sample_us * ratio > IMPLAUSIBLE * max(duration_us, 1):
        sample_us //= 1000
    return _intervals(sample_us, round(sample_us * ratio))


def _time(value: Any) -> int:
    time_ns = nanoseconds(value)
    if not 0 <= time_ns < LONGEST_NS:
        raise ValueError(f"{time_ns} ns is not a time")
    return time_ns


def _column(values: Iterable[Any], kind: type[np.uint32] | type[np.uint64]) -> NDArray[Any]:
    found = [value if type(value) is int else whole(value) for value in values]
    if found and not 0 <= min(found) <= max(found) <= np.iinfo(kind).max:
        raise ValueError(f"{min(found)} to {max(found)} do not fit into {kind.__name__}")
    return np.array(found, kind)


def _accesses(counts: list[Any], intervals: Intervals | None) -> U32:
    samples = [count.get("samples") for count in counts]
    if None not in samples:
        return _column(samples, np.uint32)
    if intervals is None:
        raise ValueError("accesses in percent, but no intervals that tell what percent of")
    most = intervals.max_nr_accesses
    return _column((percent(count["percent"]) * most / 100 for count in counts), np.uint32)


def _ages(ages: list[Any], intervals: Intervals | None) -> U32 | None:
    """Return ages in aggregation intervals; None if they are not told, as before Linux 5.17."""
    counted = [age.get("aggr_intervals") for age in ages]
    if None not in counted:
        return _column(counted, np.uint32)
    timed = [age.get("usec") for age in ages]
    if intervals is None or None in timed:
        return None
    # damo makes negative times of DAMON_STAT's percentiles where memory is being accessed.
    return _column((max(microseconds(age), 0) // intervals.aggregation_us for age in timed), np.uint32)


def _intervals(sample_us: Any, aggregation_us: Any) -> Intervals:
    intervals = Intervals(microseconds(sample_us), microseconds(aggregation_us))
    if not 0 < intervals.sample_us <= intervals.aggregation_us <= LONGEST_INTERVAL_US:
        raise ValueError(f"{intervals} are no intervals")
    return intervals


def _whole_or_none(value: Any) -> int | None:
    return None if value is None else whole(value)


def _intervals_of_record(value: Any) -> Intervals | None:
    return None if value is None else _intervals(value["sample_us"], value["aggr_us"])


def _name(value: Any) -> str:
    return str(value)[:LONGEST_NAME]


def _own_names(value: Any) -> OwnNames:
    names = {key: _name(value[key]) for key in ("monitor", "operations", "target") if key in value}
    targets = tuple(whole(target) for target in value.get("targets", ()))
    words = value.get("origin")
    origin = Origin(**{key: _name(words[key]) for key in Origin.__slots__ if key in words}) if words else None
    return OwnNames(**names, targets=targets, origin=origin)


FIELDS: dict[str, Callable[[Any], Any]] = {
    "kdamond_idx": _whole_or_none,
    "context_idx": _whole_or_none,
    "scheme_idx": _whole_or_none,
    "target_id": _whole_or_none,
    "intervals": _intervals_of_record,
    "data_source": _name,
    OWN_KEY: _own_names,
}
"""The keys of a record that are read, beside its snapshots."""
