"""A sliding window against a plain list of everything that was ever added."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from damon_exporter.analysis.window import FIRST_CAPACITY, SlidingWindow
from damon_exporter.analysis.workingset import percentile_bytes


def test_a_number_leaves_when_it_is_as_old_as_the_window_is_long() -> None:
    window = SlidingWindow(100)
    window.append(0, 7)
    assert window.values(99).tolist() == [7]
    assert window.values(100).tolist() == []


def test_numbers_come_oldest_first() -> None:
    window = SlidingWindow(10)
    for time in range(20):
        window.append(time, 100 - time)
    assert window.values(19).tolist() == list(range(90, 80, -1))


def test_a_window_in_which_nothing_is_new_runs_empty_and_starts_again() -> None:
    window = SlidingWindow(10)
    window.append(0, 1)
    assert window.values(50).tolist() == []
    window.append(60, 2)
    assert window.values(60).tolist() == [2]


def test_what_was_returned_stays_as_it_was_when_more_comes() -> None:
    window = SlidingWindow(10**6)
    window.append(0, 0)
    returned = window.values(0)
    for time in range(1, 3 * FIRST_CAPACITY):
        window.append(time, time)
    assert returned.tolist() == [0]


def test_memory_does_not_grow_with_what_has_passed_through() -> None:
    window = SlidingWindow(50)
    for time in range(100 * FIRST_CAPACITY):
        window.append(time, time)
    held = window.values(100 * FIRST_CAPACITY).base
    assert held is not None
    assert held.nbytes <= 2 * 8 * FIRST_CAPACITY


@given(
    st.integers(1, 2_000),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2**60), st.booleans()), max_size=200),
    st.sampled_from((1, 30)),
)
def test_a_window_holds_what_a_list_would(length: int, steps: list[tuple[int, int, bool]], rounds: int) -> None:
    window, everything, now = SlidingWindow(length), [], 0
    for pause, value, look in steps * rounds:
        now += pause
        window.append(now, value)
        everything.append((now, value))
        if look:
            now += pause
            assert window.values(now).tolist() == [value for time, value in everything if time > now - length]
    assert window.values(now).tolist() == [value for time, value in everything if time > now - length]


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2**50)), min_size=1, max_size=400),
    st.integers(1, 500),
    st.integers(0, 100),
)
def test_percentiles_over_the_window_are_ranks_among_its_numbers(
    steps: list[tuple[int, int]], length: int, percentile: int
) -> None:
    window, now, held = SlidingWindow(length), 0, []
    for pause, value in steps:
        now += pause
        window.append(now, value)
        held = [(time, old) for time, old in [*held, (now, value)] if time > now - length]
    ranked = sorted(value for _, value in held)
    rank = min(int(percentile / 100 * len(ranked)), len(ranked) - 1)  # as damo rounds
    assert percentile_bytes(np.sort(window.values(now)), percentile) == ranked[rank]
