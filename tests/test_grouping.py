"""Whose regions are whose."""

from dataclasses import replace

import pytest
from made_regions import MIB, PAGE, regions
from made_roster import DATABASES

from damon_exporter.grouping import Grouping, grouping
from damon_exporter.roster import ListedTarget, Watched, WatchedProcess, listed

NODE = replace(DATABASES, operations="paddr", targets=None)
THEIRS = replace(DATABASES, owner="foreign")


def told(kdamond: Watched, *targets: int, end_ns: int = 100) -> Grouping:
    """Group regions of these targets, one of 1 MiB each."""
    made = regions(*((i * MIB, (i + 1) * MIB, 0, 0, target) for i, target in enumerate(targets, 1)))
    return grouping(kdamond, made, end_ns)


def grouped(kdamond: Watched, *targets: int) -> tuple[tuple[str, ...], list[int]]:
    found = told(kdamond, *targets)
    return found.names, found.group.tolist()


def test_physical_memory_is_one_target() -> None:
    assert grouped(NODE, 0, 0, 0) == (("physical",), [0, 0, 0])


def test_target_indexes_of_one_name_are_one_target() -> None:
    assert grouped(DATABASES, 0, 1, 1, 2) == (("postgres", "redis"), [0, 1, 1, 0])


def test_a_target_without_regions_keeps_its_place() -> None:
    assert grouped(DATABASES, 1) == (("postgres", "redis"), [1])
    assert grouped(DATABASES) == (("postgres", "redis"), [])


def test_regions_of_an_index_that_its_owner_did_not_tell_us_of_are_named_by_it() -> None:
    assert grouped(THEIRS, 0, 3, 5) == (("postgres", "redis", "target3", "target5"), [0, 2, 3])


def test_an_index_that_we_have_just_added_is_not_told_of_before_it_is_known_whose_it_is() -> None:
    assert grouped(DATABASES, 0, 3) == (("postgres", "redis"), [0])


def test_where_the_owner_tells_no_names_indexes_are_the_names() -> None:
    assert grouped(replace(THEIRS, targets=None), 0, 2, 2) == (("target0", "target2"), [0, 1, 1])


def test_a_name_that_looks_like_an_index_shares_its_target() -> None:
    assert grouped(replace(THEIRS, targets=listed("target1")), 0, 1) == (("target1",), [0, 0])


def test_the_largest_index_costs_no_more_than_the_smallest() -> None:
    assert grouped(replace(THEIRS, targets=None), 2**32 - 1) == (("target4294967295",), [0])


def test_regions_of_who_has_left_are_left_out() -> None:
    left = ListedTarget(None, WatchedProcess(42, 1, "postgres"))
    found = told(replace(DATABASES, targets=(left, *listed("redis"))), 0, 0, 1)
    assert (found.names, found.group.tolist(), len(found.regions)) == (("redis",), [0], 1)


@pytest.mark.parametrize(("end_ns", "names"), [(499, ("redis",)), (500, ("redis", "new"))])
def test_regions_of_an_index_before_somebody_came_to_it_are_not_his(end_ns: int, names: tuple[str, ...]) -> None:
    new = ListedTarget("new", since_ns=500)
    found = told(replace(DATABASES, targets=(*listed("redis"), new)), 0, 1, end_ns=end_ns)
    assert [found.names[i] for i in found.group] == list(names)


def test_the_page_that_a_new_target_begins_with_is_no_memory() -> None:
    made = regions((0, PAGE, 0, 9, 0), (PAGE, 2 * PAGE, 0, 9, 1))
    assert grouping(DATABASES, made, 100).group.tolist() == [1]
    assert grouping(replace(DATABASES, operations="fvaddr"), made, 100).group.tolist() == [0, 1]
    assert len(grouping(THEIRS, made, 100).regions) == 2
