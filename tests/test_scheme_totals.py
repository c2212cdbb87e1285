"""What is published of schemes: from files that are refreshed, from events, over restarts and changes by others."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from made_roster import NODE

from damon_exporter.kernel.scheme_stats import ShownScheme
from damon_exporter.roster import Watched, WatchedScheme
from damon_exporter.scheme_totals import SchemeTotals
from damon_exporter.sources.scheme_events import SchemeReport
from damon_exporter.state import SchemeState


def counters(number: int) -> Mapping[str, int]:
    return {"nr_tried": number, "sz_tried": number * 4096}


def scheme(
    number: int,
    *,
    index: int = 0,
    label: str = "cold",
    action: str = "pageout",
    counted: bool = True,
    quota: int | None = None,
) -> WatchedScheme:
    shown = ShownScheme(index, action, counters(number), quota, (("user_input", 5),), None)
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
    totals.take(SchemeReport(7, 0, counters=counters(3)))
    totals.take(SchemeReport(7, 0, effective_quota=10))
    assert tried(totals) is None  # somebody may just have put another scheme there
    totals.follow(kdamond(scheme(0, counted=False), addr_unit=16))
    (state,) = totals.states()
    assert state.counters == {"nr_tried": 3, "sz_tried": 3 * 4096 * 16}
    assert state.effective_quota_bytes == 160


def test_whatever_is_newer_of_files_and_events_is_told() -> None:
    totals = SchemeTotals()
    totals.follow(kdamond(scheme(3, counted=False)))
    totals.take(SchemeReport(7, 0, counters=counters(5)))
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
    totals.take(SchemeReport(7, 0, counters=counters(3)))
    totals.follow(kdamond(scheme(3, counted=False)))
    totals.follow(replace(NODE, pid=7, schemes=None))
    totals.take(SchemeReport(7, 0, counters=counters(50)))
    assert tried(totals) == 3


def test_what_happened_to_be_counted_before_a_monitor_got_its_kdamond_is_not_its_own() -> None:
    totals = SchemeTotals()
    totals.follow(replace(kdamond(scheme(100)), inherited_at=1.0))
    assert tried(totals) == 0
    totals.follow(replace(kdamond(scheme(103)), inherited_at=1.0))
    assert tried(totals) == 3


@pytest.mark.parametrize("owner", ["exporter", "foreign"])
def test_of_a_swap_nothing_goes_to_the_wrong_scheme_even_if_files_were_early_or_events_are_late(owner: str) -> None:
    def swapping(*schemes: WatchedScheme) -> Watched:
        return replace(kdamond(*schemes), owner=owner)

    def told() -> dict[str, int]:
        return {state.action: (state.counters or {}).get("nr_tried", 0) for state in totals.states()}

    totals = SchemeTotals()
    paging, counting = scheme(0, label="0", counted=False), scheme(0, index=1, label="1", action="stat", counted=False)
    totals.follow(swapping(paging, counting))
    totals.take(SchemeReport(7, 0, counters=counters(10)))
    totals.take(SchemeReport(7, 1, counters=counters(1000)))
    totals.follow(swapping(replace(paging), counting))
    assert told() == {"pageout": 10, "stat": 1000}
    totals.take(SchemeReport(7, 0, counters=counters(20)))  # of pageout still, or of stat already
    swapped = (scheme(0, label="0", action="stat", counted=False), scheme(0, index=1, label="1", counted=False))
    totals.follow(swapping(*swapped))
    assert told()["stat"] == 0
    totals.take(SchemeReport(7, 0, counters=counters(30)))  # of before the commit, if it comes late
    totals.follow(swapping(*map(replace, swapped)))
    assert told() == {"stat": 0, "pageout": 0}
    totals.take(SchemeReport(7, 0, counters=counters(37)))
    totals.follow(swapping(*map(replace, swapped)))
    assert told()["stat"] == 7


def test_a_scheme_that_comes_back_to_its_place_is_published_all_the_time() -> None:
    totals = SchemeTotals()
    totals.follow(kdamond(scheme(3)))
    totals.follow(kdamond(scheme(5, action="stat")))
    totals.follow(kdamond(scheme(9)))
    assert tried(totals) == 3
    totals.follow(kdamond(scheme(12)))
    assert tried(totals) == 3
    totals.follow(kdamond(scheme(14)))
    assert tried(totals) == 5


def test_the_last_that_was_heard_of_a_kdamond_of_ours_counts_though_it_has_ended() -> None:
    totals = SchemeTotals()
    totals.follow(kdamond(scheme(0, counted=False)))
    totals.take(SchemeReport(7, 0, counters=counters(8)))
    totals.follow(kdamond(scheme(0, counted=False), pid=8))
    totals.take(SchemeReport(8, 0, counters=counters(2)))
    totals.follow(kdamond(scheme(0, counted=False), pid=8))
    assert tried(totals) == 10


def test_a_kdamond_that_comes_back_to_its_first_monitor_does_not_bring_what_it_did_for_another() -> None:
    totals = SchemeTotals()
    totals.follow(kdamond(scheme(3)))
    totals.follow(replace(kdamond(scheme(50)), inherited_at=7.0))
    assert tried(totals) == 3
    totals.follow(replace(kdamond(scheme(52)), inherited_at=7.0))
    assert tried(totals) == 5
