"""Five hundred brief processes a minute: nothing grows, no scrape fails, and nothing of them stays.

`make soak` lets them come and go for ten minutes.
"""

import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from driving import SETTLED, Driven, on_both
from running import Running, path_flags
from vm.exporter import Metrics
from vm.growth import growth, quarter

from damon_exporter.matching import SHORTEST_LIFE
from damon_exporter.testing.fake_kernel import FakeKernel

SECONDS = float(os.environ.get("CHURN_SECONDS", "60"))
PER_MINUTE = 500
SHORTEST, LONGEST = 0.2, 3.0
LIMIT = 64
JOB_BYTES = 16 << 20
COMMS = ("sh", "cc1", "make", "python3", "git")
SCRAPE_EVERY, PUBLISH, REFRESH = 0.5, 0.2, 0.5
LONGEST_DELAY = REFRESH + 0.5
"""Until a process that is old enough is found, and its kdamond has taken it over."""
LAG, PATIENCE = 1.0, 20.0

pytestmark = [
    pytest.mark.xdist_group("churn"),  # groups of several tests are begun first, and this one mostly sleeps
    pytest.mark.timeout(SECONDS + 120),
]

MIB, GIB = 1 << 20, 1 << 30
CONFIG = f"""
kernel: {{settle: 0s}}
export: {{publish: {PUBLISH}s, working_set: {{window: 5s}}}}
attribution: {{cgroups: ["/jobs.slice/*"], interval: 1s, samples: 1024}}
monitors:
- name: node
  operations: paddr
  intervals: {{sample: 5ms, aggregation: 100ms}}
- name: jobs
  operations: vaddr
  intervals: {{sample: 5ms, aggregation: 50ms, update: 100ms}}
  processes: {{match: [{", ".join(f"{{comm: {comm}}}" for comm in COMMS)}], limit: {LIMIT}, refresh: {REFRESH}s}}
"""


@dataclass(frozen=True, slots=True)
class Life:
    """One process, in seconds after the beginning. A ``job`` has a cgroup of its own, and physical memory in it."""

    pid: int
    born: float
    ends: float
    comm: str
    job: int | None

    @property
    def cgroup(self) -> str:
        return "/" if self.job is None else f"/jobs.slice/job{self.job}.scope"

    @property
    def becomes_zombie(self) -> bool:
        """Whether it is reaped a while after its end only."""
        return self.pid % 3 == 0


def make_lives(seconds: float) -> list[Life]:
    """What happens, always the same: every fourth process is a job."""
    rng = np.random.default_rng(1)
    lives = []
    for number in range(round(seconds * PER_MINUTE / 60)):
        born = number * 60 / PER_MINUTE
        ends = min(born + float(rng.uniform(SHORTEST, LONGEST)), seconds)
        lives.append(Life(1000 + number, born, ends, COMMS[number % len(COMMS)], None if number % 4 else number // 4))
    return lives


@dataclass(frozen=True, slots=True)
class Scrape:
    """What was served, when it was asked for (seconds after the beginning), and how long it took."""

    at: float
    seconds: float
    metrics: Metrics


class Churn:
    """Lets processes come and go in a fake kernel, and scrapes who watches them meanwhile."""

    def __init__(self, kernel: FakeKernel, running: Running, lives: Sequence[Life]) -> None:
        self.scrapes: list[Scrape] = []
        self.lives = lives
        self.told_after = 0.0
        """How long (s) after the end of the last process something was told of one."""
        self._kernel = kernel
        self._running = running
        self._jobs: set[Life] = set()
        self._begun = time.monotonic()

    def run(self) -> None:
        """Play all lives to their ends, and go on until nothing is told of them."""
        for at, happens in self._plan():
            time.sleep(max(at - self._now, 0.0))
            happens()
        ended = self._now
        while self._scrape().metrics.all("damon_monitored_bytes", monitor="jobs"):
            self.told_after = self._now - ended
            assert self.told_after < PATIENCE, self._running.log
            time.sleep(0.02)

    @property
    def _now(self) -> float:
        return time.monotonic() - self._begun

    def _plan(self) -> list[tuple[float, Callable[[], object]]]:
        plan: list[tuple[float, Callable[[], object]]] = [
            (at, self._scrape) for at in np.arange(0.0, SECONDS, SCRAPE_EVERY).tolist()
        ]
        for life in self.lives:
            plan += [(life.born, partial(self._start, life)), (life.ends, partial(self._end, life))]
            if life.becomes_zombie and life.ends < SECONDS:
                plan.append((life.ends + 0.3, partial(self._kernel.remove_process, life.pid)))
        return sorted(plan, key=lambda step: step[0])

    def _start(self, life: Life) -> None:
        self._kernel.add_process(life.pid, life.comm, cgroup=life.cgroup, rss=8 * MIB, age=0.0)
        if life.job is not None:
            self._jobs.add(life)
            self._kernel.set_page_owners([owned(job) for job in self._jobs])

    def _end(self, life: Life) -> None:
        self._jobs.discard(life)
        if life.becomes_zombie:
            self._kernel.end_process(life.pid)
        else:
            self._kernel.remove_process(life.pid)

    def _scrape(self) -> Scrape:
        begun = self._now
        status, text = self._running.fetch("/metrics")
        assert status == 200
        self.scrapes.append(Scrape(begun, self._now - begun, Metrics.parse(text)))
        return self.scrapes[-1]


def owned(job: Life) -> tuple[int, int, str, str]:
    """The physical memory of a job."""
    start = GIB + (job.pid // 4) % LIMIT * JOB_BYTES
    return start, start + JOB_BYTES, "anon", job.cgroup


@dataclass(frozen=True, slots=True)
class Seen:
    """What was served all the time, and what had happened when it was over."""

    scrapes: list[Scrape]
    lives: Sequence[Life]
    told_after: float
    log: str
    code: int

    @property
    def meanwhile(self) -> list[Metrics]:
        """What was served while processes came and went."""
        return [scrape.metrics for scrape in self.scrapes if scrape.at < SECONDS]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("churn")
    (folder / "config.yaml").write_text(CONFIG)
    flags = (f"--config.file={folder / 'config.yaml'}", f"--path.rootfs={folder}")
    with FakeKernel(folder / "kernel") as kernel, Running(*path_flags(kernel.paths), *flags) as running:
        running.wait_for(lambda: running.value("damon_monitor_up", monitor="node"))
        churn = Churn(kernel, running, make_lives(SECONDS))
        churn.run()
        return Seen(churn.scrapes, churn.lives, churn.told_after, running.log, running.stop())


def test_every_scrape_answers_soon(seen: Seen) -> None:
    """Each was parsed, too. One that waited for the kernel would take as long as an aggregation, or as a command."""
    assert len(seen.scrapes) > SECONDS / SCRAPE_EVERY
    assert statistics.quantiles([scrape.seconds for scrape in seen.scrapes], n=20)[-1] < 1.0


def test_there_is_always_something_to_tell_of_many_processes(seen: Seen) -> None:
    """What comes after would be true of an exporter that has given up, too."""
    told = quarter(seen.meanwhile, 3, lambda metrics: metrics.get("damon_targets", monitor="jobs") or 0)
    assert told > 0.5
    assert quarter(seen.meanwhile, 3, lambda metrics: len(metrics.all("damon_cgroup_standard_error_bytes"))) > 0.5


def test_the_number_of_series_does_not_grow(seen: Seen) -> None:
    """It swings by some groups of 55 and jobs of 19 each: were those of every job kept, it would rise by a thousand."""
    grown = growth(seen.meanwhile, lambda metrics: len(metrics.samples))
    assert abs(grown) < 0.25 * quarter(seen.meanwhile, 1, lambda metrics: len(metrics.samples))


def test_memory_does_not_grow(seen: Seen) -> None:
    """Seen: 0.7 MiB more within a minute and 1.3 MiB within ten, of which the last two add nothing.

    In a minute 250 processes lie between the two quarters, in ten 2500: what stays of each shows all the more.
    """
    grown = growth(seen.meanwhile, lambda metrics: metrics.value("process_resident_memory_bytes"))
    assert grown < 2 * MIB, f"{grown / MIB:.1f} MiB"


def test_open_files_do_not_grow(seen: Seen) -> None:
    """They swing by two or three: those of the connection that asks, and of what is being read just then."""
    assert abs(growth(seen.meanwhile, lambda metrics: metrics.value("process_open_fds"))) < 2


def test_nothing_counts_as_an_error_but_lists_with_a_process_that_had_just_ended(seen: Seen) -> None:
    counted = {
        dict(labels)["operation"]: value
        for labels, value in seen.scrapes[-1].metrics.all("damon_exporter_errors_total").items()
    }
    assert counted.pop("commit") < 0.1 * len(seen.lives)
    assert set(counted.values()) == {0}
    assert "Traceback" not in seen.log
    assert "level=error" not in seen.log
    assert seen.code == 0


def test_the_kdamond_is_started_again_only_where_nobody_was_left(seen: Seen) -> None:
    restarts = seen.scrapes[-1].metrics.value("damon_monitor_restarts_total", monitor="jobs")
    assert restarts <= lonely_moments(seen.lives)
    assert "another tool" not in seen.log


def lonely_moments(lives: Sequence[Life]) -> int:
    """How often there was no process that the kdamond could know, however late it had been told of it."""
    known = sorted((life.born + SHORTEST_LIFE + LONGEST_DELAY, life.ends) for life in lives)
    moments, until = 0, 0.0
    for since, ends in known:
        if since < ends:
            moments += since > until
            until = max(until, ends)
    return moments


def test_when_the_last_has_ended_nothing_is_told_of_any_within_one_look_and_one_publication(seen: Seen) -> None:
    assert seen.told_after < REFRESH + PUBLISH + LAG


ONE_BY_ONE = SETTLED + (
    "monitors: [{name: jobs, operations: vaddr, intervals: {sample: 1ms, aggregation: 10ms, update: 20ms}, "
    "processes: {match: [{comm: a}, {comm: b}], refresh: 100ms}}]\n"
)


@on_both
def test_a_kdamond_that_ends_with_its_last_process_while_another_joins_is_started_again_at_once(
    kernel: FakeKernel,
) -> None:
    """Nobody has turned it off, who would have to be left alone for longer and longer."""
    with Driven(kernel.paths, ONE_BY_ONE) as driven:
        kernel.add_process(41, "a")
        driven.look()
        kernel.add_process(42, "b")
        kernel.delay("*/nr_targets", "write", 0.3, count=1)
        ending = threading.Timer(0.1, kernel.remove_process, (41,))
        ending.start()
        driven.look()
        ending.join()
        driven.look(0.1)
        assert driven.waiting == {}
        assert list(driven.own["jobs"].names) == ["b"]
