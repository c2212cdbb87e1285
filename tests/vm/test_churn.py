"""Five hundred brief processes a minute on real kernels: nothing grows, and who stays is watched all the time.

`make soak` lets them come and go for ten minutes, and on all kernels.
"""

import os

import pytest

from .exporter import MIB, Metrics, exporter, free_damon
from .growth import growth, quarter
from .guest import Guest
from .kernels import SERIES
from .test_truth import WORKLOADS, workload

SECONDS = float(os.environ.get("CHURN_SECONDS", "60"))
KERNELS = SERIES if SECONDS > 60 else ["6.12"]
"""Where a process that ends at the wrong moment ends the kdamond, which then is started anew, is the hard case."""

pytestmark = pytest.mark.timeout(5 * SECONDS + 900)  # a busy host takes longer than the guest

CONFIG = """
kernel: {settle: 0s}
monitors:
- name: processes
  operations: vaddr
  processes: {match: [{comm: hotcold}, {comm: brief}], group_by: "{comm}", refresh: 1s}
  intervals: {sample: 20ms, aggregation: 400ms, update: 4s}
  regions: {min: 100, max: 1000}
"""
STAYS = ("hotcold", "--hot", "64MiB", "--idle", "16MiB", "--pause", "0.1")
LIFE = 3
"""Seconds: long enough to be watched, see `damon_exporter.matching.SHORTEST_LIFE`."""
BRIEF = ("python", f"{WORKLOADS}/churn.py", "--comm", "brief", "--per-minute", "500", "--life", str(LIFE))


@pytest.mark.parametrize("guest", KERNELS, indirect=True)
def test_brief_processes_leave_nothing_behind(guest: Guest) -> None:
    free_damon(guest)
    with workload(guest, *STAYS), exporter(guest, CONFIG) as watching:
        watching.wait_for(lambda m: (_snapshots(m) or 0) > 5, "it is watched")
        with guest.spawn(BRIEF) as churning:
            churning.first_line()
            watching.watch(10)
            scrapes = watching.watch(SECONDS, every=3)
            assert churning.poll() is None, churning.stderr()
        watching.wait_for(lambda m: m.value("damon_targets", monitor="processes") == 1, "they are gone", 30)
        assert "Traceback" not in watching.process.stderr()
    _assert_who_stays_is_watched(scrapes)
    _assert_brief_ones_are_watched_too(scrapes)
    _assert_nothing_grows(scrapes)
    _assert_errors_are_counted_ones(scrapes)


def _assert_who_stays_is_watched(scrapes: list[Metrics]) -> None:
    # A kdamond that starts anew tells nothing for a moment.
    counts = [count for count in map(_snapshots, scrapes) if count is not None]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0] + SECONDS / 3


def _assert_brief_ones_are_watched_too(scrapes: list[Metrics]) -> None:
    """What comes after would be true of an exporter that has given up, too."""
    assert quarter(scrapes, 3, lambda metrics: metrics.get("damon_targets", monitor="processes") or 0) > 2


def _assert_nothing_grows(scrapes: list[Metrics]) -> None:
    assert growth(scrapes, _series) < 55  # a group
    assert growth(scrapes, lambda metrics: metrics.value("process_open_fds")) < 10  # one for each that is followed
    assert growth(scrapes, lambda metrics: metrics.value("process_resident_memory_bytes")) < 2 * MIB


def _assert_errors_are_counted_ones(scrapes: list[Metrics]) -> None:
    before = scrapes[0].all("damon_exporter_errors_total")
    after = scrapes[-1].all("damon_exporter_errors_total")
    risen = {dict(has)["operation"] for has, value in after.items() if value > before.get(has, 0)}
    assert risen <= {"commit", "unidentified_kdamond"}


def _snapshots(metrics: Metrics) -> float | None:
    return metrics.get("damon_snapshots_total", target=STAYS[0])


def _series(metrics: Metrics) -> int:
    """How many there are, but for errors, of which a new kind may have been counted."""
    return sum(name != "damon_exporter_errors_total" for name, _ in metrics.samples)
