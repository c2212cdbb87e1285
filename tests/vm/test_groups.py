"""Groups of processes that come, stay and go, on real kernels."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from .exporter import MIB, Exporter, Metrics, exporter, free_damon
from .guest import Guest, GuestProcess
from .test_truth import WORKLOADS

UPDATE = 10
"""After so many snapshots of 400 ms DAMON looks at the mappings of processes: it counts its samples, not the time."""
PUBLISHED = 3
"""So many snapshots may have been taken when a publication tells of one."""

GROUPS = """
kernel: {settle: 0s}
monitors:
- name: groups
  operations: vaddr
  processes:
    match: [{comm: alpha}, {comm: beta}, {comm: gamma}, {comm: delta}]
    group_by: "{comm}"
    refresh: 1s
  intervals: {sample: 20ms, aggregation: 400ms, update: 4s}
  regions: {min: 100, max: 1000}
export: {idle_age: [1s, 10s, 1m]}
"""

HOT = {"alpha": (32, 48), "beta": (64,), "gamma": (56,), "delta": (56,)}
"""MiB that each process of a group touches: much more than its interpreter, which is in it, too."""
FIRST = ("alpha", "beta", "gamma")
LATER = "delta"
ENDS = "gamma"
STAY = ("alpha", "beta")


@dataclass(frozen=True, slots=True)
class Shot:
    """A scrape, and the guest's time in seconds at which it was asked for."""

    at: float
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Groups:
    """What was seen of three groups, of a fourth that came later, and of one that went."""

    settled: list[Shot]
    birth: list[Shot]
    """From the moment at which the fourth had its name."""
    death: list[Shot]
    """From the moment at which the only process of a group had ended."""


@pytest.fixture
def groups(show: Callable[..., Groups]) -> Groups:
    return show(_watch_groups)


def _watch_groups(guest: Guest) -> Groups:
    free_damon(guest)
    with _running(guest, FIRST) as processes, exporter(guest, GROUPS) as watching:
        # DAMON needs some tens of aggregations to find the borders of the buffers.
        watching.wait_for(lambda m: (m.get("damon_snapshots_total", target=ENDS) or 0) > 60, "borders are found")
        settled = _film(watching, 15)
        with _running(guest, (LATER,)):
            birth = _film(watching, 50)
            processes[ENDS][0].stop()
            death = _film(watching, 15)
    return Groups(settled, birth, death)


@contextmanager
def _running(guest: Guest, names: Sequence[str]) -> Iterator[dict[str, list[GuestProcess]]]:
    """Run the processes of these groups until the block ends."""
    with ExitStack() as running:
        processes = {
            name: [running.enter_context(guest.spawn(_hotcold(name, hot))) for hot in HOT[name]] for name in names
        }
        for group in processes.values():
            for process in group:
                process.first_line()
        yield processes


def _hotcold(name: str, hot: int) -> list[str]:
    sizes = ("--hot", f"{hot}MiB", "--idle", "16MiB", "--pause", "0.1")  # five of them share one processor
    return ["python", f"{WORKLOADS}/hotcold.py", "--comm", name, *sizes]


def _film(watching: Exporter, snapshots: int) -> list[Shot]:
    """Scrape as often as it goes until there are so many more snapshots of those who stay."""
    shots = [_shot(watching)]
    while _snapshots(shots[-1].metrics) < _snapshots(shots[0].metrics) + snapshots:
        watching.guest.sleep(0.5)
        shots.append(_shot(watching))
    return shots


def _shot(watching: Exporter) -> Shot:
    return Shot(watching.guest.clock(), watching.metrics())


def _snapshots(metrics: Metrics) -> float:
    return metrics.value("damon_snapshots_total", target=STAY[0])


def _first(shots: list[Shot], condition: Callable[[Metrics], object]) -> Shot:
    return next(shot for shot in shots if condition(shot.metrics))


def _touched(shots: Sequence[Shot], group: str) -> float:
    """The working set of a group over its known size."""
    shown = statistics.median(shot.metrics.value("damon_working_set_bytes", target=group) for shot in shots)
    return shown / (sum(HOT[group]) * MIB)


def _long_idle(metrics: Metrics, group: str) -> float:
    """Bytes of a group that have been idle for more than ten seconds."""
    all_bytes = metrics.value("damon_idle_age_seconds_gcount", target=group)
    return all_bytes - metrics.value("damon_idle_age_seconds_bucket", target=group, le="10.0")


def test_the_working_set_of_each_group_is_what_its_processes_touch(groups: Groups) -> None:
    for group in FIRST:
        assert _touched([*groups.settled, *groups.birth], group) == pytest.approx(1, rel=0.1), group
    assert {shot.metrics.value("damon_targets", monitor="groups") for shot in groups.settled} == {4}


def test_a_process_that_starts_later_is_shown_within_two_updates(groups: Groups) -> None:
    hot = sum(HOT[LATER]) * MIB
    shown = _first(groups.birth, lambda m: (m.get("damon_monitored_bytes", target=LATER) or 0) > hot)
    assert _snapshots(shown.metrics) - _snapshots(groups.birth[0].metrics) <= 2 * UPDATE + PUBLISHED
    assert _touched(groups.birth[-len(groups.birth) // 3 :], LATER) == pytest.approx(1, rel=0.1)


def test_a_group_whose_processes_have_ended_is_gone_with_the_next_publication(groups: Groups) -> None:
    told = [
        shot.metrics for shot in groups.death if any(dict(has).get("target") == ENDS for _, has in shot.metrics.samples)
    ]
    publications = {metrics.value("damon_exporter_publish_duration_seconds") for metrics in told}
    assert len(publications) <= 2  # the last before, and one that was being made
    assert len(told) < len(groups.death)


@pytest.mark.parametrize("change", ["birth", "death"])
def test_a_change_leaves_the_idle_ages_of_others_alone(groups: Groups, change: str) -> None:
    shots: list[Shot] = getattr(groups, change)
    for group in STAY:
        before = _long_idle(shots[0].metrics, group)
        assert before > 16 * MIB
        # Ages that were begun anew would need ten seconds to be this long again, for all bytes. A border of the
        # touched buffer that DAMON has cut anew may take some idle bytes with it.
        within = [shot.metrics for shot in shots if shot.at < shots[0].at + 9]
        assert min(_long_idle(metrics, group) for metrics in within) >= 0.75 * before, group


def test_nothing_is_restarted_for_a_process_that_comes_or_goes(groups: Groups) -> None:
    for shot in (*groups.birth, *groups.death):
        assert shot.metrics.value("damon_monitor_restarts_total", monitor="groups") == 0
