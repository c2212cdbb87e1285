"""The example state as a node in motion, with every feature on: its counters count, so that `rate()` has values."""

import time
from dataclasses import replace
from math import pi, sin

from example_state import ATTRIBUTION, DATABASES, DOWN, GIB, MIB, NODE, PHYSICAL, POSTGRES, SCHEMES, STATE

from damon_exporter.config.model import Export
from damon_exporter.state import (
    Attribution,
    CgroupState,
    Heatmap,
    Histogram,
    MonitorState,
    NodeState,
    Owner,
    Pushed,
    SchemeState,
    TargetState,
)

BINS = 16
PERIOD = 40.0
"""Seconds after which what is hot is hot again."""
CART = Owner(namespace="shop", pod="cart-7d9c", container="server")
BATCH = Owner(namespace="nightly", pod="report-1", container="job")
"""A container that kube-state-metrics knows nothing of."""
STALLED = replace(DOWN, name="bench", reason="no report for 12 s", nr_targets=1)
"""Whose processes live, and which is told of nothing."""
BOUNDS = Export().idle_age
OBSERVED = 0.5
"""The share of time that snapshots cover: events are lost all the time."""


def moving_state(seconds: float, size: float = 1.0, dropped: bool = False) -> NodeState:
    """The state after so many seconds; ``size`` makes one node differ from another.

    With ``dropped`` there is more to tell than may be told.
    """
    physical = _moving(PHYSICAL, seconds, size)
    cart = replace(_moving(POSTGRES, seconds, size), name="cart", owner=CART)
    node = replace(NODE, targets=(physical,), attribution=_attribution(seconds, size), schemes=_schemes(seconds, size))
    return replace(
        STATE,
        monitors=(
            _with_cpu(node, seconds),
            _with_cpu(replace(DATABASES, targets=(_moving(POSTGRES, seconds, size), cart)), seconds),
            *(monitor for monitor in STATE.monitors[2:] if monitor is not DOWN),
            STALLED,
        ),
        trace=replace(STATE.trace, events=int(5000 * seconds), lost=int(seconds)),
        snapshots_incomplete=int(seconds),
        pushed=Pushed(last_success_timestamp=time.time()),
        config_loaded_timestamp=time.time() - seconds,
        max_series=340 if dropped else STATE.max_series,
    )


def _swing(seconds: float, phase: float = 0.0) -> float:
    """Between 0 and 1."""
    return (1 + sin(2 * pi * (seconds / PERIOD + phase))) / 2


def _swung(seconds: float, phase: float = 0.0) -> float:
    """The integral of it: a counter."""
    return seconds / 2 + PERIOD / (4 * pi) * sin(2 * pi * (seconds / PERIOD + phase) - pi / 2)


def _moving(target: TargetState, seconds: float, size: float) -> TargetState:
    assert target.bands
    hot = int(size * GIB * (1 + _swing(seconds)))
    observed = OBSERVED * seconds
    woken = [GIB * size * observed / 4**age for age in range(len(BOUNDS) + 1)]
    return replace(
        target,
        observed_seconds=observed,
        working_set_bytes=hot,
        estimated_access_bytes=int(10 * GIB * _swung(seconds)),
        snapshots=int(10 * seconds),
        last_snapshot_timestamp=time.time(),
        bands=tuple(replace(band, byte_seconds=band.bytes * observed) for band in target.bands),
        working_set_distribution=Histogram((1.0 * MIB, 2.0**44), (0, 10 * seconds, 0), hot * 10 * seconds),
        idle_age=_idle_age(hot, size),
        reaccess_idle_age=Histogram(BOUNDS, tuple(woken), 60 * sum(woken)),
        heatmap=Heatmap(tuple(OBSERVED * _swung(seconds, bin_ / BINS) for bin_ in range(BINS)), 512.0 * MIB),
        resident_bytes=target.resident_bytes and int(8 * size * GIB),
    )


def _idle_age(hot: int, size: float) -> Histogram:
    counts = [hot, *(size * GIB / 2 for _ in BOUNDS)]
    return Histogram(BOUNDS, tuple(counts), 600 * sum(counts))


def _attribution(seconds: float, size: float) -> Attribution:
    hot = int(size * GIB * _swing(seconds))
    owners = (CART, BATCH, Owner(cgroup="/system.slice/postgres.service"))
    return replace(
        ATTRIBUTION,
        cgroups=tuple(
            CgroupState(owner, (int(2 * size * GIB), 0, 0, hot), _idle_age(hot, size / (i + 1)), 2.5e6)
            for i, owner in enumerate(owners)
        ),
        samples_total=int(1000 * seconds),
        seconds_total=0.01 * seconds,
    )


def _schemes(seconds: float, size: float) -> tuple[SchemeState, ...]:
    tried = size * GIB * (seconds + _swung(seconds))
    shares = {"sz_tried": 1.0, "sz_applied": 0.4, "sz_ops_filter_passed": 0.5, "nr_tried": 1e-7, "nr_applied": 4e-8}
    counters = {name: int(share * tried) for name, share in shares.items()}
    reclaim = replace(SCHEMES[0], counters={**counters, "qt_exceeds": int(seconds), "nr_snapshots": int(10 * seconds)})
    return (reclaim, *SCHEMES[1:])


def _with_cpu(monitor: MonitorState, seconds: float) -> MonitorState:
    return replace(monitor, cpu_seconds=0.01 * seconds)
