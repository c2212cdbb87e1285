"""Who has which place in a kdamond's list of targets."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from damon_exporter.roster import ListedTarget, WatchedProcess
from damon_exporter.seating import NOBODY, Places, recognised, relabelled, reseated, seated, vacated


def process(pid: int, name: str = "postgres", start_ticks: int = 0) -> WatchedProcess:
    return WatchedProcess(pid, start_ticks or pid, name)


def pids(targets: Places) -> list[int | None]:
    """The pids that the kernel is told; None is nobody's."""
    return [None if target.process in (None, NOBODY) else target.process.pid for target in targets if target.process]


def followed(targets: Places, wanted: Sequence[WatchedProcess]) -> Places:
    """What becomes of a list when these processes are wanted, and the kernel has taken it."""
    return reseated(relabelled(targets, wanted, 0, 0), wanted).known_since(1)


# Who is told of


def test_of_who_is_not_wanted_any_more_nothing_is_told_and_his_place_stays() -> None:
    after = relabelled(seated([process(1), process(2)]), [process(2)], 0, 0)
    assert [target.name for target in after] == [None, "postgres"]
    assert pids(after) == [1, 2]


def test_a_process_under_another_name_is_told_of_when_its_memory_has_been_looked_at_again() -> None:
    (after,) = relabelled(seated([process(1, "sh")]), [process(1, "postgres")], now_ns=400, settling_ns=100)
    assert (after.name, after.since_ns) == ("postgres", 500)
    assert relabelled((after,), [process(1, "postgres")], now_ns=800, settling_ns=100) == (after,)


def test_who_changes_his_name_again_and_again_does_not_put_that_off() -> None:
    (after,) = relabelled(seated([process(1, "sh")]), [process(1, "a")], now_ns=400, settling_ns=100)
    (after,) = relabelled((after,), [process(1, "b")], now_ns=450, settling_ns=100)
    assert (after.name, after.since_ns) == ("b", 500)


def test_a_later_process_with_the_pid_is_not_told_of_in_the_place_of_the_earlier() -> None:
    (after,) = relabelled(seated([process(1, start_ticks=5)]), [process(1, start_ticks=9)], 0, 0)
    assert after.name is None


def test_physical_memory_is_always_told_of() -> None:
    physical = (ListedTarget("physical"),)
    assert relabelled(physical, [], 0, 0) == physical


# Who gets which place


def test_who_ends_before_the_list_is_taken_leaves_nobody_there_and_all_others_where_they_are() -> None:
    known = seated([process(1), process(2)])
    tried = reseated(known, [process(1), process(2), process(3), process(4)])
    left = vacated(known, tried, {process(2).identity, process(4).identity})
    assert pids(left.targets) == [1, None, 3, None]
    assert left.fresh == {1, 2, 3}


def test_who_comes_takes_a_place_that_was_left_and_the_others_keep_theirs() -> None:
    before = relabelled(seated([process(1), process(2), process(3)]), [process(1), process(3)], 0, 0)
    seating = reseated(before, [process(1), process(3), process(4)])
    assert pids(seating.targets) == [1, 4, 3]
    assert seating.fresh == {1}


def test_more_than_have_left_are_added_at_the_end() -> None:
    seating = reseated(seated([process(1)]), [process(1), process(2), process(3)])
    assert (pids(seating.targets), seating.fresh) == ([1, 2, 3], {1, 2})


def test_a_place_that_nobody_takes_is_given_to_a_process_without_memory() -> None:
    before = relabelled(seated([process(1), process(2), process(3)]), [process(3)], 0, 0)
    seating = reseated(before, [process(3), process(4)])
    assert (pids(seating.targets), seating.fresh) == ([4, None, 3], {0, 1})
    assert [target.name for target in seating.targets] == ["postgres", None, "postgres"]


def test_it_keeps_that_place_until_somebody_comes() -> None:
    before = (ListedTarget(None, NOBODY), *seated([process(3)]))
    assert reseated(before, [process(3)]).fresh == frozenset()
    seating = reseated(before, [process(3), process(4)])
    assert (pids(seating.targets), seating.fresh) == ([4, 3], {0})


def test_empty_places_at_the_end_are_given_up() -> None:
    before = relabelled(seated([process(1), process(2), process(3)]), [process(1)], 0, 0)
    assert pids(reseated(before, [process(1)]).targets) == [1]


def test_who_is_new_is_told_of_from_the_commit_on() -> None:
    first, second = reseated(seated([process(1)]), [process(1), process(2)]).known_since(77)
    assert (first.since_ns, second.since_ns) == (0, 77)


@given(st.lists(st.sets(st.integers(3, 12), min_size=1, max_size=5), min_size=1, max_size=12))
def test_whatever_comes_and_goes_everybody_has_one_place_and_keeps_it(steps: list[set[int]]) -> None:
    targets = seated([process(pid) for pid in sorted(steps[0])])
    for before, now in zip([steps[0], *steps], steps, strict=False):
        places = {target.process.pid: i for i, target in enumerate(targets) if target.name and target.process}
        targets = followed(targets, [process(pid) for pid in sorted(now)])
        told = [target.process.pid for target in targets if target.name and target.process]
        assert sorted(told) == sorted(now)
        assert all(pids(targets)[places[pid]] == pid for pid in before & now)
        assert targets[-1].name is not None
        assert len(targets) <= max(map(len, steps))


def test_no_more_come_than_there_is_room_for_beside_those_who_have_just_left() -> None:
    before = relabelled(seated([process(1), process(2)]), [process(2), process(3), process(4)], 0, 0)
    seating = reseated(before, [process(2), process(3), process(4)], kept={0}, most=3)
    assert pids(seating.targets) == [1, 2, 3]


# An earlier run's


def test_processes_of_an_earlier_run_are_recognised_in_their_places() -> None:
    found = [process(1, start_ticks=10), process(2, start_ticks=20)]
    targets = recognised([2, 9, 1], found)
    assert [(t.name, t.process.pid if t.process else None) for t in targets] == [
        ("postgres", 2),
        (None, 9),
        ("postgres", 1),
    ]


def test_a_place_that_was_left_just_now_is_not_given_away_yet() -> None:
    before = relabelled(seated([process(1), process(2), process(3)]), [process(2)], 0, 0)
    seating = reseated(before, [process(2), process(4)], kept={0, 2})
    assert (pids(seating.targets), seating.fresh) == ([1, 2, 3, 4], {3})
    assert [target.name for target in seating.targets] == [None, "postgres", None, "postgres"]
