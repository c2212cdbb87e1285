"""Waiting longer after every failure, but not for ever."""

from damon_exporter.backoff import BackOff


def test_delays_double_up_to_the_longest() -> None:
    delays = BackOff(30.0, 3600.0)
    assert [delays.next() for _ in range(9)] == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_after_a_reset_they_begin_with_the_first_again() -> None:
    delays = BackOff(1.0, 60.0)
    delays.next()
    delays.next()
    delays.reset()
    assert delays.next() == 1.0
