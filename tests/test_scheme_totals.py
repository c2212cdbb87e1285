"""What is published of schemes: from files that are refreshed, from events, over restarts and changes by others."""

from collections.abc import Mapping
from dataclasses import replace

from made_roster import NODE

from damon_exporter.kernel.scheme_stats import ShownScheme
from damon_exporter.roster import Watched, WatchedScheme
from damon_exporter.scheme_totals import SchemeTotals
from damon_exporter.sources.scheme_events import SchemeReport
from damon_exporter.state import SchemeState


def counters(number: int) -> Mapping[str, int]:
    return {"nr_tried": number, "sz_tried": number * 4096}


def scheme(
    number: int, *, index: int = 0, label: str = "cold", counted: bool = True, quota: int | None = None
) -> WatchedScheme:
    shown = ShownScheme(index, "pageout", counters(number), quota, (("user_input", 5),), None)
    return WatchedScheme(label, shown, counted, active=True)


def kdamond(*schemes: WatchedScheme, pid: int = 7, addr_unit: int = 1) -> Watched:
    return replace(NODE, pid=pid, schemes=schemes, addr_unit=addr_unit)


def tried(totals: SchemeTotals) -> int | None:
    (state,) = totals.states()
    return None if state.counters is None else state.counters["nr_tried"]


def test_files_that_are_refreshed_tell_everything() -> None:
    totals = SchemeTotals()
    totals.follow(kdamond(scheme(3, quota=1 << 20)))
    assert totals.states() == (
        SchemeState("cold", "pageout", counters(3), 1 << 20, active=True, goals=(("user_input", 5),)),
    )


def test_counters_go_on_over_a_restart() -> None:
    totals = SchemeTotals()
    totals.follow(kdamond(scheme(3)))
    totals.follow(kdamond(scheme(2), pid=8))
    assert tried(totals) == 5


def test_files_that_nobody_refreshes_tell_nothing_of_counters() -> None:
    totals = SchemeTotals()
    totals.follow(kdamond(scheme(3, counted=False, quota=4096)))
    (state,) = totals.states()
    assert (state.counters, state.effective_quota_bytes) == (None, None)


def test_events_tell_what_files_do_not() -> None:
    totals = SchemeTotals()
    totals.follow(kdamond(scheme(0, counted=False), addr_unit=16))
    totals.take(SchemeReport(7, 1, 0, counters=counters(3)))
    totals.take(SchemeReport(7, 1, 0, effective_quota=10))
    (state,) = totals.states()
    assert state.counters == {"nr_tried": 3, "sz_tried": 3 * 4096 * 16}
    assert state.effective_quota_bytes == 160


def test_whatever_is_newer_of_files_and_events_is_told() -> None:
    totals = SchemeTotals()
    totals.follow(kdamond(scheme(3, counted=False)))
    totals.take(SchemeReport(7, 1, 0, counters=counters(5)))
    totals.follow(kdamond(scheme(4)))  # a copy from before: its owner has just begun to have files refreshed
    assert tried(totals) == 5
    totals.follow(kdamond(scheme(6)))
    assert tried(totals) == 6


def test_what_is_counted_while_somebody_has_other_schemes_there_is_nobodys() -> None:
    totals = SchemeTotals()
    totals.follow(kdamond(scheme(3)))
    totals.follow(replace(NODE, pid=7, schemes=None))
    assert tried(totals) == 3
    totals.follow(kdamond(scheme(10)))
    totals.follow(kdamond(scheme(12)))
    assert tried(totals) == 5


def test_an_event_of_such_a_time_is_not_taken_for_ours() -> None:
    totals = SchemeTotals()
    totals.follow(kdamond(scheme(3, counted=False)))
    totals.take(SchemeReport(7, 1, 0, counters=counters(3)))
    totals.follow(replace(NODE, pid=7, schemes=None))
    totals.take(SchemeReport(7, 1, 0, counters=counters(50)))
    assert tried(totals) == 3
