"""Cgroups of processes as the host names them, seen from within a container."""

import os
from pathlib import Path

import pytest

from damon_exporter.kernel.cgroup_namespace import CgroupNamespace

OURS = "/kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope"


class Host:
    """A procfs and a tree of cgroups as a container sees them."""

    def __init__(self, folder: Path) -> None:
        self.procfs, self.sysfs = folder / "proc", folder / "sys"
        (self.sysfs / "fs/cgroup").mkdir(parents=True)

    def show(self, pid: int, cgroup: str) -> None:
        (self.procfs / str(pid)).mkdir(parents=True, exist_ok=True)
        (self.procfs / f"{pid}/cgroup").write_text(f"0::{cgroup}\n")

    def make(self, cgroup: str, *pids: int) -> None:
        folder = Path(f"{self.sysfs}/fs/cgroup{cgroup}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))

    def tells(self, pid: int) -> str:
        return CgroupNamespace(self.sysfs, self.procfs).of_process(pid)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
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


def test_of_a_process_that_has_ended_nothing_is_told(host: Host) -> None:
    assert host.tells(4711) == ""
