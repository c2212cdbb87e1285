"""Passes over a machine of known truth: whose and what its memory is, by band and idle age."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_regions import PAGE, regions
from numpy.typing import NDArray

from damon_exporter import config
from damon_exporter.analysis.idle import NO_PIECES, carry
from damon_exporter.analysis.page_kinds import KINDS
from damon_exporter.attribution import Attributor
from damon_exporter.containers.named import Named, PodLookup, no_pod
from damon_exporter.kernel.memory import system_ram
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.physical import PhysicalView
from damon_exporter.state import Attribution, CgroupState, Owner

A = 100_000
"""The aggregation interval, 100 ms in µs."""

FREE = 1 << 10
ANON = 1 << 12 | 1 << 14 | 1 << 5
FILE = 1 << 5

EXPORT = config.Export.model_validate({"bands": {"idle": "0%", "hot": "100%"}, "idle_age": ["1s", "1m"]})
IDLE, HOT = 0, 1


EVERY_PAGE = 1 << 20
"""So many samples that a test's whole machine is read."""


def asked(*cgroups: str, kinds: bool = False, samples: int = EVERY_PAGE, limit: int = 128) -> config.Attribution:
    return config.Attribution.model_validate({"cgroups": cgroups, "kinds": kinds, "samples": samples, "limit": limit})


ALL_CGROUPS = asked("/**")
KINDS_ONLY = asked(kinds=True)


class Machine:
    """Folders as a kernel shows memory and cgroups, and a snapshot of that memory. Memory is given page after page."""

    def __init__(self, folder: Path) -> None:
        self.paths = KernelPaths(sysfs=folder / "sys", procfs=folder / "proc")
        self.root = folder / "sys/fs/cgroup"
        self.root.mkdir(parents=True)
        (folder / "proc").mkdir()
        (self.root / "cgroup.controllers").write_text("cpu memory\n")
        self._pages = 0
        self._rows: list[tuple[int, int, int, int]] = []
        self._columns: dict[str, list[NDArray[np.uint64]]] = {"kpageflags": [], "kpagecgroup": []}

    def cgroup(self, path: str) -> int:
        """Return the inode of a cgroup, made now if there is none yet."""
        folder = self.root / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        return folder.stat().st_ino

    def remove(self, path: str) -> None:
        (self.root / path.lstrip("/")).rmdir()

    def add(self, pages: int, path: str | None = None, hot: bool = False, age: int = 0, flags: int = ANON) -> None:
        """Add a region whose pages are all of one cgroup, or of none."""
        self.scatter(pages, {path: 1.0}, hot, age, flags)

    def scatter(
        self, pages: int, among: Mapping[str | None, float], hot: bool = False, age: int = 0, flags: int = ANON
    ) -> None:
        """Add a region whose pages are those of cgroups in disorder, to each its share."""
        owners = np.array([self.cgroup(path) if path else 0 for path in among], np.uint64)
        chosen = np.random.default_rng(self._pages).choice(owners, pages, p=list(among.values()))
        self._columns["kpagecgroup"].append(chosen)
        self._columns["kpageflags"].append(np.full(pages, flags, np.uint64))
        end = self._pages + pages
        self._rows.append((self._pages * PAGE, end * PAGE, 20 if hot else 0, age))
        self._pages = end

    def bytes_of(self, path: str) -> int:
        return int((np.concatenate(self._columns["kpagecgroup"]) == self.cgroup(path)).sum()) * PAGE

    def view(self) -> PhysicalView:
        """Write down what the kernel shows, and return what DAMON has seen."""
        for name, column in self._columns.items():
            np.concatenate([*column, np.empty(0, np.uint64)]).tofile(self.paths.procfs / name)
        made = regions(*self._rows)
        ages, _ = carry(NO_PIECES, made, A, A)
        return PhysicalView(made, (made.nr_accesses > 0).astype(np.intp), ages)

    def attributor(self, of: config.Attribution = ALL_CGROUPS, names: PodLookup = no_pod) -> Attributor:
        return Attributor(of, EXPORT, self.paths, names, seed=1)

    def look(self, of: config.Attribution = ALL_CGROUPS, names: PodLookup = no_pod) -> Attribution:
        return passed(self.attributor(of, names), self.view())


def passed(attributor: Attributor, view: PhysicalView) -> Attribution:
    """What a pass tells."""
    told = attributor.look(view)
    assert told is not None
    return told


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def pages(told: Attribution) -> dict[str, list[int]]:
    """Pages by band of each cgroup."""
    return {of.owner.cgroup: [size // PAGE for size in of.band_bytes] for of in told.cgroups}


def of(told: Attribution, cgroup: str) -> CgroupState:
    (found,) = (state for state in told.cgroups if state.owner.cgroup == cgroup)
    return found


# Whose memory it is


def test_every_page_is_told_exactly_where_all_are_read(machine: Machine) -> None:
    machine.add(30, "/a", hot=True)
    machine.add(20, "/b")
    machine.add(10, "/a")
    told = machine.look()
    assert told.bands == ("idle", "hot")
    assert pages(told) == {"/a": [10, 30], "/b": [20, 0]}
    assert [state.standard_error_bytes for state in told.cgroups] == [0, 0]
    assert told.unknown_bytes == 0


def test_a_sample_of_pages_tells_whose_memory_is_hot_and_how_far_off_that_may_be(machine: Machine) -> None:
    machine.add(60_000, "/a", hot=True)
    machine.scatter(200_000, {"/a": 0.3, "/b": 0.1, None: 0.6})
    machine.add(40_000, "/b", hot=True)
    told = machine.look(asked("/**", samples=8192))
    assert told.samples_total == 8192
    for path in ("/a", "/b"):
        state = of(told, path)
        assert state.standard_error_bytes < 0.05 * machine.bytes_of(path)
        assert abs(sum(state.band_bytes) - machine.bytes_of(path)) < 4 * state.standard_error_bytes
    assert of(told, "/b").band_bytes[HOT] == pytest.approx(40_000 * PAGE, rel=0.01)


def test_memory_that_is_charged_to_nobody_is_nobodys(machine: Machine) -> None:
    machine.add(30, "/a")
    machine.add(50)
    told = machine.look()
    assert pages(told) == {"/a": [30, 0]}
    assert told.unknown_bytes == 0


def test_memory_of_cgroups_that_nobody_asks_for_is_unknown(machine: Machine) -> None:
    machine.add(30, "/kubepods.slice/pod1")
    machine.add(20, "/system.slice/sshd.service")
    told = machine.look(asked("/kubepods.slice/**"))
    assert pages(told) == {"/kubepods.slice/pod1": [30, 0]}
    assert told.unknown_bytes == 20 * PAGE


def test_memory_of_a_cgroup_that_has_gone_is_unknown(machine: Machine) -> None:
    machine.add(30, "/a")
    machine.add(20, "/b")
    attributor, view = machine.attributor(), machine.view()
    passed(attributor, view)
    machine.remove("/b")
    found = passed(attributor, view)
    assert pages(found) == {"/a": [30, 0]}
    assert found.unknown_bytes == 20 * PAGE


def test_deeper_cgroups_are_summed_into_the_deepest_that_matches(machine: Machine) -> None:
    machine.add(10, "/a/b/c/d")
    machine.add(20, "/a/b/c")
    machine.add(30, "/a/b")
    machine.add(40, "/a", hot=True)
    told = machine.look(asked("/a", "/a/*"))
    assert pages(told) == {"/a/b": [60, 0], "/a": [0, 40]}


def test_the_error_of_a_sum_is_that_of_all_that_is_in_it(machine: Machine) -> None:
    machine.scatter(100_000, {"/a/b": 0.25, "/a/c": 0.25, None: 0.5})
    together = machine.look(asked("/a", samples=4096))
    apart = machine.look(asked("/**", samples=4096))
    one, *others = (state.standard_error_bytes for state in together.cgroups)
    assert others == []
    assert one == pytest.approx(4096 * 100_000 * np.sqrt(0.25 / 4096), rel=0.1)
    assert max(state.standard_error_bytes for state in apart.cgroups) < one


def test_no_error_is_told_smaller_than_what_one_cluster_stands_for(machine: Machine) -> None:
    """Of whom only a few pages are drawn, or none, little is known: not that the error is small."""
    machine.scatter(100_000, {"/a": 0.002, None: 0.998})
    attributor, view = machine.attributor(asked("/a", samples=1024)), machine.view()
    told = [state for _ in range(20) for state in passed(attributor, view).cgroups]
    assert {sum(state.band_bytes) == 0 for state in told} == {True, False}
    assert [state.standard_error_bytes for state in told] == [100_000 * PAGE / (1024 // 8)] * len(told)


# Names


def pods(path: str) -> Named:
    """Whose /pods/POD or /pods/POD/CONTAINER is, as a lookup of containers would tell it."""
    parts = path.split("/")
    if parts[1] != "pods" or len(parts) < 3:
        return Named()
    return Named(namespace="shop", pod=parts[2], container="app" if len(parts) > 3 else "")


def test_where_pod_and_container_are_known_the_cgroup_is_left_out(machine: Machine) -> None:
    machine.add(30, "/pods/cart/c1")
    machine.add(20, "/system.slice")
    told = machine.look(names=pods)
    assert [(state.owner, sum(state.band_bytes) // PAGE) for state in told.cgroups] == [
        (Owner("", "shop", "cart", "app"), 30),
        (Owner("/system.slice"), 20),
    ]


def test_the_cgroups_of_one_container_are_one_series(machine: Machine) -> None:
    """A container that is restarted has another cgroup, and for a while both have memory."""
    machine.add(30, "/pods/cart/c1")
    machine.add(20, "/pods/cart/c2", hot=True)
    told = machine.look(names=pods)
    assert [(state.owner, state.band_bytes) for state in told.cgroups] == [
        (Owner("", "shop", "cart", "app"), (30 * PAGE, 20 * PAGE))
    ]


def test_a_cgroup_of_many_containers_stays_one_series_with_what_is_known_of_all(machine: Machine) -> None:
    machine.add(30, "/pods/cart/c1")
    machine.add(20, "/pods/cart/c2")
    told = machine.look(asked("/pods/*"), pods)
    assert [(state.owner, sum(state.band_bytes) // PAGE) for state in told.cgroups] == [
        (Owner("/pods/cart", "shop", "cart", ""), 50)
    ]


def test_a_hostile_name_is_shown_printable_and_looked_up_as_it_is(machine: Machine) -> None:
    name = "/evil\n\udcff"
    looked_up: list[str] = []

    def names(path: str) -> Named:
        looked_up.append(path)
        return Named()

    machine.add(30, name)
    told = machine.look(names=names)
    assert looked_up == [name]
    assert pages(told) == {"/evil\\x0a\\xff": [30, 0]}


# How many series


def test_the_largest_are_shown_and_the_others_are_unknown(machine: Machine) -> None:
    for size, path in enumerate(("/e", "/a", "/d", "/b", "/c"), start=1):
        machine.add(10 * size, path)
    told = machine.look(asked("/**", limit=2))
    assert pages(told) == {"/c": [50, 0], "/b": [40, 0]}
    assert told.unknown_bytes == (10 + 20 + 30) * PAGE


def test_all_cgroups_of_a_series_count_when_the_largest_are_chosen(machine: Machine) -> None:
    for size, path in ((40, "/pods/mail/c1"), (30, "/pods/cart/c1"), (30, "/pods/cart/c2")):
        machine.add(size, path)
    told = machine.look(asked("/**", limit=1), pods)
    assert [state.owner.pod for state in told.cgroups] == ["cart"]
    assert told.unknown_bytes == 40 * PAGE


def test_who_has_been_shown_stays_until_another_is_twice_as_large_for_some_passes(machine: Machine) -> None:
    machine.add(40, "/a")
    machine.add(30, "/b")
    attributor = machine.attributor(asked("/**", limit=1))
    passed(attributor, machine.view())
    machine.add(49, "/b")  # 79 pages: for ever not enough
    assert {owner for _ in range(40) for owner in pages(passed(attributor, machine.view()))} == {"/a"}
    machine.add(3, "/b")
    view = machine.view()
    shown = [next(iter(pages(passed(attributor, view)))) for _ in range(40)]
    assert (shown[0], shown[-1]) == ("/a", "/b")
    assert shown == sorted(shown)


def test_who_gets_his_pods_name_keeps_his_series(machine: Machine) -> None:
    """The kubelet may answer after the first pass."""
    machine.add(40, "/pods/cart/c1")
    machine.add(30, "/small")
    named: set[str] = set()
    attributor = machine.attributor(asked("/**", limit=1), lambda path: pods(path) if path in named else Named())
    assert pages(passed(attributor, machine.view())) == {"/pods/cart/c1": [40, 0]}
    named.add("/pods/cart/c1")
    assert [state.owner.pod for state in passed(attributor, machine.view()).cgroups] == ["cart"]


def test_who_comes_later_and_is_twice_as_large_is_shown_at_once(machine: Machine) -> None:
    """As after a restart of a container: nothing is known yet that a mean could be made of."""
    machine.add(30, "/small")
    attributor = machine.attributor(asked("/**", limit=1))
    passed(attributor, machine.view())
    machine.add(61, "/large")
    assert pages(passed(attributor, machine.view())) == {"/large": [61, 0]}


def test_a_cgroup_of_which_no_page_is_drawn_is_still_there_with_nothing(machine: Machine) -> None:
    """Or the mean over passes would be that of the lucky ones."""
    machine.add(2000, "/large")
    machine.add(1, "/small")
    attributor, view = machine.attributor(asked("/**", samples=1024)), machine.view()
    sizes = [pages(passed(attributor, view)).get("/small") for _ in range(60)]
    first = next(i for i, size in enumerate(sizes) if size is not None)
    later = [sum(size) for size in sizes[first + 1 :] if size is not None]
    assert len(later) == len(sizes) - first - 1
    assert 0 in later


def test_a_cgroup_that_has_gone_since_the_pass_is_told_of_no_more(machine: Machine) -> None:
    machine.add(10, "/a")
    machine.add(20, "/b")
    attributor = machine.attributor()
    found = passed(attributor, machine.view())
    machine.remove("/a")
    assert pages(attributor.without_vanished(found)) == {"/b": [20, 0]}


# Idle ages


def test_every_cgroup_has_a_histogram_of_idle_ages(machine: Machine) -> None:
    machine.add(10, "/a", hot=True)
    machine.add(20, "/a", age=99)
    machine.add(30, "/b", age=9)
    machine.add(40, "/b", age=5999)
    told = machine.look()
    a, b = of(told, "/a").idle_age, of(told, "/b").idle_age
    assert a is not None
    assert b is not None
    assert a.bounds == b.bounds == EXPORT.idle_age
    assert a.counts == (10 * PAGE, 20 * PAGE, 0)
    assert b.counts == (30 * PAGE, 0, 40 * PAGE)
    assert (a.sum, b.sum) == pytest.approx((20 * PAGE * 10.0, PAGE * (30 * 1.0 + 40 * 600.0)))


def test_bytes_that_have_just_been_left_alone_are_told_apart_inside_their_region(machine: Machine) -> None:
    machine.add(100, "/a", age=5999)
    view = machine.view()
    _, pieces = carry(NO_PIECES, regions((0, 30 * PAGE, 1), (30 * PAGE, 100 * PAGE, 0, 5998)), A, A)
    ages, _ = carry(pieces, view.regions, A, A)
    found = passed(machine.attributor(), replace(view, ages=ages))
    histogram = of(found, "/a").idle_age
    assert histogram is not None
    assert histogram.counts == (30 * PAGE, 0, 70 * PAGE)


def test_without_an_age_unit_there_are_no_idle_ages(machine: Machine) -> None:
    machine.add(10, "/a", hot=True)
    found = passed(machine.attributor(), replace(machine.view(), ages=None))
    assert of(found, "/a").idle_age is None
    assert pages(found) == {"/a": [0, 10]}


# Kinds


def test_kinds_of_pages_are_told_by_band_and_sum_to_all_memory(machine: Machine) -> None:
    machine.add(30, "/a", hot=True)
    machine.add(20, flags=FREE)
    machine.add(5, "/a", flags=FILE)
    told = machine.look(KINDS_ONLY)
    assert {kind: [size // PAGE for size in by_band] for kind, by_band in told.kinds.items()} == {
        **{kind: [0, 0] for kind in KINDS},
        "anon": [0, 30],
        "free": [20, 0],
        "file": [5, 0],
    }
    assert told.cgroups == ()


def test_drawn_kinds_sum_to_all_memory_too(machine: Machine) -> None:
    machine.add(33_333, flags=FREE)
    machine.add(77_777, hot=True)
    told = machine.look(asked(kinds=True, samples=1024))
    assert sum(map(sum, told.kinds.values())) == (33_333 + 77_777) * PAGE


def test_only_what_is_asked_for_is_read(machine: Machine) -> None:
    machine.add(10, "/a")
    view = machine.view()
    (machine.paths.procfs / "kpageflags").unlink()
    assert passed(machine.attributor(ALL_CGROUPS), view).kinds == {}
    both = machine.attributor(asked("/**", kinds=True))
    found = passed(both, view)
    assert (found.kinds, pages(found), both.failures) == ({}, {"/a": [10, 0]}, 1)
    assert "kpageflags" in both.problems[0]


# Hosts and passes


def test_where_cgroups_cannot_be_told_kinds_still_are(machine: Machine) -> None:
    machine.add(10, "/a")
    (machine.root / "cgroup.controllers").unlink()
    attributor = machine.attributor(asked("/**", kinds=True))
    found = passed(attributor, machine.view())
    assert found.kinds["anon"] == (10 * PAGE, 0)
    assert found.cgroups == ()
    assert "no cgroups are to be seen" in attributor.problems[0]


def test_cgroups_are_told_once_they_are_mounted(machine: Machine) -> None:
    machine.add(10, "/a")
    controllers = machine.root / "cgroup.controllers"
    controllers.rename(machine.root / "hidden")
    attributor = machine.attributor()
    attributor.look(machine.view())
    (machine.root / "hidden").rename(controllers)
    assert pages(passed(attributor, machine.view())) == {"/a": [10, 0]}
    assert attributor.problems == ()


def test_nobody_who_asks_for_no_cgroups_hears_of_a_problem_with_them(machine: Machine) -> None:
    machine.add(10)
    (machine.root / "cgroup.controllers").unlink()
    attributor = machine.attributor(KINDS_ONLY)
    passed(attributor, machine.view())
    assert attributor.problems == ()


def test_a_kernel_that_does_not_tell_owners_is_an_error(machine: Machine) -> None:
    machine.add(10, "/a")
    view = machine.view()
    (machine.paths.procfs / "kpagecgroup").unlink()
    attributor = machine.attributor()
    assert attributor.look(view) is None
    (problem,) = attributor.problems
    assert re.search("kpagecgroup: no such file.*use a kernel with CONFIG_MEMCG", problem)


def test_what_passes_draw_and_take_adds_up(machine: Machine) -> None:
    machine.add(100, "/a")
    attributor, view = machine.attributor(), machine.view()
    first, second = passed(attributor, view), passed(attributor, view)
    assert (first.samples_total, second.samples_total) == (100, 200)
    assert 0 < first.seconds_total < second.seconds_total


def test_where_nothing_is_monitored_nothing_is_told(machine: Machine) -> None:
    told = machine.look(asked("/**", kinds=True))
    assert told.kinds == dict.fromkeys(KINDS, (0, 0))
    assert told.cgroups == ()
    assert told.samples_total == 0


# This machine's own kernel, of which everything is only read


def ten_thousandths(of_all: Mapping[str, Sequence[int]]) -> dict[str, float]:
    total = sum(map(sum, of_all.values()))
    return {kind: 1e4 * sum(by_band) / total for kind, by_band in of_all.items()}


@pytest.mark.skipif(
    not os.access("/proc/kpageflags", os.R_OK) or not Path("/sys/devices/system/memory").is_dir(),
    reason="only uid 0 may read page frames, and not every kernel shows memory blocks",
)
def test_a_sample_of_real_memory_shows_what_reading_all_of_it_shows() -> None:
    start, end = max(system_ram(Path("/sys")), key=lambda of: of[1] - of[0])
    end = min(end, start + (2 << 30))
    made = regions(*((at, min(at + (50 << 20), end), 0) for at in range(start, end, 50 << 20)))
    view = PhysicalView(made, np.arange(len(made)) % 2, None)
    kinds = []
    for samples in (1 << 20, 1 << 15):
        attributor = Attributor(asked(kinds=True, samples=samples), EXPORT, KernelPaths(), no_pod, seed=1)
        kinds.append(ten_thousandths(passed(attributor, view).kinds))
    everything, sample = kinds
    assert everything["free"] > 0
    assert sample == pytest.approx(everything, abs=500)
