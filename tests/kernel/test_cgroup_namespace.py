"""Cgroups of processes as the host names them, seen from within a container."""

import os
from pathlib import Path

import pytest

from damon_exporter.kernel.cgroup_namespace import CgroupNamespace
from damon_exporter.testing.fake_kernel import FakeKernel

OURS = "/kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope"


class Host:
    """A procfs and a tree of cgroups as a container sees them."""

    def __init__(self, folder: Path) -> None:
        self.procfs, self.sysfs = folder / "proc", folder / "sys"
        (self.sysfs / "fs/cgroup").mkdir(parents=True)

    def show(self, pid: int, cgroup: str, hierarchy: str = "0:") -> None:
        (self.procfs / str(pid)).mkdir(parents=True, exist_ok=True)
        (self.procfs / f"{pid}/cgroup").write_text(f"{hierarchy}:{cgroup}\n")

    def make(self, cgroup: str, *pids: int) -> None:
        folder = Path(f"{self.sysfs}/fs/cgroup{cgroup}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))

    def tells(self, pid: int) -> str:
        return CgroupNamespace(self.sysfs, self.procfs).of_process(pid)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    (host.sysfs / "fs/cgroup/cgroup.controllers").write_text("cpu memory\n")
    host.show(os.getpid(), "/")
    host.make("/system.slice/nginx.service", 41)
    host.make(OURS, 7, os.getpid())
    return host


def test_on_the_host_paths_are_as_they_are_shown(host: Host) -> None:
    host.show(os.getpid(), "/system.slice/damon-exporter.service")
    host.show(41, "/system.slice/nginx.service")
    assert host.tells(41) == "/system.slice/nginx.service"


@pytest.mark.parametrize(
    ("shown", "path"),
    [
        ("/../../../system.slice/nginx.service", "/system.slice/nginx.service"),
        ("/../cri-containerd-2.scope", "/kubepods.slice/kubepods-pod1.slice/cri-containerd-2.scope"),
        ("/../..", "/kubepods.slice"),
        ("/../../..", "/"),
    ],
)
def test_from_a_cgroup_namespace_of_our_own_paths_are_made_the_hosts(host: Host, shown: str, path: str) -> None:
    host.show(41, shown)
    assert host.tells(41) == path


def test_a_namespace_that_begins_above_our_cgroup_is_found_too(host: Host) -> None:
    host.show(os.getpid(), "/cri-containerd-1.scope")
    host.show(41, "/../kubepods-pod2.slice/cri-containerd-2.scope")
    assert host.tells(41) == "/kubepods.slice/kubepods-pod2.slice/cri-containerd-2.scope"


def test_where_the_hosts_tree_is_not_to_be_seen_paths_stay_relative(host: Host, tmp_path: Path) -> None:
    """Made absolute they might be those of others."""
    host.show(41, "/../../postgres.service")
    assert CgroupNamespace(tmp_path / "nowhere", host.procfs).of_process(41) == "/../../postgres.service"


def test_processes_of_our_own_container_are_known_by_the_hosts_name_of_it(host: Host) -> None:
    host.show(7, "/")
    host.show(41, "/worker")
    cgroups = CgroupNamespace(host.sysfs, host.procfs)
    assert [cgroups.of_process(pid) for pid in (7, 41)] == [OURS, f"{OURS}/worker"]


def test_our_own_cgroup_is_found_among_more_processes_than_one_read_tells(host: Host) -> None:
    host.make(OURS, *range(100_000, 300_000), os.getpid())
    host.show(41, "/worker")
    assert host.tells(41) == f"{OURS}/worker"


def test_of_a_process_that_has_ended_nothing_is_told(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    assert host.tells(4711) == ""
    assert caplog.text == ""


def test_what_the_kernel_cannot_tell_for_the_length_of_the_path_is_said_once(
    kernel: FakeKernel, caplog: pytest.LogCaptureFixture
) -> None:
    for pid in (41, 42):
        kernel.add_process(pid, "a", cgroup=f"/{pid}" + "/nested" * 600)
    kernel.add_process(43, "a", cgroup="/b")
    cgroups = CgroupNamespace(kernel.sysfs, kernel.procfs)
    assert [cgroups.of_process(pid) for pid in (41, 42, 43)] == ["", "", "/b"]
    assert [record.getMessage() for record in caplog.records] == [
        "pid 41 lies in cgroups nested so deep that the kernel cannot tell their path (ENAMETOOLONG): "
        "no cgroup or pod selector matches such a process"
    ]


# Version 1, which mounts each controller's tree in a folder of its own


@pytest.fixture
def host_of_version_1(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    for controller in ("cpu", "memory", "systemd"):
        host.make(f"/{controller}", 1)
    return host


MEMORY = "9:memory"


@pytest.mark.parametrize("cgroup", ["/kubepods/burstable/podX", "/docker/1"])
def test_on_a_host_with_version_1_paths_are_as_they_are_shown_wherever_our_other_controllers_have_us(
    host_of_version_1: Host, cgroup: str
) -> None:
    host_of_version_1.make("/memory", 1, os.getpid())
    host_of_version_1.make("/systemd/system.slice/damon-exporter.service", os.getpid())
    host_of_version_1.make("/cpu", 1, os.getpid())
    host_of_version_1.show(os.getpid(), "/", MEMORY)
    host_of_version_1.show(41, cgroup, MEMORY)
    assert host_of_version_1.tells(41) == cgroup


@pytest.mark.parametrize(
    ("shown", "path"), [("/../2", "/docker/2"), ("/", "/docker/1"), ("/../../system.slice/a", "/system.slice/a")]
)
def test_from_a_cgroup_namespace_on_a_host_with_version_1_paths_are_made_those_of_the_memory_controller(
    host_of_version_1: Host, shown: str, path: str
) -> None:
    host_of_version_1.make("/cpu/docker/1", os.getpid())
    host_of_version_1.make("/memory/docker/1", os.getpid())
    host_of_version_1.show(os.getpid(), "/", MEMORY)
    host_of_version_1.show(41, shown, MEMORY)
    assert host_of_version_1.tells(41) == path


def test_a_container_that_sees_only_its_own_part_of_version_1_leaves_paths_relative(host_of_version_1: Host) -> None:
    host_of_version_1.make("/memory", os.getpid())
    host_of_version_1.make("/cpu/worker", os.getpid())
    host_of_version_1.show(os.getpid(), "/", MEMORY)
    host_of_version_1.show(41, "/../2", MEMORY)
    assert host_of_version_1.tells(41) == "/../2"


def test_on_a_mixture_without_the_memory_controller_of_version_1_the_unified_tree_counts(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.make("/cpu/docker/1", os.getpid())
    host.make("/unified/system.slice/docker-1.scope", os.getpid())
    host.show(os.getpid(), "/")
    (host.procfs / f"{os.getpid()}/cgroup").write_text("3:cpu:/\n0::/\n")
    host.show(41, "/../docker-2.scope", "3:cpu:/docker/2\n0:")
    assert host.tells(41) == "/system.slice/docker-2.scope"
