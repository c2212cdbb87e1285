"""Whose regions are whose, and which kdamond a pid is."""

from dataclasses import replace

import numpy as np
import pytest

from damon_exporter.roster import Roster, Watched

DATABASES = Watched(
    name="databases",
    operations="vaddr",
    owner="exporter",
    pid=7,
    names=("postgres", "redis", "postgres"),
    intervals=None,
    max_nr_accesses=None,
    tuned=False,
    refreshed=False,
    reporting=True,
)
NODE = replace(DATABASES, name="node", operations="paddr", pid=8, names=None)
NAMELESS = replace(NODE, name="damon_stat", owner="module", pid=0)
"""DAMON_STAT before 7.2, which tells no pid."""


def grouped(kdamond: Watched, *targets: int) -> tuple[tuple[str, ...], list[int]]:
    names, group = kdamond.grouping(np.array(targets, np.uint32))
    return names, group.tolist()


def test_physical_memory_is_one_target() -> None:
    assert grouped(NODE, 0, 0, 0) == (("physical",), [0, 0, 0])


def test_target_indexes_of_one_name_are_one_target() -> None:
    assert grouped(DATABASES, 0, 1, 1, 2) == (("postgres", "redis"), [0, 1, 1, 0])


def test_a_target_without_regions_keeps_its_place() -> None:
    assert grouped(DATABASES, 1) == (("postgres", "redis"), [1])
    assert grouped(DATABASES) == (("postgres", "redis"), [])


def test_regions_of_an_index_that_nobody_told_us_of_are_named_by_it() -> None:
    assert grouped(DATABASES, 0, 3, 5) == (("postgres", "redis", "target3", "target5"), [0, 2, 3])


def test_where_the_owner_tells_no_names_indexes_are_the_names() -> None:
    assert grouped(replace(DATABASES, names=None), 0, 2, 2) == (("target0", "target2"), [0, 1, 1])


def test_a_name_that_looks_like_an_index_shares_its_target() -> None:
    assert grouped(replace(DATABASES, names=("target1",)), 0, 1) == (("target1",), [0, 0])


def test_the_largest_index_costs_no_more_than_the_smallest() -> None:
    assert grouped(replace(DATABASES, names=None), 2**32 - 1) == (("target4294967295",), [0])


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
