"""Which kdamond a pid is, and who of its targets lives."""

from dataclasses import replace

import pytest
from made_roster import DATABASES

from damon_exporter.roster import ListedTarget, Roster, WatchedProcess

NODE = replace(DATABASES, name="node", operations="paddr", pid=8, targets=None)
NAMELESS = replace(NODE, name="damon_stat", owner="module", pid=0)
"""DAMON_STAT before 7.2, which tells no pid."""


def test_a_pid_that_somebody_told_is_known() -> None:
    roster = Roster(looked_at=0.0, watched=(DATABASES, NODE, NAMELESS))
    assert roster.identify(8, heard_at=5.0) == NODE


def test_a_pid_that_no_slot_claims_is_the_module_that_tells_none() -> None:
    roster = Roster(looked_at=6.0, watched=(NAMELESS,))
    assert roster.identify(99, heard_at=5.0) == replace(NAMELESS, pid=99)


@pytest.mark.parametrize("looked_at", [4.0, 5.0])
def test_a_pid_is_not_given_to_the_module_before_we_have_looked_again(looked_at: float) -> None:
    assert Roster(looked_at, (NAMELESS,)).identify(99, heard_at=5.0) is None


def test_of_two_modules_that_tell_no_pid_neither_gets_it() -> None:
    two = (NAMELESS, replace(NAMELESS, name="damon_reclaim"))
    assert Roster(looked_at=6.0, watched=two).identify(99, heard_at=5.0) is None


def test_an_unknown_pid_belongs_to_nobody_where_everybody_tells_theirs() -> None:
    assert Roster(looked_at=6.0, watched=(DATABASES, NODE)).identify(99, heard_at=5.0) is None


# Processes


TWO = replace(
    DATABASES,
    targets=tuple(ListedTarget("postgres", WatchedProcess(pid, 10 * pid, "postgres")) for pid in (42, 43)),
)


def test_of_a_process_that_has_ended_nothing_is_told_and_the_others_keep_their_indexes() -> None:
    rest = TWO.without({(42, 420)})
    assert rest.targets is not None
    assert [target.name for target in rest.targets] == [None, "postgres"]
    assert rest.processes == ((43, 430),)


def test_a_process_with_the_pid_of_one_that_has_ended_lives() -> None:
    assert TWO.without({(42, 7)}) is TWO
    assert NODE.without({(42, 420)}) is NODE
