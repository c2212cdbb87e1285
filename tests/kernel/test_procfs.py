"""Processes as /proc shows them, with whatever names they give themselves."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from damon_exporter.kernel import procfs
from damon_exporter.kernel.errors import Unsupported
from damon_exporter.testing.fake_kernel import FakeKernel

STAT = "{pid} ({comm}) {state} 1 1 1 0 -1 {flags} 0 0 0 0 {utime} {stime} 0 0 20 0 1 0 {start} 0 0\n"


def process_file(folder: Path, pid: int, comm: bytes, **fields: object) -> None:
    values = {"state": "S", "flags": 0, "utime": 0, "stime": 0, "start": 5, **fields}
    before, after = STAT.format(pid=pid, comm="\0", **values).encode().split(b"\0")
    (folder / str(pid)).mkdir(exist_ok=True)
    (folder / str(pid) / "stat").write_bytes(before + comm + after)


def test_a_process_is_found_with_its_name(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    found = procfs.process(kernel.procfs, 42)
    assert found
    assert (found.pid, found.comm, found.alive) == (42, "postgres", True)


def test_all_processes_are_listed_and_kernel_threads_told_apart(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    found = {process.pid: process for process in procfs.processes(kernel.procfs)}
    assert sorted(found) == [1, 2, 42]
    assert found[42].alive


@pytest.mark.parametrize(
    ("state", "flags", "alive"), [("R", 0, True), ("Z", 0, False), ("X", 0, False), ("S", 1 << 21, False)]
)
def test_zombies_the_dead_and_kernel_threads_have_no_memory(
    tmp_path: Path, state: str, flags: int, alive: bool
) -> None:
    process_file(tmp_path, 42, b"postgres", state=state, flags=flags)
    found = procfs.process(tmp_path, 42)
    assert found
    assert found.alive is alive


def test_cpu_time_is_that_of_user_and_system(tmp_path: Path) -> None:
    process_file(tmp_path, 42, b"kdamond.0", utime=3 * procfs.TICKS_PER_SECOND, stime=procfs.TICKS_PER_SECOND)
    found = procfs.process(tmp_path, 42)
    assert found
    assert found.cpu_seconds == 4.0


@given(st.binary(min_size=1, max_size=15).filter(lambda comm: b"\0" not in comm))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_is_read_back_byte_by_byte(tmp_path: Path, comm: bytes) -> None:
    process_file(tmp_path, 42, comm, start=7)
    found = procfs.process(tmp_path, 42)
    assert found
    assert (found.comm.encode(errors="surrogateescape"), found.start_ticks) == (comm, 7)


@pytest.mark.parametrize("text", ["", "42", "42 (postgres", "42 (postgres) S", "42 (postgres) S 1 1 1 0 -1 x"])
def test_a_torn_line_is_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "42").mkdir()
    (tmp_path / "42/stat").write_text(text)
    assert procfs.process(tmp_path, 42) is None


def test_a_process_that_has_ended_is_none(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    kernel.remove_process(42)
    assert procfs.process(kernel.procfs, 42) is None


def test_a_cgroup_whose_path_is_too_long_to_tell_is_told_from_that_of_a_process_that_has_ended(
    kernel: FakeKernel,
) -> None:
    kernel.add_process(42, "postgres", cgroup="/a")
    assert procfs.cgroup(kernel.procfs, 42) == "/a"
    kernel.fail("proc/42/cgroup", "read", errno.ENAMETOOLONG)
    assert procfs.cgroup(kernel.procfs, 42) == ""
    assert procfs.cgroup(kernel.procfs, 43) is None


def test_without_procfs_it_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="cannot list"):
        list(procfs.processes(tmp_path / "proc"))


def test_the_initial_pid_namespace_is_known_by_kthreadd(kernel: FakeKernel) -> None:
    assert procfs.is_initial_pid_namespace(kernel.procfs)
    kernel.add_process(2, "sh")
    assert not procfs.is_initial_pid_namespace(kernel.procfs)
    kernel.remove_process(2)
    assert not procfs.is_initial_pid_namespace(kernel.procfs)


@pytest.mark.parametrize(("off_by", "initial"), [(0, True), (1, False)])
def test_the_hosts_procfs_in_another_pid_namespace_knows_us_by_another_pid(
    kernel: FakeKernel, tmp_path: Path, off_by: int, initial: bool
) -> None:
    (tmp_path / "2").symlink_to(kernel.procfs / "2")
    (tmp_path / "self").symlink_to(str(os.getpid() + off_by))
    assert procfs.is_initial_pid_namespace(tmp_path) is initial


def test_the_release_is_that_of_the_kernel_that_is_looked_at(kernel: FakeKernel) -> None:
    assert procfs.kernel_release(kernel.procfs) == "7.3.0-fake"


def test_without_procfs_the_release_is_that_of_this_machine(tmp_path: Path) -> None:
    assert procfs.kernel_release(tmp_path)
