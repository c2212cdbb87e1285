"""What `damon-exporter doctor` finds: every "no" with its cause and its cure."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from driving import PHYSICAL, SETTLED, Driven, run_somebodys

from damon_exporter.config.loading import check
from damon_exporter.config.reading import parse
from damon_exporter.doctor import Finding, examine
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.testing.fake_kernel import FakeKernel


def told_of_db(paths: KernelPaths, match: str) -> str:
    """What it says of a monitor of processes that ``match``."""
    wanted = SETTLED + f"monitors: [{{name: db, operations: vaddr, processes: {{match: [{match}]}}}}]"
    return next(found.detail for found in examine(check(parse(wanted)), paths) if found.subject == "monitor db")


def test_a_monitor_that_is_blocked_and_has_nothing_to_watch_is_told_both(kernel: FakeKernel) -> None:
    run_somebodys(kernel)
    told = told_of_db(kernel.paths, "{comm: postgres}")
    assert "DAMON cannot be controlled now, see above for the cure" in told
    assert "no process matches comm 'postgres'" in told


def test_a_monitor_that_is_only_blocked_is_told_no_more(kernel: FakeKernel) -> None:
    run_somebodys(kernel)
    kernel.add_process(42, "postgres")
    told = told_of_db(kernel.paths, "{comm: postgres}")
    assert told == "does not run: DAMON cannot be controlled now, see above for the cure"


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        ("{pid: 4711}", "pid 4711 does not exist"),
        ("{pid: 4711}, {pid: 4712, comm: a}", "pids 4711, 4712 do not exist"),
    ],
)
def test_a_pid_that_does_not_exist_is_told_with_what_to_do(kernel: FakeKernel, match: str, reason: str) -> None:
    told = told_of_db(kernel.paths, match)
    assert told == f"does not start now: {reason}: give one that does, or comm to find a process whenever it starts"


def test_a_kernel_thread_is_not_waited_for(kernel: FakeKernel) -> None:
    told = told_of_db(kernel.paths, "{pid: 2}")
    assert "pid 2 is a kernel thread, which has no memory of its own: give the pid of a program" in told


@pytest.mark.parametrize("match", ["{pid: 4711}, {comm: postgres}", "{pid: 1, comm: postgres}"])
def test_what_else_matches_nothing_is_waited_for(kernel: FakeKernel, match: str) -> None:
    assert "waiting for one" in told_of_db(kernel.paths, match)


@pytest.mark.parametrize("there", [True, False], ids=["empty", "missing"])
def test_a_procfs_that_is_not_mounted_is_told_so(kernel: FakeKernel, tmp_path: Path, there: bool) -> None:
    procfs = tmp_path / "proc"
    if there:
        procfs.mkdir()
    told = told_of_db(KernelPaths(kernel.sysfs, procfs, kernel.tracefs), "{comm: postgres}")
    assert f"no process is to be seen in {procfs}: mount procfs there or set --path.procfs" in told


def test_another_pid_namespace_is_told_so(kernel: FakeKernel) -> None:
    kernel.add_process(2, "sh")
    assert "run in the host's (hostPID: true)" in told_of_db(kernel.paths, "{comm: sh}")


def told_of_node(paths: KernelPaths) -> Finding:
    (node,) = (found for found in examine(check(parse("")), paths) if found.subject == "monitor node")
    return node


def test_beside_an_exporter_a_monitor_is_left_to_that_one(kernel: FakeKernel) -> None:
    with Driven(kernel.paths) as another:
        assert another.look().watched
        assert told_of_node(kernel.paths).ok is None


def test_what_an_exporter_has_left_does_not_pass_for_one_that_lives(kernel: FakeKernel) -> None:
    with Driven(kernel.paths, PHYSICAL.replace("settle: 0s", "settle: 0s, on_exit: keep")) as gone:
        assert gone.look().watched
    kernel.write("0/state", "off")
    kernel.parameter("damon_stat", "enabled").write_text("Y")
    assert told_of_node(kernel.paths).ok is False


# Whose memory


@pytest.fixture
def attributing(tmp_path: Path) -> KernelPaths:
    """A host on which page frames can be looked at and whose cgroups are of version 2."""
    paths = KernelPaths(tmp_path / "sys", tmp_path / "proc", tmp_path / "tracing", tmp_path / "root")
    for file in (paths.procfs / "kpageflags", paths.procfs / "kpagecgroup"):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes(8))
    (paths.sysfs / "fs/cgroup").mkdir(parents=True)
    (paths.sysfs / "fs/cgroup/cgroup.controllers").write_text("cpu memory\n")
    paths.container_logs.mkdir(parents=True)
    return paths


ATTRIBUTION = "attribution: {cgroups: [/a], kinds: true}"


def findings(paths: KernelPaths, configuration: str) -> dict[str, tuple[bool | None, str]]:
    found = examine(check(parse(configuration)), paths)
    return {finding.subject: (finding.ok, finding.detail) for finding in found}


def test_attribution_that_is_to_be_had_is_told(attributing: KernelPaths) -> None:
    found = findings(attributing, ATTRIBUTION)
    assert found["attribution.kinds"][0] is found["attribution.cgroups"][0] is True


def test_attribution_that_is_not_to_be_had_is_told_with_the_cure(attributing: KernelPaths) -> None:
    (attributing.procfs / "kpageflags").unlink()
    (attributing.sysfs / "fs/cgroup/cgroup.controllers").unlink()
    found = findings(attributing, ATTRIBUTION)
    assert found["attribution.kinds"][0] is found["attribution.cgroups"][0] is False
    assert "set attribution.kinds: false" in found["attribution.kinds"][1]
    assert "mount the host's /sys/fs/cgroup" in found["attribution.cgroups"][1]


def test_attribution_is_not_told_of_where_nobody_asks_for_it(attributing: KernelPaths) -> None:
    assert not any("attribution" in subject for subject in findings(attributing, ""))


def test_it_is_told_how_many_containers_have_names(attributing: KernelPaths) -> None:
    assert "names of pods" not in findings(attributing, "")
    (attributing.container_logs / f"cart-1_shop_app-{'a' * 64}.log").touch()
    assert findings(attributing, "")["names of pods"] == (True, "1 containers have names")


def test_a_kubelet_that_does_not_answer_is_told(attributing: KernelPaths) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    found = findings(attributing, f"kubernetes: {{kubelet_url: 'https://127.0.0.1:{port}'}}")
    assert found["names of pods"][0] is False


def test_what_acts_on_memory_is_told_whoever_runs_it(kernel: FakeKernel) -> None:
    run_somebodys(kernel)
    kernel.write("0/contexts/0/schemes/nr_schemes", 2)
    kernel.write("0/contexts/0/schemes/1/action", "pageout")
    schemes = "[{name: s, action: lru_prio}]"
    wanted = f"kernel: {{allow_actions: true}}\nmonitors: [{{name: node, operations: paddr, schemes: {schemes}}}]"
    found = {finding.subject: finding.detail for finding in examine(check(parse(wanted)), kernel.paths)}
    assert found["slot 0"].endswith("it acts on memory: pageout")
    assert found["scheme s of node"] == "acts on memory: lru_prio"


def test_a_module_that_acts_is_told(fake_kernel: Callable[..., FakeKernel]) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_lru_sort"])
    found = {
        finding.subject: finding.detail for finding in examine(check(parse("")), kernel.paths) if finding.ok is None
    }
    assert found["damon_lru_sort"].endswith("it acts on memory: lru_prio, lru_deprio")
