"""The thread that does the same work again and again."""

import threading
from collections.abc import Callable

import pytest
from driving import wait_for

from damon_exporter.repeating import Repeating

LONG = 3600.0


class Work:
    """Counts how often it is done, and rests for so long."""

    def __init__(self, rest: float) -> None:
        self.rest = rest
        self.times = 0

    def __call__(self) -> float:
        self.times += 1
        return self.rest


def _no_failure() -> None:
    raise AssertionError("nothing has failed")


def _working(work: Callable[[], float], on_failure: Callable[[], None] = _no_failure) -> Repeating:
    thread = Repeating("test", work, on_failure)
    thread.start()
    return thread


def test_work_is_done_again_after_its_rest() -> None:
    work = Work(rest=0.001)
    thread = _working(work)
    wait_for(lambda: work.times >= 3)
    thread.stop()
    done = work.times
    assert not thread_lives("test")
    assert work.times == done


def test_a_rest_ends_when_it_is_woken() -> None:
    work = Work(rest=LONG)
    thread = _working(work)
    wait_for(lambda: work.times == 1)
    thread.wake()
    wait_for(lambda: work.times == 2)
    thread.stop()
    assert work.times == 2


def test_stopping_waits_for_the_work_under_way_only() -> None:
    begun, go_on = threading.Event(), threading.Event()
    finished = []

    def work() -> float:
        begun.set()
        go_on.wait()
        finished.append(True)
        return LONG

    thread = _working(work)
    begun.wait()
    threading.Timer(0.05, go_on.set).start()
    thread.stop()
    assert finished == [True]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_end_that_nobody_has_foreseen_is_told() -> None:
    def work() -> float:
        raise ZeroDivisionError

    told = threading.Event()
    _working(work, told.set)
    assert told.wait(5)
    wait_for(lambda: not thread_lives("test"))


def thread_lives(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())
