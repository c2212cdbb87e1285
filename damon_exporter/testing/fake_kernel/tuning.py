"""Auto-tuning of the monitoring intervals, since 6.15: kdamond_tune_intervals()."""

from damon_exporter.testing.fake_kernel.parameters import IntervalsGoal

FULL = 10_000  # basis points


def next_sample_us(sample_us: int, goal: IntervalsGoal, accessed: int, possible: int) -> int:
    """The next sampling interval from the accesses seen (bytes times samples) and those possible.

    Too few accesses make it longer, up to twice as long, too many shorter, down to half.
    """
    wanted = possible * goal.access_bp // FULL
    score = accessed * FULL // max(wanted, 1)
    change = FULL * abs(FULL - score) // FULL
    factor = FULL + change if score <= FULL else max(FULL - change, 1)
    if factor <= FULL:
        factor = FULL // 2 + factor // 2
    return min(max(sample_us * factor // FULL, goal.min_sample_us), goal.max_sample_us)
