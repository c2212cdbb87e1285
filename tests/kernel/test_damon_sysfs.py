"""Slots and their files: one write a value, every value read back, and patience with other people's commands."""

import errno
import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from damon_exporter.analysis.snapshot import Intervals
from damon_exporter.kernel.damon_sysfs import DamonTree, Slot
from damon_exporter.kernel.errors import Busy, Denied, Gone, KernelError, NotOurs, Rejected, Unsupported
from damon_exporter.kernel.files import is_there, names_in, patiently_write, read_number, read_value
from damon_exporter.testing.fake_kernel import FakeKernel

SAMPLE = "contexts/0/monitoring_attrs/intervals/sample_us"
AGGREGATION = "contexts/0/monitoring_attrs/intervals/aggr_us"


@pytest.fixture(params=["6.12", "7.3"])
def kernel(request: pytest.FixtureRequest, fake_kernel: Callable[..., FakeKernel]) -> FakeKernel:
    """A kernel with one slot and its context."""
    kernel: FakeKernel = fake_kernel(kernel=request.param)
    kernel.write("nr_kdamonds", 1)
    kernel.write("0/contexts/nr_contexts", 1)
    return kernel


@pytest.fixture
def tree(kernel: FakeKernel) -> DamonTree:
    return DamonTree(kernel.paths.damon_admin)


@pytest.fixture
def slot(tree: DamonTree) -> Slot:
    return tree.slot(0)


def turn_on(kernel: FakeKernel) -> int:
    kernel.write("0/contexts/0/operations", "paddr")
    kernel.write("0/contexts/0/targets/nr_targets", 1)
    kernel.write("0/state", "on")
    return int(kernel.read("0/pid"))


def test_slots_are_made_and_thrown_away(kernel: FakeKernel, tree: DamonTree) -> None:
    tree.resize(3)
    assert [slot.index for slot in tree.slots()] == [0, 1, 2]
    tree.resize(0)
    assert list(tree.slots()) == []


def test_slots_are_not_made_anew_while_one_runs(kernel: FakeKernel, tree: DamonTree) -> None:
    turn_on(kernel)
    with pytest.raises(Busy, match="another command or another user of DAMON is in the way"):
        tree.resize(2)


def test_a_kdamond_has_a_pid_only_while_it_runs(kernel: FakeKernel, slot: Slot) -> None:
    assert (slot.running(), slot.pid()) == (False, 0)
    pid = turn_on(kernel)
    assert (slot.running(), slot.pid()) == (True, pid)
    kernel.kill_kdamond()
    assert (slot.running(), slot.pid()) == (False, 0)


def test_what_was_written_is_read_back(slot: Slot) -> None:
    slot.write([(SAMPLE, "6000")])
    assert slot.number(SAMPLE) == 6000
    assert slot.intervals() == Intervals(6000, 100_000)


def test_intervals_that_are_refreshed_between_two_reads_are_read_again(kernel: FakeKernel, slot: Slot) -> None:
    def refresh() -> None:
        kernel.write(f"0/{SAMPLE}", 10_000)
        kernel.write(f"0/{AGGREGATION}", 200_000)

    kernel.delay(f"*/{AGGREGATION}", "read", 0.3, count=1)
    tuning = threading.Timer(0.1, refresh)
    tuning.start()
    assert slot.intervals() == Intervals(10_000, 200_000)
    tuning.join()


def test_intervals_that_never_stand_still_are_not_believed(kernel: FakeKernel, slot: Slot) -> None:
    kernel.delay(f"*/{AGGREGATION}", "read", 0.2)
    restless = threading.Event()

    def refresh() -> None:
        for sample in itertools.count(5_000):
            if restless.wait(0.005):
                return
            kernel.write(f"0/{SAMPLE}", sample)

    tuning = threading.Thread(target=refresh)
    tuning.start()
    try:
        with pytest.raises(Busy, match="the intervals change all the time"):
            slot.intervals()
    finally:
        restless.set()
        tuning.join()


def test_a_value_that_reads_back_otherwise_is_refused(kernel: FakeKernel, slot: Slot) -> None:
    path = slot.folder / SAMPLE
    kernel.delay(f"*/{SAMPLE}", "read", 0.3, count=1)
    meddler = threading.Timer(0.1, lambda: kernel.write(f"0/{SAMPLE}", 7000))
    meddler.start()
    with pytest.raises(NotOurs, match=rf"wrote '6000' to {path}, but it reads '7000': another tool"):
        slot.write([(SAMPLE, "6000")])
    meddler.join()


def test_numbers_are_equal_however_they_are_written(slot: Slot) -> None:
    slot.write([(SAMPLE, "6000")])
    assert slot.difference([(SAMPLE, "06000")]) is None


def test_the_first_difference_is_named(slot: Slot) -> None:
    assert slot.difference([("contexts/0/operations", "vaddr"), (SAMPLE, "1")]) == f"{SAMPLE} is '5000', not '1'"


def test_a_file_that_is_gone_is_a_difference(kernel: FakeKernel, slot: Slot) -> None:
    kernel.write("0/contexts/nr_contexts", 0)
    assert "no such file" in (slot.difference([(SAMPLE, "5000")]) or "")


def test_reading_waits_for_another_tools_command(kernel: FakeKernel, slot: Slot) -> None:
    kernel.fail("*/0/state", "read", errno.EBUSY, count=5)
    assert slot.running() is False


def test_reading_does_not_wait_for_ever(kernel: FakeKernel, slot: Slot) -> None:
    kernel.fail("*/0/state", "read", errno.EBUSY)
    with pytest.raises(Busy):
        slot.running()


def test_writing_waits_for_another_tools_command(kernel: FakeKernel, tree: DamonTree) -> None:
    kernel.fail("*/nr_kdamonds", "write", errno.EBUSY, count=5)
    tree.resize(2)
    assert tree.size() == 2


@pytest.mark.parametrize(
    ("error", "kind", "cure"),
    [
        (errno.EACCES, Denied, "run as uid 0"),
        (errno.EPERM, Denied, "AppArmor, SELinux and lockdown"),
        (errno.EROFS, Denied, "mount this folder read-write"),
        (errno.ENODEV, Gone, "another tool has made the folder anew"),
        (errno.EINVAL, Rejected, "the kernel refused the value"),
        (errno.EIO, KernelError, "Input/output error"),
    ],
)
def test_errors_name_the_file_the_cause_and_the_cure(
    kernel: FakeKernel, slot: Slot, error: int, kind: type[KernelError], cure: str
) -> None:
    kernel.fail(f"*/{SAMPLE}", "write", error)
    with pytest.raises(kind, match=cure) as refused:
        slot.write([(SAMPLE, "6000")])
    assert f"cannot write '6000' to {slot.folder / SAMPLE}" in str(refused.value)
    assert errno.errorcode[error] in str(refused.value)


# Files, on plain folders


def test_a_missing_file_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="this kernel does not have it, or the mount is missing"):
        read_value(tmp_path / "nr_kdamonds")
    with pytest.raises(Unsupported):
        patiently_write(tmp_path / "nr_kdamonds", 1)
    with pytest.raises(Unsupported):
        names_in(tmp_path / "kdamonds")


def test_what_is_no_number_is_told_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "nr_kdamonds"
    file.write_text("many\n")
    with pytest.raises(Rejected, match=rf"{file} reads 'many', which is no number"):
        read_number(file)


def test_bytes_that_are_no_text_are_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "comm").write_bytes(b"\xff\xfe\n")
    assert read_value(tmp_path / "comm").encode(errors="surrogateescape") == b"\xff\xfe"


def test_a_file_below_a_file_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert is_there(tmp_path / "file")
    assert not is_there(tmp_path / "file/below")
