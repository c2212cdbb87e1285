"""No more samples than are allowed: what goes first where a host has too many targets, cgroups or bins."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from damon_exporter.metrics.points import (
    Point,
    cgroup_points,
    heatmap_points,
    kind_points,
    node_points,
    pod_label_points,
    points,
    target_info,
    target_points,
)
from damon_exporter.state import Attribution, MonitorState, NodeState, TargetState

_Key = tuple[str, object, object]
"""What may be left out: its kind, and where in the state it stands."""


def within_limit(state: NodeState) -> tuple[NodeState, Mapping[str, int]]:
    """Return the state without what does not fit into ``max_series`` samples, and how many of each metric that are.

    Heatmaps go first, then `damon_target_info`, then the labels of pods, then cgroups, kinds of page, NUMA nodes, then
    whole targets; of each as few as will do, the smallest first, pods by name, so that the largest keep theirs longest.
    Other metrics of monitors and those of the exporter always stay, and `damon_exporter_series_dropped`, one more
    sample for each metric that lost any, is counted too.
    """
    excess = sum(point.samples for point in points(state)) - state.max_series
    if excess <= 0:
        return state, {}
    dropped: Counter[str] = Counter()
    left_out: set[_Key] = set()
    for key, lost in _in_order_of_sacrifice(state):
        if excess + len(dropped) <= dropped.total():
            break
        left_out.add(key)
        for point in lost:
            dropped[point.name] += point.samples
    return _without(state, left_out), dropped


def _in_order_of_sacrifice(state: NodeState) -> Iterator[tuple[_Key, Iterable[Point]]]:
    """Everything that may be left out, and the points that go with it."""
    targets = _targets_by_size(state)
    for m, t, labels, target in targets:
        if target.heatmap is not None:
            yield ("heatmap", m, t), heatmap_points(labels, target.heatmap)
    for m, t, labels, target in targets:
        if target.owner is not None:
            yield ("info", m, t), [target_info(labels, target.owner)]
    for pod, pod_labels in sorted(state.pod_labels.items()):
        yield ("pod", *pod), pod_label_points(pod, pod_labels)
    yield from _cgroups(state)
    monitors = sorted(enumerate(state.monitors), key=lambda entry: sum(t.monitored_bytes for t in entry[1].targets))
    for m, monitor in monitors:
        if monitor.attribution is not None:
            yield ("kinds", m, None), kind_points(monitor.name, monitor.attribution)
    for m, monitor in monitors:
        yield ("nodes", m, None), node_points(monitor)
    for m, t, labels, target in targets:
        yield ("target", m, t), target_points(labels[0], replace(target, heatmap=None, owner=None))


def _targets_by_size(state: NodeState) -> list[tuple[int, int, tuple[str, str], TargetState]]:
    targets = [
        (m, t, (monitor.name, target.name), target)
        for m, monitor in enumerate(state.monitors)
        for t, target in enumerate(monitor.targets)
    ]
    return sorted(targets, key=lambda entry: entry[-1].monitored_bytes)


def _cgroups(state: NodeState) -> Iterator[tuple[_Key, Iterable[Point]]]:
    cgroups = [
        (sum(cgroup.band_bytes), m, c, cgroup_points(monitor.name, monitor.attribution.bands, cgroup))
        for m, monitor in enumerate(state.monitors)
        if monitor.attribution is not None
        for c, cgroup in enumerate(monitor.attribution.cgroups)
    ]
    for _, m, c, lost in sorted(cgroups, key=lambda entry: entry[0]):
        yield ("cgroup", m, c), lost


def _without(state: NodeState, left_out: Collection[_Key]) -> NodeState:
    return replace(
        state,
        monitors=tuple(_monitor_without(monitor, m, left_out) for m, monitor in enumerate(state.monitors)),
        pod_labels={pod: labels for pod, labels in state.pod_labels.items() if ("pod", *pod) not in left_out},
    )


def _monitor_without(monitor: MonitorState, m: int, left_out: Collection[_Key]) -> MonitorState:
    targets = tuple(
        replace(
            target,
            heatmap=None if ("heatmap", m, t) in left_out else target.heatmap,
            owner=None if ("info", m, t) in left_out else target.owner,
        )
        for t, target in enumerate(monitor.targets)
        if ("target", m, t) not in left_out
    )
    attribution = monitor.attribution and _attribution_without(monitor.attribution, m, left_out)
    nodes = {} if ("nodes", m, None) in left_out else monitor.node_band_bytes
    return replace(monitor, targets=targets, attribution=attribution, node_band_bytes=nodes)


def _attribution_without(attribution: Attribution, m: int, left_out: Collection[_Key]) -> Attribution:
    cgroups = tuple(cgroup for c, cgroup in enumerate(attribution.cgroups) if ("cgroup", m, c) not in left_out)
    return replace(attribution, cgroups=cgroups, kinds={} if ("kinds", m, None) in left_out else attribution.kinds)
