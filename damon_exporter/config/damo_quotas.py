"""From the quotas of damo's parameter file to ours."""

from collections.abc import Callable

from damon_exporter.config import damo_numbers as numbers
from damon_exporter.config.damo_parts import Part, Placed, given, listed, text
from damon_exporter.config.damo_values import basis_points, microseconds, milliseconds
from damon_exporter.config.fields import LARGEST_COUNT
from damon_exporter.config.quotas import OF_A_CGROUP, OF_A_NODE
from damon_exporter.units import shown

QUOTAS = (
    "effective_sz_bytes",
    "fail_charge_denom",
    "fail_charge_num",
    "goal_tuner",
    "goals",
    "reset_interval_ms",
    "sz_bytes",
    "time_ms",
    "weights",
)
WEIGHTS = ("age_permil", "nr_accesses_permil", "sz_permil")
GOAL = (
    "complement",
    "current_value",
    "current_value_bp",
    "memcg_path",
    "metric",
    "nid",
    "target_value",
    "target_value_bp",
)

WITHOUT_NODE = "node_eligible_mem_bp"
"""damo 3.4.3 takes its target as a number alone, and does not write its node, so that the kernel takes 0."""


def quotas(scheme: Part) -> Placed | None:
    """Return the quotas; None if they limit nothing, for then the kernel looks at none of their values."""
    part = scheme.part("quotas", QUOTAS, needed=False)
    if part is None:
        return None
    limits = given(
        time=part.placed("time_ms", _time),
        size=part.placed("sz_bytes", lambda value: numbers.size(value) or None),
        goals=_goals(part),
    )
    rest = given(
        reset_interval=part.placed("reset_interval_ms", _reset_interval),
        weights=_weights(part),
        goal_tuner=part.placed("goal_tuner", text, needed=False),
        fail_charge=_fail_charge(part),
    )
    return Placed(limits | rest, part.place) if limits else None


def _time(value: object) -> str | None:
    """None for 0, the kernel's word for no limit. What only becomes 0 by being cut off is refused."""
    exact = numbers.milliseconds(value)
    if 0 < exact < 1:
        raise ValueError(f"{shown(value)} is less than 1 ms, so that damo would write 0, which is no limit; write more")
    return milliseconds(value) if exact else None


def _reset_interval(value: object) -> str:
    """Of what the kernel's 32 bits do not hold, the longest is left."""
    return "max" if numbers.milliseconds(value) > LARGEST_COUNT else milliseconds(value)


def _weights(quota: Part) -> Placed | None:
    part = quota.part("weights", WEIGHTS)
    if part is None:
        return None

    def weight(value: object) -> int:
        return int(numbers.permil(value))

    return Placed(
        given(
            size=part.placed("sz_permil", weight),
            access=part.placed("nr_accesses_permil", weight),
            age=part.placed("age_permil", weight),
        ),
        part.place,
    )


def _fail_charge(quota: Part) -> Placed | None:
    keys = given(
        num=quota.placed("fail_charge_num", numbers.whole, needed=False),
        denom=quota.placed("fail_charge_denom", numbers.whole, needed=False),
    )
    return Placed(keys, quota.place) if any(each.value for each in keys.values()) else None


def _goals(quota: Part) -> Placed | None:
    return listed([_goal(part) for part in quota.parts("goals", GOAL) or ()], quota.at("goals"))


def _goal(goal: Part) -> Placed:
    if goal.has("target_value_bp"):  # of damo before goals had metrics
        return Placed(
            given(
                metric=Placed("user_input", goal.place),
                target=goal.placed("target_value_bp", numbers.whole),
                current=goal.placed("current_value_bp", numbers.whole),
            ),
            goal.place,
        )
    if goal.get("complement", numbers.flag):
        goal.refuse("complement", "Linux 7.3 has no complement of goals; leave it out")
    metric = goal.placed("metric", text)
    return Placed(given(metric=metric) | _of(goal, metric.value if metric else ""), goal.place)


def _of(goal: Part, metric: str) -> dict[str, Placed]:
    """Return the values of a goal that its metric has; those of others damo does not write, or the kernel sets."""
    node = Placed(0, goal.place) if metric == WITHOUT_NODE else None
    return given(
        target=goal.placed("target_value", _target(metric)),
        current=goal.placed("current_value", numbers.whole) if metric == "user_input" else None,
        nid=node or (goal.placed("nid", numbers.whole) if metric in OF_A_NODE else None),
        path=goal.placed("memcg_path", text) if metric in OF_A_CGROUP else None,
    )


def _target(metric: str) -> Callable[[object], object]:
    if metric == "some_mem_psi_us":
        return microseconds
    if metric == WITHOUT_NODE:
        return lambda value: basis_points(numbers.number(value))
    return basis_points if metric.endswith("_bp") else numbers.whole
