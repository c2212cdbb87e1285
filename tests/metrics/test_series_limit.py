from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest
from example_state import ATTRIBUTION, CART, DATABASES, NODE, PHYSICAL, POSTGRES, STATE
from hypothesis import given
from hypothesis import strategies as st

from damon_exporter.metrics.catalog import METRICS
from damon_exporter.metrics.points import points
from damon_exporter.metrics.prometheus import families
from damon_exporter.metrics.series_limit import within_limit
from damon_exporter.state import CgroupState, Heatmap, MonitorState, NodeState, Owner, TargetState

HEAT = "damon_heatmap_access_seconds_total"
DROPPED = "damon_exporter_series_dropped"
UNLIMITED = 10**9


def target(name: str, size: int, bins: int = 0) -> TargetState:
    return replace(
        POSTGRES,
        name=name,
        monitored_bytes=size,
        heatmap=Heatmap((0.5,) * bins, 4096.0) if bins else None,
        owner=Owner(cgroup=f"/{name}"),
    )


def cgroup(name: str, size: int) -> CgroupState:
    return CgroupState(replace(CART, container=name), (size, 0, 0, 0), None, 1.0)


HOST = replace(
    STATE,
    monitors=(
        replace(
            NODE,
            targets=(replace(PHYSICAL, monitored_bytes=9_000),),
            attribution=replace(ATTRIBUTION, cgroups=(cgroup("small", 1), cgroup("large", 3), cgroup("middle", 2))),
        ),
        replace(DATABASES, targets=(target("large", 300, 10), target("small", 100, 10), target("middle", 200, 10))),
    ),
    max_series=UNLIMITED,
)
"""Targets and cgroups of known sizes, not in order of size: three targets with eleven samples of heatmap each."""


def samples(state: NodeState) -> int:
    """How many samples a scrape would show."""
    return sum(len(family.samples) for family in families(state))


def lowered(fewer: int, state: NodeState = HOST) -> NodeState:
    """The state with a limit that lies so many samples below what it has."""
    return replace(state, max_series=samples(replace(state, max_series=UNLIMITED)) - fewer)


def targets_with_heatmap(state: NodeState) -> list[str]:
    return [t.name for monitor in state.monitors for t in monitor.targets if t.heatmap]


def targets(state: NodeState) -> list[str]:
    return [t.name for monitor in state.monitors for t in monitor.targets]


def cgroups(state: NodeState) -> list[str]:
    return [c.owner.container for m in state.monitors if m.attribution for c in m.attribution.cgroups]


def per_metric(state: NodeState) -> Counter[str]:
    counts: Counter[str] = Counter()
    for point in points(state):
        counts[point.name] += point.samples
    return counts


def test_what_fits_is_not_touched() -> None:
    state = lowered(0)

    assert within_limit(state) == (state, {})
    assert within_limit(state)[0] is state
    assert samples(state) == state.max_series


def test_a_metric_that_is_whole_has_no_series_of_losses() -> None:
    assert DROPPED not in {family.name for family in families(lowered(0))}


def test_the_smallest_target_loses_its_heatmap_first() -> None:
    kept, dropped = within_limit(lowered(1))

    assert dropped == {HEAT: 10, "damon_heatmap_bin_bytes": 1}
    assert targets_with_heatmap(kept) == ["physical", "large", "middle"]
    assert targets(kept) == targets(HOST)


@pytest.mark.parametrize(("fewer", "left"), [(9, ["physical", "large", "middle"]), (10, ["physical", "large"])])
def test_what_tells_of_the_loss_counts_too(fewer: int, left: list[str]) -> None:
    # eleven samples go with each heatmap, and two come that say so
    assert targets_with_heatmap(within_limit(lowered(fewer))[0]) == left


def test_losses_are_told_by_metric() -> None:
    (family,) = (family for family in families(lowered(1)) if family.name == DROPPED)

    assert {sample.labels["metric"]: sample.value for sample in family.samples} == {
        HEAT: 10,
        "damon_heatmap_bin_bytes": 1,
    }


def step(state: NodeState) -> tuple[int, ...]:
    """How much is left of what goes first, second and so on."""
    found = [t for monitor in state.monitors for t in monitor.targets]
    return (
        sum(t.heatmap is not None for t in found),
        sum(t.owner is not None for t in found),
        len(state.pod_labels),
        len(cgroups(state)),
        sum(bool(monitor.attribution and monitor.attribution.kinds) for monitor in state.monitors),
        sum(bool(monitor.node_band_bytes) for monitor in state.monitors),
        len(found),
    )


def test_one_kind_is_given_up_after_the_other() -> None:
    everything = step(HOST)

    seen = [step(within_limit(lowered(fewer))[0]) for fewer in range(samples(HOST))]

    for left in seen:
        begun = [i for i, (now, before) in enumerate(zip(left, everything, strict=True)) if now < before]
        assert all(left[i] == 0 for i in begun[:-1]), "something went before what comes earlier was gone"
        assert begun == list(range(len(begun)))
    assert seen[0] == everything
    assert seen[-1] == (0,) * len(everything)


@pytest.mark.parametrize("left", [1, 2])
def test_the_largest_cgroups_stay_longest(left: int) -> None:
    states = (within_limit(lowered(fewer))[0] for fewer in range(samples(HOST)))

    assert next(cgroups(state) for state in states if len(cgroups(state)) == left) == ["large", "middle"][:left]


@pytest.mark.parametrize("left", [1, 2, 3])
def test_the_largest_targets_stay_longest(left: int) -> None:
    states = (within_limit(lowered(fewer))[0] for fewer in range(samples(HOST)))

    assert (
        next(targets(state) for state in states if len(targets(state)) == left)
        == ["physical", "large", "middle"][:left]
    )


def test_kinds_and_nodes_of_the_largest_monitor_stay_longest() -> None:
    small = replace(NODE, name="small", targets=(replace(PHYSICAL, monitored_bytes=1),), attribution=ATTRIBUTION)
    large = replace(small, name="large", targets=(replace(PHYSICAL, monitored_bytes=2),))
    host = replace(HOST, monitors=(large, small))
    states = [within_limit(lowered(fewer, host))[0] for fewer in range(samples(host))]

    kinds = [[m.name for m in state.monitors if m.attribution and m.attribution.kinds] for state in states]
    nodes = [[m.name for m in state.monitors if m.node_band_bytes] for state in states]
    assert ["large"] in kinds
    assert ["large"] in nodes
    assert ["small"] not in kinds + nodes


def test_monitors_and_the_exporter_itself_always_stay() -> None:
    kept = per_metric(within_limit(replace(HOST, max_series=0))[0])
    about_others = per_metric(replace(HOST, monitors=(), pod_labels={}))
    gone = ["damon_monitored_bytes", "damon_target_info", "damon_pod_label_info", "damon_page_kind_band_bytes"]

    assert about_others.items() <= kept.items()
    assert kept["damon_monitor_up"] == kept["damon_targets"] == 2
    assert kept["damon_attribution_unknown_bytes"] == 1
    assert not any(name in kept for name in (*gone, "damon_numa_access_band_bytes"))


def names() -> Iterable[str]:
    return map(str, range(100))


SIZES = st.integers(0, 3)
"""Few, so that many are equal."""
TARGETS = st.lists(st.builds(target, st.just(""), SIZES, st.integers(0, 3)), max_size=4)
CGROUPS = st.lists(st.builds(cgroup, st.just(""), SIZES), max_size=4)


def monitor(found: list[TargetState], owners: list[CgroupState] | None) -> MonitorState:
    return replace(
        DATABASES,
        targets=tuple(replace(t, name=name) for t, name in zip(found, names(), strict=False)),
        attribution=None if owners is None else replace(ATTRIBUTION, cgroups=tuple(owners)),
    )


STATES = st.builds(
    lambda monitors, pods, limit: replace(
        STATE,
        monitors=tuple(replace(m, name=name) for m, name in zip(monitors, names(), strict=False)),
        pod_labels={("shop", str(i)): {"app": "cart"} for i in range(pods)},
        max_series=limit,
    ),
    st.lists(st.builds(monitor, TARGETS, st.none() | CGROUPS), max_size=3),
    st.integers(0, 3),
    st.integers(0, 400),
)


@given(STATES)
def test_a_scrape_never_exceeds_the_limit_where_that_can_be_reached(state: NodeState) -> None:
    nothing_left = not any(step(within_limit(state)[0]))

    assert samples(state) <= state.max_series or nothing_left


@given(STATES)
def test_what_is_kept_and_what_is_dropped_is_all_that_there_was(state: NodeState) -> None:
    kept, dropped = within_limit(state)

    assert per_metric(kept) + Counter(dropped) == per_metric(state)
    assert set(dropped) <= {metric.name for metric in METRICS}


@given(STATES)
def test_nothing_that_is_left_out_is_larger_than_anything_of_its_kind_that_is_kept(state: NodeState) -> None:
    kept = within_limit(state)[0]
    for sizes in (heatmap_sizes, target_sizes, cgroup_sizes):
        remaining = Counter(sizes(kept))
        gone = Counter(sizes(state)) - remaining
        assert max(gone, default=0) <= min(remaining, default=UNLIMITED)


def heatmap_sizes(state: NodeState) -> list[int]:
    return [t.monitored_bytes for m in state.monitors for t in m.targets if t.heatmap]


def target_sizes(state: NodeState) -> list[int]:
    return [t.monitored_bytes for m in state.monitors for t in m.targets]


def cgroup_sizes(state: NodeState) -> list[int]:
    return [sum(c.band_bytes) for m in state.monitors if m.attribution for c in m.attribution.cgroups]
