"""Events of schemes: of each only the last of a batch tells anything."""

from collections.abc import Sequence

import numpy as np

from damon_exporter.kernel.scheme_stats import COUNTERS
from damon_exporter.kernel.trace_layout import EventFormat
from damon_exporter.kernel.trace_pages import Events
from damon_exporter.kernel.trace_ring import TraceBatch
from damon_exporter.sources.scheme_events import SchemeReport, scheme_reports

NOTHING = Events.none(EventFormat.absent("none", frozenset()))


def events(fields: Sequence[str], *rows: tuple[int, ...]) -> Events:
    """Events a microsecond apart, the first at 1000 ns."""
    data = np.array([*rows], np.dtype([(field, np.uint64) for field in fields]))
    return Events(data, np.arange(1, len(rows) + 1, dtype=np.uint64) * 1000)


def batch(stats: Events = NOTHING, quotas: Events = NOTHING) -> TraceBatch:
    return TraceBatch(NOTHING, NOTHING, stats, quotas, 0, (), 10_000)


def test_without_events_there_is_nothing_to_report() -> None:
    assert list(scheme_reports(batch())) == []


def test_counters_are_those_of_the_last_event_of_each_scheme_of_each_kdamond() -> None:
    fields = ("common_pid", "scheme_idx", *COUNTERS)
    stats = events(
        fields,
        (7, 0, 1, 2, 3, 4, 5, 6, 7),
        (7, 1, *[0] * 7),
        (8, 0, *[9] * 7),
        (7, 0, 10, 20, 30, 40, 50, 60, 2**64 - 1),
    )
    reports = {(report.kdamond, report.scheme): report for report in scheme_reports(batch(stats))}
    assert reports.keys() == {(7, 0), (7, 1), (8, 0)}
    assert reports[7, 0] == SchemeReport(7, 0, dict(zip(COUNTERS, (10, 20, 30, 40, 50, 60, 2**64 - 1), strict=True)))


def test_quotas_are_told_by_events_of_their_own() -> None:
    quotas = events(("common_pid", "scheme_idx", "esz"), (7, 2, 4096), (7, 2, 8192))
    assert list(scheme_reports(batch(quotas=quotas))) == [SchemeReport(7, 2, effective_quota=8192)]
