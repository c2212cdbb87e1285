"""From configured schemes to what the kernel takes, in its units."""

from collections.abc import Iterable, Iterator

from damon_exporter.config import Monitor, ProbeFilter, Quotas, Scheme, SchemeFilter
from damon_exporter.kernel.errors import Unsupported
from damon_exporter.kernel.plan import IntervalPlan
from damon_exporter.kernel.scheme_features import missing
from damon_exporter.kernel.scheme_plan import NO_NODE, FilterPlan, GoalPlan, QuotaPlan, SchemePlan, WatermarkPlan


def plan_schemes(
    monitor: Monitor, intervals: IntervalPlan, offers: frozenset[str]
) -> tuple[tuple[SchemePlan, ...], tuple[str, ...]]:
    """Return the schemes of a monitor, and sentences about those that are left out as they are optional.

    Raises `Unsupported` with what the kernel lacks for any other.
    """
    plans = [_scheme(scheme, intervals) for scheme in monitor.schemes]
    needed = {plan.name: missing(plan.needs(monitor.operations), offers) for plan in plans}
    lacking = {name: what for name, what in needed.items() if what}
    optional = {scheme.name for scheme in monitor.schemes if scheme.optional}
    refused = [f"scheme {name} needs {what}" for name, what in lacking.items() if name not in optional]
    if refused:
        raise Unsupported(
            f"this kernel cannot do what is asked for: {'; '.join(refused)}. Leave it out, or set optional: true"
        )
    left_out = (f"scheme {name} is left out, as this kernel lacks {what}" for name, what in lacking.items())
    return tuple(plan for plan in plans if plan.name not in lacking), tuple(left_out)


def probe_filters(configured: Iterable[ProbeFilter]) -> tuple[FilterPlan, ...]:
    """Return the filters of a probe in their order."""
    return tuple(
        FilterPlan(each.type, each.matching, each.allow, () if each.path is None else (("path", each.path),))
        for each in configured
    )


def _filters(configured: Iterable[SchemeFilter]) -> tuple[FilterPlan, ...]:
    """Return filters in their order."""
    return tuple(FilterPlan(each.type, each.matching, each.allow, tuple(_settings(each))) for each in configured)


def _scheme(scheme: Scheme, intervals: IntervalPlan) -> SchemePlan:
    marks, pattern = scheme.watermarks, scheme.access_pattern
    return SchemePlan(
        name=scheme.name,
        action=scheme.action,
        size=pattern.size,
        nr_accesses=pattern.accesses(max(intervals.aggregation_us // intervals.sample_us, 1)),
        age=pattern.ages(intervals.aggregation_us),
        apply_interval_us=scheme.apply_interval,
        quota=_quota(scheme.quotas) if scheme.quotas else QuotaPlan(),
        watermarks=WatermarkPlan(marks.metric, marks.interval, marks.high, marks.mid, marks.low)
        if marks
        else WatermarkPlan(),
        core_filters=_filters(scheme.core_filters),
        ops_filters=_filters(scheme.ops_filters),
        target_nid=NO_NODE if scheme.target_nid is None else scheme.target_nid,
        dests=tuple((node.id, node.weight) for node in scheme.dests),
        max_nr_snapshots=scheme.max_nr_snapshots,
    )


def _quota(quotas: Quotas) -> QuotaPlan:
    weights, fail = quotas.weights, quotas.fail_charge
    return QuotaPlan(
        ms=quotas.time or 0,
        bytes=quotas.size or 0,
        reset_interval_ms=quotas.reset_interval,
        weights=(weights.size, weights.access, weights.age),
        goals=tuple(
            GoalPlan(goal.metric, goal.target, goal.current or 0, goal.nid, goal.path) for goal in quotas.goals
        ),
        goal_tuner=quotas.goal_tuner,
        fail_charge=(fail.num, fail.denom) if fail else (0, 0),
    )


def _settings(configured: SchemeFilter) -> Iterator[tuple[str, str]]:
    """Yield the files of a filter besides those that every filter has."""
    if configured.path is not None:
        yield "memcg_path", configured.path
    if configured.range is not None:
        yield "addr_start", str(configured.range[0])
        yield "addr_end", str(configured.range[1])
    if configured.target is not None:
        yield "damon_target_idx", str(configured.target)
    if configured.size is not None:
        yield "min", str(configured.size[0])
        yield "max", str(configured.size[1])
