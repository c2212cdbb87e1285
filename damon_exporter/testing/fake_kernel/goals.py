"""How a quota's goals move it: the feedback loop of every kernel, and the tuner ``temporal`` of 7.1."""

from collections.abc import Callable

from damon_exporter.testing.fake_kernel.scheme_parameters import ULONG, Goal, Quota

FULL = 10_000  # basis points; also the least input, so that a change of it is never nothing
Measure = Callable[[str], int | None]
"""What the kernel measures of a metric just now; None: exactly what the goal aims at."""


def tuned_bp(quota: Quota, last_bp: int, measure: Measure) -> int:
    """damos_goal_tune_esz_bp_consist() or …_temporal(): the quota in 10000ths of a byte, from the last one."""
    score = max(score_of(goal, measure) for goal in quota.goals)
    if quota.tuner == "temporal":
        return temporal_bp(quota, score)
    return next_input(max(last_bp, FULL), score)


def score_of(goal: Goal, measure: Measure) -> int:
    """How near a goal is, in basis points; the highest of all goals counts, as it makes a scheme least aggressive."""
    current = goal.current if goal.metric == "user_input" else measure(goal.metric)
    return FULL if current is None else current * FULL // goal.target


def temporal_bp(quota: Quota, score: int) -> int:
    """Nothing once the goal is reached; until then ``bytes``, or no limit if that is 0."""
    if score >= FULL:
        return 0
    return quota.bytes * FULL if 0 < quota.bytes <= ULONG // FULL else ULONG


def next_input(last: int, score: int) -> int:
    """damon_feed_loop_next_input(): more by the share that is missing, less by the share that is too much."""
    if score == FULL:
        return last
    if score >= 2 * FULL:
        return FULL
    change = last * abs(FULL - score) // FULL
    return max(last - change, FULL) if score > FULL else min(last + change, ULONG)
