"""The fake kernel's files: what is there, what they take, and what becomes of them."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from driving import wait_for
from staging import CONTEXT, Start, errno_of, stage_physical

from damon_exporter.testing.fake_kernel import FakeKernel


def write_raw(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def sleeps_with_open(pid: int, output: Path) -> bool:
    """Does a process whose output is this file wait for something?"""
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state in "SD" and Path(f"/proc/{pid}/fd/1").readlink() == output


def test_a_fresh_kernel_has_no_kdamonds(kernel: FakeKernel) -> None:
    assert sorted(path.name for path in kernel.kdamonds.iterdir()) == ["nr_kdamonds"]
    assert kernel.read("nr_kdamonds") == "0"


@pytest.mark.parametrize(
    ("file", "default"),
    [
        ("state", "off"),
        ("pid", "-1"),
        ("contexts/0/operations", "vaddr"),
        ("contexts/0/monitoring_attrs/intervals/sample_us", "5000"),
        ("contexts/0/monitoring_attrs/intervals/aggr_us", "100000"),
        ("contexts/0/monitoring_attrs/intervals/update_us", "60000000"),
        ("contexts/0/monitoring_attrs/nr_regions/min", "10"),
        ("contexts/0/monitoring_attrs/nr_regions/max", "1000"),
        ("contexts/0/schemes/0/action", "stat"),
        ("contexts/0/schemes/0/access_pattern/sz/max", "0"),
        ("contexts/0/schemes/0/filters/nr_filters", "0"),
    ],
)
def test_files_have_the_defaults_of_the_kernel(kernel: FakeKernel, file: str, default: str) -> None:
    stage_physical(kernel)
    kernel.write("0/contexts/nr_contexts", 1)
    kernel.write(f"{CONTEXT}/schemes/nr_schemes", 1)
    assert kernel.read(f"0/{file}") == default


@pytest.mark.parametrize(
    ("name", "file", "there"),
    [
        ("6.12", "refresh_ms", False),
        ("7.3", "refresh_ms", True),
        ("6.12", "contexts/0/monitoring_attrs/intervals/intervals_goal", False),
        ("7.3", "contexts/0/monitoring_attrs/intervals/intervals_goal/access_bp", True),
        ("6.12", "contexts/0/schemes/0/core_filters", False),
        ("7.3", "contexts/0/schemes/0/core_filters/nr_filters", True),
        ("6.12", "contexts/0/schemes/0/stats/nr_snapshots", False),
        ("7.3", "contexts/0/schemes/0/stats/nr_snapshots", True),
        ("7.3", "contexts/0/monitoring_attrs/probes/nr_probes", True),
        ("6.12", "contexts/0/schemes/0/apply_interval_us", True),
    ],
)
def test_a_kernel_has_the_files_of_its_release(fake_kernel: Start, name: str, file: str, there: bool) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel)
    kernel.write(f"{CONTEXT}/schemes/nr_schemes", 1)
    assert (kernel.kdamonds / "0" / file).exists() is there


def test_files_have_the_modes_of_the_kernel(kernel: FakeKernel) -> None:
    kernel.write("nr_kdamonds", 1)
    modes = {name: stat.S_IMODE((kernel.kdamonds / "0" / name).stat().st_mode) for name in ("state", "pid", "contexts")}
    assert modes == {"state": 0o600, "pid": 0o400, "contexts": 0o755}


def test_not_even_root_can_open_a_read_only_file_for_writing(kernel: FakeKernel) -> None:
    kernel.write("nr_kdamonds", 1)
    assert errno_of(lambda: os.open(kernel.kdamonds / "0/pid", os.O_WRONLY)) == errno.EACCES


def test_somebody_without_rights_is_refused(kernel: FakeKernel, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o111)
    program = f"import os; os.setgid(65534); os.setuid(65534); os.open('{kernel.kdamonds}/nr_kdamonds', os.O_RDONLY)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "PermissionError" in done.stderr


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"7", "7"),
        (b"7\n", "7"),
        (b"+7\n", "7"),
        (b"0x10\n", "16"),
        (b"020\n", "16"),
        (b"18446744073709551615", str(2**64 - 1)),
    ],
)
def test_numbers_are_parsed_with_base_0(kernel: FakeKernel, written: bytes, read: str) -> None:
    stage_physical(kernel)
    write_raw(kernel.kdamonds / f"{CONTEXT}/monitoring_attrs/nr_regions/max", written)
    assert kernel.read(f"{CONTEXT}/monitoring_attrs/nr_regions/max") == read


@pytest.mark.parametrize(
    ("written", "error"),
    [
        (b"seven", errno.EINVAL),
        (b" 7", errno.EINVAL),
        (b"7 8", errno.EINVAL),
        (b"-7", errno.EINVAL),
        (b"08", errno.EINVAL),
        (b"\n", errno.EINVAL),
        (b"18446744073709551616", errno.ERANGE),
    ],
)
def test_what_is_no_number_is_refused(kernel: FakeKernel, written: bytes, error: int) -> None:
    stage_physical(kernel)
    file = kernel.kdamonds / f"{CONTEXT}/monitoring_attrs/nr_regions/max"
    assert errno_of(lambda: write_raw(file, written)) == error
    assert file.read_text() == "1000\n"


@pytest.mark.parametrize(
    ("file", "value"),
    [("0/contexts/nr_contexts", 2), ("nr_kdamonds", -1), (f"{CONTEXT}/operations", "maddr"), ("0/state", "start")],
)
def test_values_that_the_kernel_does_not_know_are_refused(kernel: FakeKernel, file: str, value: object) -> None:
    stage_physical(kernel)
    assert errno_of(lambda: kernel.write(file, value)) == errno.EINVAL


def test_writing_a_number_of_folders_makes_all_of_them_anew_even_if_it_is_the_same(kernel: FakeKernel) -> None:
    stage_physical(kernel)
    file = kernel.kdamonds / f"{CONTEXT}/targets/0/regions/0/start"
    before = file.stat().st_ino
    kernel.write(f"{CONTEXT}/targets/0/regions/nr_regions", 1)
    assert file.stat().st_ino != before
    assert file.read_text() == "0\n"


def test_folders_beyond_the_number_are_gone(kernel: FakeKernel) -> None:
    kernel.write("nr_kdamonds", 3)
    assert (kernel.kdamonds / "2/state").read_text() == "off\n"
    kernel.write("nr_kdamonds", 2)
    assert errno_of(lambda: kernel.read("2/state")) == errno.ENOENT
    assert sorted(path.name for path in kernel.kdamonds.iterdir()) == ["0", "1", "nr_kdamonds"]


def test_an_open_file_whose_folder_was_made_anew_answers_enodev(kernel: FakeKernel) -> None:
    kernel.write("nr_kdamonds", 1)
    with (kernel.kdamonds / "0/state").open("rb", buffering=0) as state:
        kernel.write("nr_kdamonds", 1)
        assert errno_of(state.read) == errno.ENODEV


def test_a_shell_can_write(kernel: FakeKernel) -> None:
    subprocess.run(["sh", "-c", f"echo 2 > {kernel.kdamonds}/nr_kdamonds"], check=True)
    assert kernel.read("nr_kdamonds") == "2"


def test_users_can_neither_make_nor_remove_files(kernel: FakeKernel) -> None:
    kernel.write("nr_kdamonds", 1)
    assert errno_of((kernel.kdamonds / "new").mkdir) == errno.EPERM
    assert errno_of((kernel.kdamonds / "0").rmdir) == errno.EPERM
    assert errno_of(lambda: os.open(kernel.kdamonds / "file", os.O_CREAT | os.O_WRONLY)) is not None


def test_an_exclusive_flock_keeps_other_processes_out(kernel: FakeKernel) -> None:
    program = f"import fcntl; fcntl.flock(open('{kernel.kdamonds}/nr_kdamonds'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    with (kernel.kdamonds / "nr_kdamonds").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refused = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    granted = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert "BlockingIOError" in refused.stderr
    assert granted.returncode == 0


def test_processes_come_and_go(kernel: FakeKernel) -> None:
    kernel.add_process(42, "a (b) c", cmdline=["/bin/a", "--b"], cgroup="/work.slice", rss=8 << 20)
    process = kernel.procfs / "42"
    assert (process / "comm").read_text() == "a (b) c\n"
    assert (process / "cmdline").read_bytes() == b"/bin/a\0--b\0"
    assert (process / "cgroup").read_text() == "0::/work.slice\n"
    assert (process / "stat").read_text().startswith("42 (a (b) c) S 1 ")
    assert (process / "statm").read_text().split()[1] == str((8 << 20) // 4096)
    assert "RssAnon:\t    8192 kB\n" in (process / "status").read_text()
    kernel.remove_process(42)
    assert not process.exists()


def test_a_name_of_any_bytes_is_shown_as_it_is_but_in_status(kernel: FakeKernel) -> None:
    """Seen on 6.18: stat does not escape it, status does."""
    kernel.add_process(42, os.fsdecode(b'a\nb\\c\xff)" x'))
    assert (kernel.procfs / "42/comm").read_bytes() == b'a\nb\\c\xff)" x\n'
    assert (kernel.procfs / "42/stat").read_bytes().startswith(b'42 (a\nb\\c\xff)" x) S 1 ')
    assert (kernel.procfs / "42/status").read_bytes().startswith(b'Name:\ta\\nb\\\\c\xff)" x\nState:')


def test_processes_are_as_old_as_the_test_wants(kernel: FakeKernel) -> None:
    kernel.add_process(42, "old")
    kernel.add_process(43, "new", age=0.5)
    assert start_ticks(kernel, 42) == 42
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks(kernel, 43) / os.sysconf("SC_CLK_TCK")
    assert 0.4 < seconds < 5.0


def start_ticks(kernel: FakeKernel, pid: int) -> int:
    return int((kernel.procfs / f"{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_who_looks_for_himself_finds_nobody(kernel: FakeKernel) -> None:
    """Pids of the fake are not this machine's: who found himself here would open pidfds of strangers."""
    assert not (kernel.procfs / "self").exists()


def test_process_2_is_kthreadd(kernel: FakeKernel) -> None:
    assert (kernel.procfs / "2/comm").read_text() == "kthreadd\n"


def test_a_fault_strikes_as_often_as_ordered(kernel: FakeKernel) -> None:
    kernel.write("nr_kdamonds", 1)
    kernel.fail("*/kdamonds/0/state", "read", errno.EBUSY, count=2)
    assert [errno_of(lambda: kernel.read("0/state")) for _ in range(3)] == [errno.EBUSY, errno.EBUSY, None]


def test_a_fault_on_open_makes_the_tree_read_only(kernel: FakeKernel) -> None:
    kernel.fail("sys/kernel/mm/damon/*", "open", errno.EROFS)
    assert errno_of(lambda: kernel.write("nr_kdamonds", 1)) == errno.EROFS
    kernel.clear_faults()
    kernel.write("nr_kdamonds", 1)


def test_leaving_the_context_unmounts_even_while_a_file_is_open_and_a_write_hangs(tmp_path: Path) -> None:
    with FakeKernel(tmp_path / "kernel") as kernel:
        kernel.write("nr_kdamonds", 1)
        kernel.delay("*/state", "write", 600)
        hanging = subprocess.Popen(["sh", "-c", f"echo on > {kernel.kdamonds}/0/state"], stderr=subprocess.DEVNULL)
        kept = (kernel.kdamonds / "nr_kdamonds").open()
    assert not os.path.ismount(kernel.root)
    assert hanging.wait(10) != 0
    with pytest.raises(OSError, match="endpoint"):
        kept.read()
    kept.close()


def test_a_reboot_ends_and_forgets_everything(fake_kernel: Start) -> None:
    kernel = fake_kernel(enabled=["damon_stat"])
    kernel.parameter("damon_stat", "enabled").write_text("N")
    stage_physical(kernel)
    kernel.write("0/state", "on")
    kernel.add_process(42, "busy")
    kernel.delay("*/state", "write", 600)
    (kernel.tracefs / "instances/left").mkdir()
    with (kernel.tracefs / "instances/left/per_cpu/cpu0/trace_pipe_raw").open("rb", buffering=0) as pipe:
        hanging = subprocess.Popen(["sh", "-c", f"echo off > {kernel.kdamonds}/0/state"], stderr=subprocess.DEVNULL)
        wait_for(lambda: sleeps_with_open(hanging.pid, kernel.kdamonds / "0/state"))
        kernel.reboot()
        assert errno_of(lambda: pipe.read(1)) == errno.ENODEV
    assert hanging.wait(5) != 0
    assert kernel.read("nr_kdamonds") == "0"
    assert list((kernel.tracefs / "instances").iterdir()) == []
    assert sorted(path.name for path in kernel.procfs.glob("[0-9]*")) == ["1", "2", "700"]
    assert kernel.parameter("damon_stat", "enabled").read_text() == "Y\n"
