"""Processes that come and go are followed by the kdamond that runs, and what is published follows them."""

import errno
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from driving import SETTLED, Driven, on_both, wait_for
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from damon_exporter.config import Config
from damon_exporter.config.loading import check
from damon_exporter.config.reading import parse
from damon_exporter.feeds import Feed, open_feed
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.state import MonitorState, TargetState
from damon_exporter.tenure import Tenure
from damon_exporter.testing.fake_kernel import FakeKernel
from damon_exporter.watches import Watches

MIB = 1 << 20
BASE = 0x5555_5000_0000
GROUPS = SETTLED + (
    "monitors: [{name: db, operations: vaddr, intervals: {sample: 1ms, aggregation: 10ms, update: 20ms}, "
    "processes: {match: [{comm: a}, {comm: b}, {comm: c}], limit: 4, refresh: 100ms}}]\n"
)
KEEPING = GROUPS.replace("settle: 0s", "settle: 0s, on_exit: keep")
TARGETS = "0/contexts/0/targets"


class Exporting:
    """An exporter without its threads: the supervisor looks, reports are taken in, a state is published."""

    def __init__(self, paths: KernelPaths, configuration: str = GROUPS) -> None:
        config: Config = check(parse(configuration))
        self.feed: Feed = open_feed(config, paths, lambda: self.driven.supervisor.writer)
        self.driven = Driven(paths, configuration, sysfs_source=self.feed.name == "sysfs")
        self.watches = Watches(config.export, self.feed.name, paths.procfs)

    def __enter__(self) -> "Exporting":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.watches.close()
        self.driven.supervisor.end()
        self.feed.close()

    def publish(self) -> dict[str, TargetState]:
        """What is published now, by target."""
        now = time.monotonic()
        reports = self.feed.collect(self.driven.supervisor.roster, now)
        self.watches.take_in(reports, self.driven.supervisor.roster, now)
        monitors = {monitor.name: monitor for monitor in self.watches.states(now, 0.0)}
        self.monitor: MonitorState | None = monitors.get("db")
        return {target.name: target for target in self.monitor.targets} if self.monitor else {}

    def settled(self, is_so: Callable[[dict[str, TargetState]], bool]) -> dict[str, TargetState]:
        """What is published when it has become so, while the supervisor looks now and then."""

        def now() -> bool:
            self.driven.look()
            time.sleep(0.02)
            return is_so(self.publish())

        wait_for(now)
        return self.publish()


@pytest.fixture
def exporting(kernel: FakeKernel) -> Iterator[Exporting]:
    with Exporting(kernel.paths) as exporting:
        yield exporting


def add(kernel: FakeKernel, pid: int, comm: str, mib: int = 1) -> None:
    """A process with so much memory, half of it hot, at an address of its own."""
    start = BASE + pid * (1 << 32)
    middle, end = start + mib * MIB // 2, start + mib * MIB
    kernel.add_process(pid, comm, rss=mib * MIB, memory=[(start, middle, 1.0), (middle, end, 0.0)])


def watch_a_and_b(kernel: FakeKernel, exporting: Exporting) -> None:
    """Process 41 of group a, and 42 of group b."""
    for pid, comm in ((41, "a"), (42, "b")):
        add(kernel, pid, comm)
    exporting.settled(lambda now: set(now) == {"a", "b"})


def sizes(published: dict[str, TargetState]) -> dict[str, float]:
    return {name: target.monitored_bytes / MIB for name, target in published.items()}


@on_both
def test_processes_of_a_group_are_summed_and_each_group_is_a_target(kernel: FakeKernel, exporting: Exporting) -> None:
    for pid, comm, mib in ((41, "a", 1), (42, "b", 2), (43, "a", 4)):
        add(kernel, pid, comm, mib)
    published = exporting.settled(lambda now: sizes(now) == {"a": 5, "b": 2})
    assert published["a"].working_set_bytes == 2.5 * MIB
    assert exporting.monitor is not None
    assert (exporting.monitor.nr_targets, exporting.monitor.targets_dropped) == (3, 0)
    assert published["a"].resident_bytes == 5 * MIB


@on_both
def test_a_place_is_not_given_away_before_it_is_told_that_it_was_left(
    kernel: FakeKernel, exporting: Exporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a long command of another tool's begins right after each look at our own kdamonds."""
    add(kernel, 41, "a", 1)
    add(kernel, 42, "b", 2)
    exporting.settled(lambda now: sizes(now) == {"a": 1, "b": 2})
    keep = Tenure.keep

    def keep_until_somebody_commands(tenure: Tenure, now: float) -> None:
        keep(tenure, now)
        kernel.fail("*/kdamonds/0/state", "read", errno.EBUSY)

    monkeypatch.setattr(Tenure, "keep", keep_until_somebody_commands)
    for pid, comm, mib in ((41, "x", 1), (43, "c", 512)):
        add(kernel, pid, comm, mib)
        exporting.driven.look()
        kernel.clear_faults()
        time.sleep(0.1)
        assert sizes(exporting.publish()).get("a", 0) <= 1
    monkeypatch.undo()
    exporting.settled(lambda now: sizes(now) == {"b": 2, "c": 512})


@on_both
def test_who_leaves_a_group_and_comes_back_to_his_place_is_told_again(kernel: FakeKernel, exporting: Exporting) -> None:
    add(kernel, 41, "a", 1)
    add(kernel, 42, "a", 2)
    exporting.settled(lambda now: sizes(now) == {"a": 3})
    add(kernel, 41, "x", 1)
    exporting.settled(lambda now: sizes(now) == {"a": 2})
    add(kernel, 41, "b", 1)
    exporting.settled(lambda now: sizes(now) == {"a": 2, "b": 1})
    assert exporting.driven.own["db"].restarts == 0


def test_what_is_resident_is_told_as_it_is_however_rarely_processes_are_looked_for(kernel: FakeKernel) -> None:
    add(kernel, 41, "a", 1)
    with Exporting(kernel.paths, GROUPS.replace("refresh: 100ms", "refresh: 1h")) as exporting:
        exporting.settled(lambda now: "a" in now and now["a"].resident_bytes == MIB)
        kernel.add_process(41, "a", rss=3 * MIB)
        exporting.settled(lambda now: now["a"].resident_bytes == 3 * MIB)


@on_both
def test_a_group_that_comes_later_joins_the_others_whose_ages_go_on(kernel: FakeKernel, exporting: Exporting) -> None:
    add(kernel, 41, "a")
    exporting.settled(lambda now: "a" in now and idle_for(now["a"]) > 0.5)
    pid = kernel.read("0/pid")
    add(kernel, 42, "b", 2)
    published = exporting.settled(lambda now: sizes(now) == {"a": 1, "b": 2})
    assert idle_for(published["a"]) > 0.5
    assert idle_for(published["b"]) < 0.5
    assert kernel.read("0/pid") == pid
    assert exporting.driven.own["db"].restarts == 0


@on_both
def test_who_takes_a_place_that_was_left_inherits_nothing(kernel: FakeKernel, exporting: Exporting) -> None:
    """Even if all his addresses are those of who was there before, as they are of processes forked from one."""
    for pid, comm in ((41, "a"), (42, "b")):
        kernel.add_process(pid, comm, memory=[(BASE, BASE + MIB, 0.0)])
    exporting.settled(lambda now: "a" in now and idle_for(now["a"]) > 0.5)
    kernel.remove_process(41)
    exporting.settled(lambda now: set(now) == {"b"})
    kernel.add_process(43, "c", memory=[(BASE, BASE + MIB, 0.0)])
    published = exporting.settled(lambda now: set(now) == {"b", "c"})
    assert kernel.read(f"{TARGETS}/0/pid_target") == "43"
    assert idle_for(published["c"]) < 0.5
    assert idle_for(published["b"]) > 0.5


def idle_for(target: TargetState) -> float:
    """For how long (s) idle memory has been so, in the mean over all bytes."""
    assert target.idle_age is not None
    return target.idle_age.sum / target.monitored_bytes


@on_both
def test_a_group_that_has_gone_is_not_published_any_more_before_the_supervisor_looks(
    kernel: FakeKernel, exporting: Exporting
) -> None:
    for pid, comm in ((41, "a"), (42, "b"), (43, "b")):
        add(kernel, pid, comm, pid)
    exporting.settled(lambda now: sizes(now) == {"a": 41, "b": 85})
    kernel.end_process(41)
    kernel.remove_process(43)
    assert sizes(exporting.publish()) == {"b": 42}


def test_a_group_that_lost_one_process_does_not_count_backwards(kernel: FakeKernel, exporting: Exporting) -> None:
    for pid in (41, 42):
        add(kernel, pid, "a")
    before = exporting.settled(lambda now: "a" in now and now["a"].observed_seconds > 0.2)["a"]
    kernel.remove_process(41)
    after = exporting.publish()["a"]
    later = exporting.settled(lambda now: now["a"].snapshots > after.snapshots + 3)["a"]
    for name in ("observed_seconds", "estimated_access_bytes", "snapshots"):
        assert getattr(before, name) <= getattr(after, name) <= getattr(later, name)


@on_both
def test_a_place_that_nobody_takes_keeps_the_kdamond_running(kernel: FakeKernel, exporting: Exporting) -> None:
    for pid in (41, 42, 43):
        add(kernel, pid, "a", pid)
    exporting.settled(lambda now: sizes(now) == {"a": 126})
    pid = kernel.read("0/pid")
    kernel.remove_process(41)
    kernel.remove_process(42)
    add(kernel, 44, "b")
    exporting.settled(lambda now: sizes(now) == {"a": 43, "b": 1})
    assert [kernel.read(f"{TARGETS}/{i}/pid_target") for i in range(3)] == ["44", "2", "43"]
    assert (kernel.read("0/pid"), exporting.driven.own["db"].restarts) == (pid, 0)


@on_both
def test_a_process_that_leaves_its_group_alive_is_not_watched_any_more(
    kernel: FakeKernel, exporting: Exporting
) -> None:
    watch_a_and_b(kernel, exporting)
    add(kernel, 41, "other")
    exporting.settled(lambda now: set(now) == {"b"} and kernel.read(f"{TARGETS}/0/pid_target") == "2")


def test_who_comes_is_watched_although_others_leave_their_group_all_the_time(
    kernel: FakeKernel, exporting: Exporting
) -> None:
    for pid in (41, 42, 43):
        add(kernel, pid, "a")
    exporting.settled(lambda now: "a" in now)
    add(kernel, 50, "b")
    for look in range(20):
        add(kernel, (41, 42)[look % 2], ("a", "other")[look // 2 % 2])
        exporting.driven.look()
        time.sleep(0.02)
    assert "b" in exporting.publish()


def test_the_place_of_who_has_just_left_is_given_away_by_the_next_look_only(
    kernel: FakeKernel, exporting: Exporting
) -> None:
    """Until then who reads reports knows the place as his: what came in it would be told as of him."""
    watch_a_and_b(kernel, exporting)
    add(kernel, 41, "other")
    add(kernel, 43, "c")
    exporting.driven.look()
    assert listed_pids(kernel) == ["41", "42", "43"]
    assert set(exporting.publish()) <= {"b", "c"}
    exporting.settled(lambda _: listed_pids(kernel) == ["42", "43"])


@on_both
def test_no_more_are_watched_than_the_limit_while_many_leave_and_come(kernel: FakeKernel, exporting: Exporting) -> None:
    for pid in range(41, 45):
        add(kernel, pid, "a")
    exporting.settled(lambda now: sizes(now) == {"a": 4})
    for pid in range(41, 45):
        add(kernel, pid, "other")
        add(kernel, pid + 10, "b")
    longest: list[str] = []

    def are_there(now: dict[str, TargetState]) -> bool:
        longest[:] = max(longest, listed_pids(kernel), key=len)
        return sizes(now) == {"b": 4}

    exporting.settled(are_there)
    assert len(longest) == 4
    assert exporting.driven.own["db"].restarts == 0


def test_a_process_that_changes_its_name_all_the_time_does_not_hide(kernel: FakeKernel) -> None:
    by_pid = GROUPS.replace("[{comm: a}, {comm: b}, {comm: c}]", "[{pid: 41}]")
    with Exporting(kernel.paths, by_pid) as exporting:
        add(kernel, 41, "a0")
        exporting.settled(lambda now: set(now) == {"a0"})
        seen = 0
        for name in range(1, 30):
            add(kernel, 41, f"a{name}")
            exporting.driven.look(0.2)
            time.sleep(0.03)
            seen += bool(exporting.publish())
    assert seen > 5


def test_a_process_that_starts_another_program_changes_groups_without_a_restart(
    kernel: FakeKernel, exporting: Exporting
) -> None:
    add(kernel, 41, "a")
    exporting.settled(lambda now: set(now) == {"a"})
    add(kernel, 41, "b")
    exporting.settled(lambda now: set(now) == {"b"})
    assert exporting.driven.own["db"].restarts == 0


@on_both
def test_a_process_that_ends_right_before_the_commit_harms_nobody(kernel: FakeKernel, exporting: Exporting) -> None:
    """On 6.12 a list with a pid that does not exist would end the kdamond."""
    add(kernel, 41, "a")
    exporting.settled(lambda now: set(now) == {"a"})
    pid = kernel.read("0/pid")
    add(kernel, 42, "b")
    look_while_files_are_written(kernel, exporting, ends=42)
    assert kernel.read("0/pid") == pid
    assert exporting.driven.supervisor.failed_commits == 0
    exporting.settled(lambda now: set(now) == {"a"})
    add(kernel, 43, "c")
    exporting.settled(lambda now: set(now) == {"a", "c"})
    assert (kernel.read("0/pid"), exporting.driven.own["db"].restarts) == (pid, 0)


@on_both
def test_so_does_one_that_is_still_listed_although_it_has_left_its_group(
    kernel: FakeKernel, exporting: Exporting
) -> None:
    watch_a_and_b(kernel, exporting)
    kdamond = kernel.read("0/pid")
    add(kernel, 41, "other")
    add(kernel, 43, "c")
    look_while_files_are_written(kernel, exporting, ends=41)
    assert (kernel.read("0/pid"), exporting.driven.supervisor.failed_commits) == (kdamond, 0)
    exporting.settled(lambda now: set(now) == {"b", "c"})


def test_a_kdamond_that_a_commit_has_ended_is_started_again_at_once(
    fake_kernel: Callable[..., FakeKernel],
) -> None:
    """A 6.12 reports success when a process of the list has ended after the last look at it."""
    kernel = fake_kernel(kernel="6.12")
    with Exporting(kernel.paths) as exporting:
        add(kernel, 41, "a")
        exporting.settled(lambda now: set(now) == {"a"})
        before = kernel.read("0/pid")
        add(kernel, 42, "b")
        kernel.delay("*/state", "write", 2.0, count=1)
        ending = threading.Timer(1.2, kernel.remove_process, (42,))
        ending.start()
        exporting.driven.look(10)
        ending.join()
        exporting.settled(lambda now: set(now) == {"a"})
        assert kernel.read("0/pid") != before
        assert exporting.driven.supervisor.failed_commits == 1
        assert exporting.driven.own["db"].restarts == 1


def test_refusals_over_processes_that_have_just_ended_cost_no_restart(kernel: FakeKernel, exporting: Exporting) -> None:
    """A 7.3 refuses the list and goes on: nobody's ages are lost, however often that happens."""
    add(kernel, 41, "a")
    exporting.settled(lambda now: set(now) == {"a"})
    kdamond = kernel.read("0/pid")
    for pid in range(50, 53):
        add(kernel, pid, "b")
        kernel.delay("*/state", "write", 2.0, count=1)
        ending = threading.Timer(1.2, kernel.remove_process, (pid,))
        ending.start()
        exporting.driven.look(10)
        ending.join()
    assert exporting.driven.supervisor.failed_commits == 3
    exporting.settled(lambda now: set(now) == {"a"})
    assert (kernel.read("0/pid"), exporting.driven.own["db"].restarts) == (kdamond, 0)


def look_while_files_are_written(kernel: FakeKernel, exporting: Exporting, ends: int) -> None:
    """The supervisor looks; a process ends between that and the commit."""
    kernel.delay("*/nr_targets", "write", 0.3, count=1)
    ending = threading.Timer(0.1, kernel.remove_process, (ends,))
    ending.start()
    exporting.driven.look(10)
    ending.join()


def test_what_is_left_out_is_told(kernel: FakeKernel, exporting: Exporting) -> None:
    for pid in range(41, 48):
        add(kernel, pid, "a", pid)
    exporting.settled(lambda now: sizes(now) == {"a": 44 + 45 + 46 + 47})
    assert exporting.monitor is not None
    assert (exporting.monitor.nr_targets, exporting.monitor.targets_dropped) == (4, 3)


def test_a_kdamond_whose_processes_have_changed_places_is_adopted(kernel: FakeKernel) -> None:
    with Exporting(kernel.paths, KEEPING) as leaving:
        for pid in (41, 42):
            add(kernel, pid, "a")
        leaving.settled(lambda now: sizes(now) == {"a": 2})
        kernel.remove_process(41)
        add(kernel, 50, "b")
        leaving.settled(lambda now: sizes(now) == {"a": 1, "b": 1})
        pid = kernel.read("0/pid")
    with Exporting(kernel.paths) as exporting:
        exporting.settled(lambda now: sizes(now) == {"a": 1, "b": 1})
        assert kernel.read("0/pid") == pid


@on_both
def test_who_is_watched_stays_over_an_adoption_though_others_have_outgrown_him(kernel: FakeKernel) -> None:
    limited = KEEPING.replace("limit: 4", "limit: 1")
    add(kernel, 41, "a", 2)
    with Exporting(kernel.paths, limited) as leaving:
        leaving.settled(lambda now: sizes(now) == {"a": 2})
    add(kernel, 42, "b", 4)
    with Exporting(kernel.paths, limited) as exporting:
        exporting.settled(lambda now: sizes(now) == {"a": 2})
        exporting.driven.look_for(10)
        assert set(exporting.publish()) == {"a"}


@on_both
def test_who_is_younger_than_an_adopted_kdamond_begins_anew(kernel: FakeKernel) -> None:
    """He may have got the pid of one that was watched, whose ages would then be his."""
    add(kernel, 41, "a")
    with Exporting(kernel.paths, KEEPING) as leaving:
        leaving.settled(lambda now: set(now) == {"a"})
        start = BASE + (42 << 32)
        kernel.add_process(42, "b", memory=[(start, start + 2 * MIB, 0.0)], age=0.0)
        leaving.settled(lambda now: "b" in now and idle_for(now["b"]) > 0.5)
        pid = kernel.read("0/pid")
    with Exporting(kernel.paths) as exporting:
        again = exporting.settled(lambda now: sizes(now) == {"a": 1, "b": 2})
        assert idle_for(again["b"]) < 0.5 < idle_for(again["a"])
        assert (kernel.read("0/pid"), exporting.driven.own["db"].restarts) == (pid, 0)


def listed_pids(kernel: FakeKernel) -> list[str]:
    """What the kernel watches: the pids in its list, but for kthreadd's."""
    count = int(kernel.read(f"{TARGETS}/nr_targets"))
    pids = [kernel.read(f"{TARGETS}/{i}/pid_target") for i in range(count)]
    return [pid for pid in pids if pid != "2"]


class Churn(RuleBasedStateMachine):
    """Processes that appear, change, become zombies and vanish, in whatever order."""

    kernel: FakeKernel
    """Set by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel.reboot()
        self.exporting = Exporting(self.kernel.paths)
        self.comms: dict[int, str] = {}
        self.zombies: set[int] = set()
        self.next_pid = 40

    def teardown(self) -> None:
        self.exporting.close()

    def mib(self, pid: int) -> int:
        """Powers of two: a sum tells its members."""
        return 1 << (pid % 12)

    @rule(comm=st.sampled_from("abcx"))
    def start(self, comm: str) -> None:
        self.next_pid += 1
        add(self.kernel, self.next_pid, comm, self.mib(self.next_pid))
        self.comms[self.next_pid] = comm

    @precondition(lambda self: self.comms)
    @rule(data=st.data(), comm=st.sampled_from("abcx"))
    def exec(self, data: st.DataObject, comm: str) -> None:
        pid = data.draw(st.sampled_from(sorted(self.comms)))
        add(self.kernel, pid, comm, self.mib(pid))
        self.comms[pid] = comm

    @precondition(lambda self: self.comms)
    @rule(data=st.data())
    def become_zombie(self, data: st.DataObject) -> None:
        pid = data.draw(st.sampled_from(sorted(self.comms)))
        del self.comms[pid]
        self.kernel.end_process(pid)
        self.zombies.add(pid)

    @precondition(lambda self: self.comms or self.zombies)
    @rule(data=st.data())
    def vanish(self, data: st.DataObject) -> None:
        pid = data.draw(st.sampled_from(sorted({*self.comms, *self.zombies})))
        self.comms.pop(pid, None)
        self.zombies.discard(pid)
        self.kernel.remove_process(pid)

    @rule()
    def look(self) -> None:
        self.exporting.driven.look()

    @rule()
    def let_time_pass(self) -> None:
        time.sleep(0.03)

    @invariant()
    def no_series_outlives_its_group_and_none_is_counted_twice(self) -> None:
        published = self.exporting.publish()
        for name, target in published.items():
            members = [pid for pid in self.comms if self.was_ever(pid, name)]
            assert members, f"{name} is published, and no process of it lives"
            assert target.monitored_bytes <= sum(self.mib(pid) for pid in members) * MIB
        if self.exporting.monitor:
            assert self.exporting.monitor.nr_targets <= 4
            assert len(listed_pids(self.kernel)) <= 4

    def was_ever(self, pid: int, name: str) -> bool:
        """A process that changed its name is told of under the old one until the supervisor looks."""
        listed = self.exporting.driven.own.get("db")
        known = {t.process.pid: t.name for t in listed.living if t.process} if listed else {}
        return known.get(pid, self.comms[pid]) == name

    @rule()
    def settle(self) -> None:
        living = {pid: comm for pid, comm in self.comms.items() if comm != "x"}

        def is_true(now: dict[str, TargetState]) -> bool:
            groups = {comm: sum(self.mib(p) for p, c in living.items() if c == comm) for comm in living.values()}
            return sizes(now) == groups if len(living) <= 4 else sum(map(len, [self.watched()])) == 4

        self.exporting.settled(is_true)

    def watched(self) -> list[int]:
        own = self.exporting.driven.own.get("db")
        return [target.process.pid for target in own.living if target.process] if own else []


@on_both
def test_whatever_appears_and_vanishes_what_is_published_is_true(kernel: FakeKernel) -> None:
    machine = type("Machine", (Churn,), {"kernel": kernel})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=12, stateful_step_count=14, suppress_health_check=list(HealthCheck)),
    )


@on_both
def test_regions_that_are_sampled_from_sysfs_follow_the_processes_too(kernel: FakeKernel) -> None:
    sampled = Exporting(kernel.paths, GROUPS.replace("settle: 0s", "settle: 0s, source: sysfs"))
    try:
        add(kernel, 41, "a")
        sampled.settled(lambda now: sizes(now) == {"a": 1})
        pid = kernel.read("0/pid")
        add(kernel, 42, "b", 2)
        sampled.settled(lambda now: sizes(now) == {"a": 1, "b": 2})
        kernel.remove_process(41)
        add(kernel, 43, "c", 4)
        sampled.settled(lambda now: sizes(now) == {"b": 2, "c": 4})
        assert (kernel.read("0/pid"), sampled.driven.own["db"].restarts) == (pid, 0)
    finally:
        sampled.close()
