"""The fake kernel's cgroups, which are those of version 2: what there is of each, and how they come and go."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from damon_exporter.kernel.cgroups import CgroupTree
from damon_exporter.testing.fake_kernel import FakeKernel


@pytest.fixture
def root(kernel: FakeKernel) -> Path:
    return kernel.sysfs / "fs/cgroup"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def cgroups(root: Path) -> set[str]:
    return {f"/{path.relative_to(root)}" for path in root.rglob("*") if path.is_dir()}


def test_the_root_of_all_lacks_the_files_that_every_other_cgroup_has(kernel: FakeKernel, root: Path) -> None:
    """Kernel: admin-guide/cgroup-v2.rst, "exists on non-root cgroups"."""
    kernel.set_cgroups("/a")
    assert names(root) == ["a", "cgroup.controllers", "cgroup.procs", "init.scope"]
    assert names(root / "a") == ["cgroup.controllers", "cgroup.events", "cgroup.procs", "memory.current"]
    assert "memory" in (root / "cgroup.controllers").read_text().split()
    assert CgroupTree(kernel.sysfs).unsupported() is None


def test_every_cgroup_of_a_process_is_there_with_those_above_it(kernel: FakeKernel, root: Path) -> None:
    kernel.add_process(42, "nginx", cgroup="/system.slice/nginx.service")
    assert cgroups(root) == {"/init.scope", "/system.slice", "/system.slice/nginx.service"}
    assert (root / "system.slice/nginx.service/cgroup.procs").read_text() == "42\n"
    assert (root / "system.slice/cgroup.procs").read_text() == ""
    assert (root / "cgroup.procs").read_text() == "2\n"


def test_a_cgroup_is_populated_if_a_process_is_in_it_or_below(kernel: FakeKernel, root: Path) -> None:
    kernel.set_cgroups("/a/c")
    kernel.add_process(42, "busy", cgroup="/a/b")
    populated = {path: (root / path / "cgroup.events").read_text().split()[1] for path in ("a", "a/b", "a/c")}
    assert populated == {"a": "1", "a/b": "1", "a/c": "0"}


def test_a_zombie_is_in_no_cgroup_any_more_but_still_shows_which_it_was(kernel: FakeKernel, root: Path) -> None:
    """Kernel: "While a zombie doesn't show up in cgroup.procs … its /proc/PID/cgroup keeps reporting the cgroup"."""
    kernel.set_cgroups("/a")
    kernel.add_process(42, "busy", cgroup="/a")
    kernel.end_process(42)
    assert (root / "a/cgroup.procs").read_text() == ""
    assert (kernel.procfs / "42/cgroup").read_text() == "0::/a\n"


def test_cgroups_that_are_named_come_and_go(kernel: FakeKernel, root: Path) -> None:
    kernel.set_cgroups("/a/b", "/c")
    assert cgroups(root) == {"/init.scope", "/a", "/a/b", "/c"}
    kernel.set_cgroups("/c", "/d")
    assert cgroups(root) == {"/init.scope", "/c", "/d"}
    assert not (root / "a/b").exists()


@pytest.mark.parametrize("leaves", [FakeKernel.remove_process, FakeKernel.end_process], ids=["reaped", "zombie"])
def test_a_cgroup_vanishes_with_its_last_process_unless_it_is_named(
    kernel: FakeKernel, root: Path, leaves: Callable[[FakeKernel, int], None]
) -> None:
    kernel.set_cgroups("/kept")
    for pid, cgroup in ((41, "/kept/a"), (42, "/given-up/a"), (43, "/given-up/b"), (44, "/given-up/a")):
        kernel.add_process(pid, "busy", cgroup=cgroup)
    leaves(kernel, 42)
    assert {"/kept/a", "/given-up/a", "/given-up/b"} <= cgroups(root)
    for pid in (41, 43, 44):
        leaves(kernel, pid)
    assert cgroups(root) == {"/init.scope", "/kept"}


def test_a_process_that_moves_takes_its_cgroup_with_it(kernel: FakeKernel, root: Path) -> None:
    kernel.add_process(42, "busy", cgroup="/a")
    kernel.add_process(42, "busy", cgroup="/b")
    assert cgroups(root) == {"/init.scope", "/b"}


def test_an_inode_is_never_used_again(kernel: FakeKernel, root: Path) -> None:
    """Kernel: kernfs counts them up in 64 bits."""
    seen = []
    for _ in range(3):
        kernel.set_cgroups("/a")
        seen.append((root / "a").stat().st_ino)
        kernel.set_cgroups()
    assert len(set(seen)) == 3


def test_a_listing_tells_the_inodes_that_stat_tells(kernel: FakeKernel, root: Path) -> None:
    kernel.set_cgroups("/a/b", "/c")
    with os.scandir(root) as entries:
        assert all(entry.inode() == entry.stat().st_ino for entry in entries)


def test_names_may_hold_any_bytes(kernel: FakeKernel, root: Path) -> None:
    name = os.fsdecode(b'\xff\xfe"\x1b[31m')
    kernel.add_process(42, "busy", cgroup=f"/{name}")
    assert name in names(root)
    assert (root / name / "cgroup.procs").read_text() == "42\n"
    assert (kernel.procfs / "42/cgroup").read_bytes() == b'0::/\xff\xfe"\x1b[31m\n'
    kernel.remove_process(42)
    assert not (root / name).exists()


@pytest.mark.parametrize("path", ["/../../a", "/" + "x" * 256, "/a/./b"], ids=["outside", "long", "dot"])
def test_what_can_be_no_folder_of_ours_is_none(kernel: FakeKernel, root: Path, path: str) -> None:
    """Processes in another cgroup namespace are told to be in ``/..``."""
    kernel.add_process(42, "busy", cgroup=path)
    assert (kernel.procfs / "42/cgroup").read_text() == f"0::{path}\n"
    assert cgroups(root) == {"/init.scope"}
