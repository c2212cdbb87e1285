"""A whole exporter against a fake kernel: what it serves, how it ends, and what it makes of a bad environment."""

import ctypes
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from driving import everything, run_somebodys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from running import NODE, QUICK, ConfigFlag, Running, path_flags
from vm.exporter import Metrics
from written import WriteLog

from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.stopping import Failed, StopSignal
from damon_exporter.testing.fake_kernel import FakeKernel
from damon_exporter.testing.fake_kernel.fuse_mount import unmount

Start = Callable[..., FakeKernel]


MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
NOBODY = 65534
AS_NOBODY = f"""
import os
from damon_exporter import cli, doctor, serving
"loads what may lie where nobody may look".encode("idna")
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
cli.main()
"""


@contextmanager
def read_only(kernel: FakeKernel, mountpoint: Path) -> Iterator[KernelPaths]:
    """The same kernel behind a read-only mount, as container runtimes give it."""
    libc = ctypes.CDLL(None, use_errno=True)
    mountpoint.mkdir()
    source, target = os.fsencode(kernel.root), os.fsencode(mountpoint)
    try:
        assert libc.mount(source, target, None, MS_BIND, None) == 0
        assert libc.mount(source, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY, None) == 0
        sysfs = mountpoint / "sys"
        yield KernelPaths(sysfs, mountpoint / "proc", sysfs / "kernel/tracing")
    finally:
        unmount(mountpoint)


# Ends


def test_sigterm_ends_with_0_and_leaves_everything_as_it_was(kernel: FakeKernel, config: ConfigFlag) -> None:
    before = everything(kernel)
    with Running(*path_flags(kernel.paths), config(QUICK)) as running:
        running.wait_for(lambda: running.value("damon_working_set_bytes", monitor="node") is not None)
        assert everything(kernel) != before
        assert running.stop() == 0
    assert everything(kernel) == before
    assert "Traceback" not in running.ended_with


def test_ctrl_c_ends_with_0_and_leaves_everything_as_it_was(kernel: FakeKernel, config: ConfigFlag) -> None:
    before = everything(kernel)
    with Running(*path_flags(kernel.paths), config(QUICK)) as running:
        running.wait_for(lambda: running.value("damon_monitor_up", monitor="node"))
        assert running.stop(signal.SIGINT) == 0
    assert everything(kernel) == before


@pytest.mark.parametrize("source", ["tracepoint", "sysfs"])
def test_sigterm_ends_soon_however_rarely_is_published(kernel: FakeKernel, config: ConfigFlag, source: str) -> None:
    rare = QUICK.replace("publish: 100ms", "publish: 1m").replace("{settle", f"{{source: {source}, settle")
    with Running(*path_flags(kernel.paths), config(rare)) as running:
        running.wait_for(lambda: kernel.read("nr_kdamonds") == "1" and kernel.read("0/state") == "on")
        time.sleep(1.0)  # the first publication is over
        begun = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - begun < 4.0
    assert kernel.read("nr_kdamonds") == "0"


def test_after_sigterm_only_the_command_under_way_is_waited_for(
    kernel: FakeKernel, config: ConfigFlag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(kernel)
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    names = ("first", "second", "third")
    monitors = (f"{{name: {name}, operations: vaddr, processes: {{match: [{{comm: {name}}}]}}}}" for name in names)
    for pid, name in enumerate(names, 100):
        kernel.add_process(pid, name)
    three = config(QUICK.replace(NODE, f"monitors: [{', '.join(monitors)}]"))
    with Running(*path_flags(kernel.paths), three) as running:
        running.wait_for(lambda: all(running.value("damon_monitor_up", monitor=name) for name in names))
        kernel.delay("*/kdamonds/0/state", "write", 1.0, count=1)
        log.clear()
        for pid, name in reversed(list(enumerate(names, 200))):
            kernel.add_process(pid, name)
        running.wait_for(lambda: log.commands)
        assert running.stop() == 0
    commit, off = 0, [0, 1, 2]
    assert log.commands == [commit, *off]
    for pid in (*range(100, 103), *range(200, 203)):
        kernel.end_process(pid)
    assert everything(kernel) == before


def test_after_sigkill_the_kdamond_is_adopted(kernel: FakeKernel, config: ConfigFlag) -> None:
    with Running(*path_flags(kernel.paths), config(QUICK)) as first:
        first.wait_for(lambda: first.value("damon_snapshots_total", monitor="node"))
        pid = kernel.read("0/pid")
        first.stop(signal.SIGKILL)
    with Running(*path_flags(kernel.paths), config(QUICK)) as second:
        second.wait_for(lambda: second.value("damon_snapshots_total", monitor="node"))
        assert kernel.read("0/pid") == pid
        assert second.stop() == 0
    assert (kernel.read("nr_kdamonds"), list((kernel.tracefs / "instances").iterdir())) == ("0", [])


def test_a_kernel_without_damon_is_served_and_said_so(tmp_path: Path) -> None:
    with Running(*path_flags(KernelPaths(tmp_path, tmp_path, tmp_path))) as running:
        running.wait_for(lambda: running.value("damon_control_blocked", reason="unsupported") == 1)
        status, ready = running.fetch("/-/ready")
        assert status == 200
        assert "nothing to watch now" in ready
        assert "boot a kernel with CONFIG_DAMON_SYSFS" in running.fetch("/")[1]
        assert running.stop() == 0
    assert "Traceback" not in running.ended_with


def test_without_tracefs_regions_are_sampled_and_it_is_said_so(
    kernel: FakeKernel, config: ConfigFlag, tmp_path: Path
) -> None:
    paths = KernelPaths(kernel.sysfs, kernel.procfs, tmp_path / "tracing")
    with Running(*path_flags(paths), config(QUICK)) as running:
        running.wait_for(lambda: running.value("damon_working_set_bytes", monitor="node") is not None)
        assert running.value("damon_monitor_info", monitor="node", source="sysfs") == 1
        assert "regions are only sampled" in running.fetch("/")[1]
        assert "no tracefs is mounted there" in running.log
        assert running.stop() == 0
    assert kernel.read("nr_kdamonds") == "0"


def test_unready_only_while_a_kdamond_of_ours_is_silent(kernel: FakeKernel, config: ConfigFlag) -> None:
    with Running(*path_flags(kernel.paths), config(QUICK)) as running:
        running.wait_for(lambda: running.value("damon_snapshots_total", monitor="node"))
        assert running.fetch("/-/ready")[0] == 200
        enable = kernel.tracefs / "instances/damon_exporter/events/damon/damon_aggregated/enable"
        enable.write_text("0")
        running.wait_for(lambda: running.fetch("/-/ready")[0] == 503)
        assert "its kdamond has reported nothing for" in running.fetch("/-/ready")[1]
        assert running.fetch("/-/healthy")[0] == 200
        enable.write_text("1")
        running.wait_for(lambda: running.fetch("/-/ready")[0] == 200)


def test_a_bad_plan_for_one_of_three_leaves_two_running_and_says_why(kernel: FakeKernel, config: ConfigFlag) -> None:
    kernel.fail("*/kdamonds/1/contexts/0/targets/nr_targets", "write", errno.ENOMEM)
    three = QUICK.replace("[{name: node", "[{name: a, operations: paddr}, {name: b, operations: paddr}, {name: node")
    with Running(*path_flags(kernel.paths), config(three)) as running:
        running.wait_for(lambda: running.value("damon_snapshots_total", monitor="node"))
        up = {name: running.value("damon_monitor_up", monitor=name) for name in ("a", "b", "node")}
        assert up == {"a": 1, "b": 0, "node": 1}
        assert "the kernel could not build it" in running.fetch("/")[1]
        assert "monitor b does not run: cannot write" in running.log
        assert running.fetch("/-/ready")[0] == 200


def test_nothing_to_watch_is_served_and_found_later(kernel: FakeKernel, config: ConfigFlag) -> None:
    waiting = QUICK.replace(
        NODE, "monitors: [{name: db, operations: vaddr, processes: {match: [{comm: postgres}], refresh: 100ms}}]"
    )
    with Running(*path_flags(kernel.paths), config(waiting)) as running:
        running.wait_for(lambda: "no process matches comm" in running.fetch("/-/ready")[1])
        assert running.fetch("/-/ready")[0] == 200
        kernel.add_process(42, "postgres")
        running.wait_for(lambda: running.value("damon_snapshots_total", monitor="db"))


def test_a_second_exporter_observes_says_why_and_changes_nothing(kernel: FakeKernel, config: ConfigFlag) -> None:
    with Running(*path_flags(kernel.paths), config(QUICK)) as first:
        first.wait_for(lambda: first.value("damon_monitor_up", monitor="node"))
        with Running(*path_flags(kernel.paths), config(QUICK)) as second:
            second.wait_for(lambda: second.value("damon_control_blocked", reason="foreign_kdamond") == 1)
            assert "another damon-exporter holds the lock" in second.fetch("/")[1]
            assert second.stop() == 0
        assert first.value("damon_monitor_up", monitor="node") == 1
        assert kernel.read("0/state") == "on"


# Whom it watches, and how much is told of them

MIB, GIB = 1 << 20, 1 << 30

GROUPS = """
kernel: {settle: 0s}
export: {publish: 100ms}
monitors:
- name: services
  operations: vaddr
  intervals: {sample: 1ms, aggregation: 20ms, update: 100ms}
  processes: {match: [{cgroup: "/system.slice/*"}], limit: 3, refresh: 200ms}
- name: users
  operations: vaddr
  intervals: {sample: 1ms, aggregation: 20ms, update: 100ms}
  processes: {match: [{cgroup: "/user.slice"}, {comm: postgres}], refresh: 200ms}
"""
SERVICES = ((41, "postgres", "db", 64), (42, "postgres", "db", 32), (43, "nginx", "web", 48), (44, "sshd", "ssh", 1))
"""Pid, comm, unit and MiB."""
HOSTILE = {
    50: b"\xff\xfe\xc3",
    51: b'"} 1\ndamon 2\n',
    52: b"\\",
    53: b"<script>\x1b[31m",
    54: b"postgres",
}
"""What anybody may call his process; the last one would like to be another's."""
SHOWN = {r"\xff\xfe\xc3", r'"} 1\x0adamon 2\x0a', "\\", r"<script>\x1b[31m", "postgres"}


@dataclass(frozen=True, slots=True)
class Served:
    """What one exporter serves of groups of processes: in both formats, as a page, and what it has logged."""

    metrics: Metrics
    openmetrics: str
    page: str
    log: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "config.yaml").write_text(GROUPS)
    with FakeKernel(folder / "kernel") as kernel:
        for pid, comm, unit, mib in SERVICES:
            kernel.add_process(pid, comm, cgroup=f"/system.slice/{unit}.service", rss=mib * MIB)
        for pid, comm in HOSTILE.items():
            kernel.add_process(pid, os.fsdecode(comm), cgroup="/user.slice", rss=MIB)
        with Running(*path_flags(kernel.paths), f"--config.file={folder / 'config.yaml'}") as running:
            for monitor in ("services", "users"):
                running.wait_for(lambda name=monitor: running.value("damon_monitor_up", monitor=name))
            running.wait_for(lambda: running.fetch("/metrics")[1].count("damon_working_set_bytes{") == 2 + len(SHOWN))
            text, page = running.fetch("/metrics")[1], running.fetch("/")[1]
            yield Served(Metrics.parse(text), openmetrics_of(running), page, running.log)


def openmetrics_of(running: Running) -> str:
    request = Request(f"http://127.0.0.1:{running.port}/metrics", headers={"Accept": "application/openmetrics-text"})
    with urlopen(request) as response:
        return str(response.read().decode())


def targets(metrics: Metrics, monitor: str) -> set[str]:
    return {dict(labels)["target"] for labels in metrics.all("damon_monitored_bytes", monitor=monitor)}


in_one_worker = pytest.mark.xdist_group("served")


@in_one_worker
def test_the_largest_processes_are_told_by_group_with_their_size_and_their_cgroup(served: Served) -> None:
    assert targets(served.metrics, "services") == {"postgres", "nginx"}
    for target, unit, mib in (("postgres", "db", 96), ("nginx", "web", 48)):
        labels = {"monitor": "services", "target": target}
        assert served.metrics.value("damon_target_resident_bytes", **labels) == mib * MIB
        told = served.metrics.value("damon_target_info", cgroup=f"/system.slice/{unit}.service", pod="", **labels)
        assert told == 1


@in_one_worker
def test_processes_that_are_left_out_are_counted(served: Served) -> None:
    assert served.metrics.value("damon_targets", monitor="services") == 3
    assert served.metrics.value("damon_targets_dropped", monitor="services") == 1
    assert served.metrics.value("damon_targets_dropped", monitor="users") == 0


@in_one_worker
def test_names_that_somebody_chose_to_do_harm_are_shown_printable_in_every_format(served: Served) -> None:
    assert targets(served.metrics, "users") == SHOWN
    shown = {
        sample.labels["target"]
        for family in text_string_to_metric_families(served.openmetrics)
        for sample in family.samples
        if sample.name == "damon_monitored_bytes" and sample.labels["monitor"] == "users"
    }
    assert shown == SHOWN
    assert "&lt;script&gt;\\x1b[31m" in served.page
    assert "<script>" not in served.page
    assert "Traceback" not in served.log


@in_one_worker
def test_who_takes_anothers_name_is_told_with_him_but_hides_whose_it_is(served: Served) -> None:
    """Names are no proof: where that matters choose by cgroup, as the first monitor does."""
    labels = {"monitor": "users", "target": "postgres"}
    assert served.metrics.value("damon_target_resident_bytes", **labels) == 97 * MIB
    assert served.metrics.value("damon_target_info", cgroup="", **labels) == 1


MOST_SERIES = 215
LIMITED = (
    f"export: {{publish: 100ms, max_series: {MOST_SERIES}}}"
    + """
kernel: {settle: 0s}
attribution: {cgroups: ["/*"], interval: 1s, samples: 1024}
monitors:
- {name: node, operations: paddr, intervals: {sample: 5ms, aggregation: 100ms}}
- name: groups
  operations: vaddr
  intervals: {sample: 1ms, aggregation: 20ms, update: 100ms}
  processes: {match: [{comm: small}, {comm: large}], refresh: 200ms}
"""
)


def test_a_scrape_keeps_to_its_limit_and_gives_up_what_is_worth_least_first(
    kernel: FakeKernel, config: ConfigFlag
) -> None:
    for pid, comm, mib in ((41, "small", 1), (42, "large", 64)):
        kernel.add_process(pid, comm, memory=[(GIB, GIB + mib * MIB, 0.0)])
    kernel.set_cgroups("/a", "/b")
    kernel.set_page_owners([(GIB, 2 * GIB, "anon", "/a"), (2 * GIB, 3 * GIB, "anon", "/b")])
    with Running(*path_flags(kernel.paths), config(LIMITED)) as running:
        running.wait_for(lambda: running.value("damon_exporter_series_dropped", metric="damon_cgroup_idle_age_seconds"))
        running.wait_for(lambda: running.value("damon_exporter_series_dropped", metric="damon_monitored_bytes"))
        metrics = Metrics.parse(running.fetch("/metrics")[1])
    dropped = {dict(of)["metric"]: int(count) for of, count in metrics.all("damon_exporter_series_dropped").items()}
    kept = [name for name, _ in metrics.samples if not name.startswith("process_")]
    given_up_first = ("damon_heatmap", "damon_target_info", "damon_cgroup", "damon_page_kind", "damon_numa")
    assert [name for name in kept if name.startswith(given_up_first)] == []
    assert (targets(metrics, "node"), targets(metrics, "groups")) == ({"physical"}, {"large"})
    assert {name: metrics.value("damon_monitor_up", monitor=name) for name in ("node", "groups")}
    of_first = {name: count for name, count in dropped.items() if name.startswith(given_up_first)}
    assert (of_first["damon_heatmap_access_seconds_total"], of_first["damon_target_info"]) == (80, 2)
    assert of_first["damon_cgroup_access_band_bytes"] == 2 * 4
    assert of_first["damon_page_kind_band_bytes"] == 8 * 4
    of_small = sum(dropped.values()) - sum(of_first.values())
    assert len(kept) <= MOST_SERIES < len(kept) + of_small


# Bad environments


def test_a_read_only_sys_is_observed_as_far_as_it_goes_and_said_so(
    kernel: FakeKernel, config: ConfigFlag, tmp_path: Path
) -> None:
    run_somebodys(kernel)
    before = everything(kernel)
    with read_only(kernel, tmp_path / "mnt") as paths, Running(*path_flags(paths), config(QUICK)) as running:
        running.wait_for(lambda: running.value("damon_control_blocked", reason="permission") == 1)
        assert running.value("damon_monitor_info", monitor="sysfs0", owner="foreign") == 1
        page = running.fetch("/")[1]
        assert "mounted read-write" in page
        assert running.fetch("/-/ready")[0] == 200
        assert running.stop() == 0
    assert "Traceback" not in running.ended_with
    assert everything(kernel) == before


def test_a_user_who_may_not_look_is_told_so(kernel: FakeKernel) -> None:
    command = (sys.executable, "-c", AS_NOBODY)
    relative = path_flags(KernelPaths(Path("sys"), Path("proc"), Path("sys/kernel/tracing")))
    with Running(*relative, command=command, cwd=kernel.root) as running:
        running.wait_for(lambda: running.value("damon_control_blocked", reason="permission") == 1)
        assert "run as uid 0 (no capability is needed)" in running.fetch("/")[1]
        assert running.fetch("/-/ready")[0] == 200
        assert running.stop() == 0
    assert "Traceback" not in running.ended_with


def test_writing_that_is_denied_whatever_the_modes_say_leaves_observing_on(
    kernel: FakeKernel, config: ConfigFlag
) -> None:
    """As AppArmor and SELinux do."""
    kernel.fail("*/nr_kdamonds", "write", errno.EACCES)
    with Running(*path_flags(kernel.paths), config(QUICK)) as running:
        running.wait_for(lambda: running.value("damon_control_blocked", reason="permission") == 1)
        kernel.clear_faults()
        running.wait_for(lambda: running.value("damon_control_blocked", reason="permission") == 0)
        running.wait_for(lambda: running.value("damon_monitor_up", monitor="node"))


# A command that is not answered


def test_a_stuck_command_is_told_while_everything_else_goes_on_and_ends(kernel: FakeKernel, config: ConfigFlag) -> None:
    kernel.delay("*/kdamonds/1/state", "write", 600, count=1)
    two = QUICK.replace("[{name: node", "[{name: node, operations: paddr}, {name: slow")
    with Running(*path_flags(kernel.paths), config(two)) as running:
        running.wait_for(lambda: running.value("damon_control_blocked", reason="stuck") == 1, seconds=40)
        before = running.value("damon_snapshots_total", monitor="node")
        assert before
        running.wait_for(lambda: running.value("damon_snapshots_total", monitor="node") > before)
        assert "has not been answered" in running.fetch("/")[1]
        assert running.stop() == 0
    assert "Traceback" not in running.ended_with


def test_the_port_is_free_after_sigkill_although_a_command_sleeps_unkillably(
    kernel: FakeKernel, config: ConfigFlag
) -> None:
    kernel.delay("*/kdamonds/0/state", "write", 600, count=1)
    with Running(*path_flags(kernel.paths), config(QUICK)) as running:
        running.wait_for(lambda: kernel.read("nr_kdamonds") == "1")
        port = running.port
        time.sleep(0.5)
        running.stop(signal.SIGKILL)
    socket.create_server(("127.0.0.1", port)).close()
    with Running(*path_flags(kernel.paths), config(QUICK)) as second:
        second.wait_for(lambda: second.value("damon_control_blocked", reason="foreign_kdamond") == 1)
        kernel.clear_faults()
        second.wait_for(lambda: second.value("damon_monitor_up", monitor="node"))
        assert second.stop() == 0
    assert kernel.read("nr_kdamonds") == "0"


# What ends the process


@pytest.fixture
def handlers() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    wakeup = signal.set_wakeup_fd(-1)
    yield
    signal.set_wakeup_fd(wakeup)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_signal_ends_waiting() -> None:
    stop = StopSignal()
    assert not stop.wait(0)
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.wait(5)


@pytest.mark.usefixtures("handlers")
def test_a_signal_that_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = StopSignal()
    os.kill(os.getpid(), signal.SIGHUP)
    assert not stop.wait(0.1)


@pytest.mark.usefixtures("handlers")
def test_a_thread_that_fails_ends_waiting_with_an_error() -> None:
    stop = StopSignal()
    stop.fail()
    with pytest.raises(Failed, match="the log says why"):
        stop.wait()
