"""Passes of attribution: when they are made, what becomes of their problems, and what an exporter serves of them."""

import errno
import logging
import statistics
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from driving import wait_for
from made_regions import MIB, regions
from owned_memory import Passing, owned_bytes, scattered
from running import Running, path_flags
from vm.exporter import Metrics

from damon_exporter import config
from damon_exporter.containers.named import no_pod
from damon_exporter.passes import Passes
from damon_exporter.physical import PhysicalView
from damon_exporter.testing.fake_kernel import FakeKernel

GIB = 1 << 30
EXPORT = config.Export.model_validate({"bands": {"idle": "0%", "hot": "100%"}})
MIB_FRAMES = MIB // 4096

NewPasses = Callable[..., Passes]


@pytest.fixture
def passes(kernel: FakeKernel) -> NewPasses:
    """Makes passes over a machine whose first MiB above 1 GiB is somebody's."""
    kernel.set_cgroups("/a")
    kernel.set_page_owners([(GIB, GIB + MIB, "anon", "/a")])

    def make(on_failure: Callable[[], None] = lambda: None, **settings: object) -> Passes:
        asked = config.Attribution.model_validate({"cgroups": ["/*"], "kinds": True, "interval": "10s", **settings})
        return Passes(asked, EXPORT, kernel.paths, no_pod, on_failure)

    return make


def view(mib: int = 2) -> PhysicalView:
    """A snapshot of memory from 1 GiB on, all of it hot."""
    made = regions((GIB, GIB + mib * MIB, 20))
    return PhysicalView(made, (made.nr_accesses > 0).astype(int), None)


def samples(passes: Passes, name: str = "node") -> int:
    return passes.results[name].samples_total if name in passes.results else 0


# When they are made


def test_a_pass_is_made_at_once_and_then_when_the_interval_is_over(passes: NewPasses) -> None:
    passing = passes()
    counted = []
    for now in (100.0, 101.0, 109.9, 110.1, 119.9, 120.2):
        passing.offer({"node": view()})
        passing.work(now)
        counted.append(samples(passing) // (2 * MIB_FRAMES))
    assert counted == [1, 1, 1, 2, 2, 3]


def test_while_a_snapshot_lasts_owners_are_looked_up_anew(kernel: FakeKernel, passes: NewPasses) -> None:
    passing = passes()
    passing.offer({"node": view()})
    told = []
    for now, end in ((100.0, GIB + MIB), (110.0, GIB + 2 * MIB)):
        kernel.set_page_owners([(GIB, end, "anon", "/a")])
        passing.work(now)
        told.append(passing.results["node"].kinds["anon"])
    assert told == [(0, MIB), (0, 2 * MIB)]


def test_each_monitor_has_passes_of_its_own(passes: NewPasses) -> None:
    passing = passes()
    passing.offer({"node": view(), "damon_stat": view(mib=4)})
    passing.work(100.0)
    told = {name: result.kinds["anon"] for name, result in passing.results.items()}
    assert told == {"node": (0, MIB), "damon_stat": (0, MIB)}
    assert [samples(passing, name) // MIB_FRAMES for name in told] == [2, 4]


def test_nothing_is_told_of_a_monitor_that_has_gone(passes: NewPasses) -> None:
    passing = passes()
    passing.offer({"node": view(), "other": view()})
    passing.work(100.0)
    passing.offer({"other": view()})
    passing.work(101.0)
    assert set(passing.results) == {"other"}


def test_nothing_that_was_told_before_is_told_of_a_monitor_that_comes_back(passes: NewPasses) -> None:
    passing = passes(interval="1h")
    for now, views in ((100.0, {"node": view()}), (101.0, {}), (102.0, {"node": view(mib=4)})):
        passing.offer(views)
        passing.work(now)
    assert sum(map(sum, passing.results["node"].kinds.values())) == 4 * MIB
    assert samples(passing) == 6 * MIB_FRAMES


def test_what_another_kdamond_sees_under_the_same_name_is_told_by_a_pass_of_its_own(passes: NewPasses) -> None:
    """Somebody may turn his kdamond off and on, or change its ranges, between two looks."""
    passing = passes(interval="1h")
    seen: list[tuple[int, float]] = []
    for now, kdamond, mib in ((100.0, 7, 2), (102.0, 7, 4), (104.0, 8, 4), (104.5, 8, 6), (105.1, 8, 6)):
        passing.offer({"node": replace(view(mib), kdamond=kdamond)})
        passing.work(now)
        told = sum(sum(map(sum, result.kinds.values())) for result in passing.results.values())
        seen.append((kdamond, told / MIB))
    assert seen == [(7, 2), (7, 4), (8, 4), (8, 0), (8, 6)]


# What goes wrong


@pytest.fixture
def blind(kernel: FakeKernel) -> FakeKernel:
    """A kernel that does not show page frames."""
    kernel.fail("proc/kpageflags", "open", errno.EACCES)
    return kernel


def test_page_frames_that_cannot_be_read_are_an_error_that_is_said_once(
    blind: FakeKernel, passes: NewPasses, caplog: pytest.LogCaptureFixture
) -> None:
    passing = passes()
    for number in (1, 2):
        passing.offer({"node": view(), "other": view()})
        passing.work(10.0 * number)
    (problem,) = passing.problems
    assert "kpageflags: permission denied" in problem
    assert "set attribution.kinds: false" in problem
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [problem]
    assert passing.errors == 4
    assert {name: dict(told.kinds) for name, told in passing.results.items()} == {"node": {}, "other": {}}


def test_a_problem_that_is_over_is_not_told_any_more_and_counters_go_on(kernel: FakeKernel, passes: NewPasses) -> None:
    passing = passes()
    counted = []
    for number in (1, 2, 3):
        if number == 2:
            kernel.fail("proc/kpageflags", "open", errno.EACCES)
        passing.offer({"node": view()})
        passing.work(10.0 * number)
        counted.append((samples(passing) // MIB_FRAMES, len(passing.problems)))
        kernel.clear_faults()
    assert counted == [(2, 0), (4, 1), (6, 0)]


def test_the_thread_makes_passes_until_it_is_stopped(passes: NewPasses) -> None:
    passing = passes()
    passing.start()
    passing.offer({"node": view()})
    wait_for(lambda: samples(passing))
    passing.stop()
    assert "attribution" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_for_an_unforeseen_reason_says_so(passes: NewPasses) -> None:
    failed = threading.Event()
    passing = passes(failed.set)
    passing.offer({"node": None})  # type: ignore[dict-item]
    passing.start()
    assert failed.wait(20)
    passing.stop()


# A whole exporter on memory of known truth

MEMORY, HOT_END, END = 4 * GIB, 4 * GIB + 512 * MIB, 5 * GIB
"""What is given out, right above a hole of a GiB, and as far as it is hot."""

SHARES = (
    (0.30, "anon", "/pods/a"),
    (0.10, "file", "/pods/a"),
    (0.15, "anon", "/pods/b/inner"),
    (0.05, "file", "/pods/b"),
    (0.10, "shmem", "/pods/gone"),
    (0.10, "file", "/other"),
    (0.05, "slab", None),
    (0.15, "free", None),
)
OWNERS = scattered(MEMORY, END, SHARES)
BELOW = {"/pods/a": ("/pods/a",), "/pods/b": ("/pods/b", "/pods/b/inner"), "/pods/gone": ("/pods/gone",)}
"""What each cgroup with a series sums up."""
STAYING = ("/pods/a", "/pods/b")
CGROUPS = ("/pods/a", "/pods/b/inner", "/other")

CLUSTERS = 2048
PASSES = 4
ATTRIBUTION = f"attribution: {{cgroups: ['/pods/*'], interval: 1s, samples: {8 * CLUSTERS}}}\n"
QUICKLY = "export: {publish: 100ms, bands: {idle: 0%, hot: 100%}}\n"
OURS = (
    "kernel: {settle: 0s}\nmonitors: [{name: node, operations: paddr, intervals: {sample: 5ms, aggregation: 100ms}, "
    "ranges: [[3584MiB, 5GiB]]}]\n"
)
OBSERVED = "kernel: {control: never}\nmonitors: []\n"


@dataclass(frozen=True, slots=True)
class Situation:
    """Whose kdamond it is, on which kernel, and what it watches."""

    monitor: str
    kernel: str
    configuration: str
    hole_bytes: int
    enabled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What was served: some passes; one after a cgroup vanished; one, and the page, on a host without version 2."""

    situation: Situation
    passes: list[Metrics]
    vanished: Metrics
    old_host: Metrics
    page: str
    slots: str
    log: str

    def mean(self, name: str, **labels: str) -> float:
        """The mean over the passes of the sum over series."""
        return statistics.mean(sum(seen.all(name, **labels).values()) for seen in self.passes)


SITUATIONS = (
    Situation("node", "6.12", OURS, hole_bytes=512 * MIB),
    Situation("damon_stat", "7.3", OBSERVED, hole_bytes=GIB, enabled=("damon_stat",)),
)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(each, id=each.monitor, marks=pytest.mark.xdist_group(f"passes {each.monitor}"))
        for each in SITUATIONS
    ],
)
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """One exporter for all tests that look at what it served."""
    situation: Situation = request.param
    folder = tmp_path_factory.mktemp("passes")
    (folder / "config.yaml").write_text(situation.configuration + ATTRIBUTION + QUICKLY)
    with FakeKernel(folder / "kernel", kernel=situation.kernel, enabled=situation.enabled) as kernel:
        kernel.set_physical_heat([(MEMORY, HOT_END, 1.0)])
        kernel.set_cgroups("/pods/gone", *CGROUPS)
        kernel.set_page_owners(OWNERS)
        with Running(*path_flags(kernel.paths), f"--config.file={folder / 'config.yaml'}") as running:
            yield watched(kernel, running, situation)
            assert running.stop() == 0


def watched(kernel: FakeKernel, running: Running, situation: Situation) -> Seen:
    passing = Passing(running, situation.monitor)
    passes = passing.passes(PASSES)
    kernel.set_cgroups(*CGROUPS)
    vanished = passing.pass_from_now_on()
    kernel.set_cgroups("/memory", *CGROUPS)  # what a host of version 1 has there
    kernel.fail("sys/fs/cgroup/cgroup.controllers", "open", errno.ENOENT)
    old_host, page = passing.pass_from_now_on(), running.fetch("/")[1]
    return Seen(situation, passes, vanished, old_host, page, kernel.read("nr_kdamonds"), running.log)


def cgroup_bytes(cgroup: str, start: int = MEMORY, end: int = END) -> int:
    return owned_bytes(OWNERS, start, end, lambda owner: owner.cgroup in BELOW[cgroup] and owner.kind != "slab")


def kind_bytes(kind: str, start: int = MEMORY, end: int = END) -> int:
    return owned_bytes(OWNERS, start, end, lambda owner: owner.kind == kind)


def assert_near(found: float, truth: int, error: float) -> None:
    """The mean of the passes is off by at most four of its own standard errors, which is two of one pass's."""
    assert abs(found - truth) < 4 / PASSES**0.5 * error, f"{found / MIB:.1f} MiB, {truth / MIB:.1f} MiB are true"


@pytest.mark.parametrize("cgroup", BELOW)
def test_each_cgroup_has_its_bytes_by_band_within_its_standard_error(seen: Seen, cgroup: str) -> None:
    error = seen.mean("damon_cgroup_standard_error_bytes", cgroup=cgroup)
    assert 0 < error < 0.2 * cgroup_bytes(cgroup)
    assert_near(seen.mean("damon_cgroup_access_band_bytes", cgroup=cgroup), cgroup_bytes(cgroup), error)
    for band, (start, end) in {"hot": (MEMORY, HOT_END), "idle": (HOT_END, END)}.items():
        found = seen.mean("damon_cgroup_access_band_bytes", cgroup=cgroup, band=band)
        assert_near(found, cgroup_bytes(cgroup, start, end), error)


@pytest.mark.parametrize("kind", ["anon", "file", "shmem", "slab"])
def test_each_kind_of_page_has_its_bytes_by_band(seen: Seen, kind: str) -> None:
    for band, (start, end) in {"hot": (MEMORY, HOT_END), "idle": (HOT_END, END)}.items():
        truth = kind_bytes(kind, start, end)
        assert_near(seen.mean("damon_page_kind_band_bytes", kind=kind, band=band), truth, largest_error(seen, truth))


def test_holes_and_free_memory_are_told_apart_whether_or_not_the_kernel_marks_holes(seen: Seen) -> None:
    hole = seen.situation.hole_bytes
    assert_near(seen.mean("damon_page_kind_band_bytes", kind="hole"), hole, largest_error(seen, hole))
    monitored = seen.mean("damon_monitored_bytes", monitor=seen.situation.monitor)
    free = int(monitored) - hole - sum(kind_bytes(kind) for kind in ("anon", "file", "shmem", "slab"))
    assert_near(seen.mean("damon_page_kind_band_bytes", kind="free"), free, largest_error(seen, free))
    assert seen.mean("damon_page_kind_band_bytes", kind="other") < 8 * MIB


def largest_error(seen: Seen, size: int) -> float:
    """The standard error (bytes) of so many bytes if each cluster were all of one kind."""
    monitored = seen.mean("damon_monitored_bytes", monitor=seen.situation.monitor)
    share = size / monitored
    return monitored * float((share * (1 - share) / CLUSTERS) ** 0.5)


def test_kinds_sum_to_the_monitored_bytes_at_every_pass(seen: Seen) -> None:
    for each in (*seen.passes, seen.vanished, seen.old_host):
        monitored = each.value("damon_monitored_bytes", monitor=seen.situation.monitor)
        assert sum(each.all("damon_page_kind_band_bytes").values()) == monitored


def test_memory_of_cgroups_that_nobody_asks_for_is_unknown(seen: Seen) -> None:
    truth = owned_bytes(OWNERS, MEMORY, END, lambda owner: owner.cgroup == "/other")
    assert_near(seen.mean("damon_attribution_unknown_bytes"), truth, largest_error(seen, truth))


def test_a_cgroup_that_vanishes_becomes_unknown_and_disturbs_no_other(seen: Seen) -> None:
    shown = {dict(labels)["cgroup"] for labels in seen.vanished.all("damon_cgroup_access_band_bytes")}
    assert shown == set(STAYING)
    for cgroup in STAYING:
        found = sum(seen.vanished.all("damon_cgroup_access_band_bytes", cgroup=cgroup).values())
        error = seen.vanished.value("damon_cgroup_standard_error_bytes", cgroup=cgroup)
        assert abs(found - cgroup_bytes(cgroup)) < 4 * error
    unknown = seen.vanished.value("damon_attribution_unknown_bytes")
    truth = owned_bytes(OWNERS, MEMORY, END, lambda owner: owner.cgroup in ("/other", "/pods/gone"))
    assert abs(unknown - truth) < 4 * largest_error(seen, truth)


def test_a_host_of_version_1_is_told_so_and_keeps_kinds(seen: Seen) -> None:
    assert "are of version 1: boot with systemd.unified_cgroup_hierarchy=1" in seen.page
    assert "are of version 1" in seen.log
    assert seen.old_host.all("damon_cgroup_access_band_bytes") == {}
    assert sum(seen.old_host.all("damon_page_kind_band_bytes", kind="anon").values()) > 0


def test_nothing_counts_as_an_error_but_an_old_host(seen: Seen) -> None:
    assert set(seen.vanished.all("damon_exporter_errors_total").values()) == {0}
    errors = seen.old_host.all("damon_exporter_errors_total")
    assert {dict(labels)["operation"] for labels, count in errors.items() if count} == {"attribution"}
    assert "Traceback" not in seen.log


def test_a_kdamond_of_somebody_elses_is_only_observed(seen: Seen) -> None:
    owner, slots = ("module", "0") if seen.situation.enabled else ("exporter", "1")
    assert seen.old_host.value("damon_monitor_info", monitor=seen.situation.monitor, owner=owner) == 1
    assert seen.slots == slots
