"""Commands to kdamonds through the helper process: what comes back, and what happens when nothing does."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from driving import wait_for

from damon_exporter.kernel.commands import CommandWriter
from damon_exporter.kernel.damon_sysfs import DamonTree
from damon_exporter.kernel.errors import Busy, Denied, Gone, KernelError, NotOurs, Rejected, Stuck, Unsupported
from damon_exporter.kernel.ownership import TreeLock
from damon_exporter.testing.fake_kernel import FakeKernel

STATE = "*/kdamonds/0/state"
DEADLINE = 0.4

COMMAND_AND_HANG = """
import sys
from pathlib import Path
from damon_exporter.kernel.commands import CommandWriter
from damon_exporter.kernel.damon_sysfs import DamonTree
from damon_exporter.kernel.ownership import TreeLock
tree = DamonTree(Path(sys.argv[1]))
writer = CommandWriter([TreeLock(tree).fd])
writer.write(tree.slot(0).folder / "refresh_ms", "0")
print("the helper runs", flush=True)
writer.write(tree.slot(0).state_file, "on")
"""


@pytest.fixture
def kernel(fake_kernel: Callable[..., FakeKernel]) -> FakeKernel:
    """A kernel with one kdamond that is staged and off."""
    kernel: FakeKernel = fake_kernel(kernel="7.3")
    kernel.write("nr_kdamonds", 1)
    kernel.write("0/contexts/nr_contexts", 1)
    kernel.write("0/contexts/0/operations", "paddr")
    kernel.write("0/contexts/0/targets/nr_targets", 1)
    return kernel


@pytest.fixture
def state(kernel: FakeKernel) -> Path:
    return kernel.kdamonds / "0/state"


@pytest.fixture
def writer(kernel: FakeKernel) -> Iterator[CommandWriter]:
    writer = CommandWriter(deadline=DEADLINE)
    writer.submit(kernel.kdamonds / "0/refresh_ms", "0", longer=10.0).result()  # the helper takes a while to start
    yield writer
    kernel.clear_faults()
    writer.close()


def helper_of(exporter: int) -> int:
    """The pid of the helper process that an exporter has."""
    (helper,) = [
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if parent_of(process) == exporter and b"command_process" in (process / "cmdline").read_bytes()
    ]
    return helper


def parent_of(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def is_writing(helper: int) -> bool:
    """Has it opened the file of a command?"""
    return any(fd.readlink().name == "state" for fd in Path(f"/proc/{helper}/fd").iterdir())


def stick(kernel: FakeKernel, writer: CommandWriter, state: Path) -> None:
    kernel.delay(STATE, "write", 60, count=1)
    with pytest.raises(Stuck):
        writer.write(state, "on")


def test_a_command_is_done_when_write_returns(kernel: FakeKernel, writer: CommandWriter, state: Path) -> None:
    writer.write(state, "on")
    assert kernel.read("0/state") == "on"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errno.EINVAL, Rejected),
        (errno.ENOMEM, Rejected),
        (errno.ECANCELED, Gone),
        (errno.ENODEV, Gone),
        (errno.EACCES, Denied),
        (errno.EROFS, Denied),
        (errno.ENOENT, Unsupported),
        (errno.EIO, KernelError),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else value.__name__,
)
def test_a_refusal_is_explained(
    kernel: FakeKernel, writer: CommandWriter, state: Path, error: int, kind: type[KernelError]
) -> None:
    kernel.fail(STATE, "write", error)
    with pytest.raises(kind, match=f"cannot write 'on' to .*/0/state: .*{errno.errorcode[error]}"):
        writer.write(state, "on")


def test_before_every_try_it_is_checked_whether_the_command_may_still_be_given(
    kernel: FakeKernel, writer: CommandWriter, state: Path
) -> None:
    """EBUSY comes from somebody else's command: after it, what runs here may be his."""
    kernel.fail(STATE, "write", errno.EBUSY, count=1)
    tries = []

    def ours_only_at_first() -> None:
        tries.append(kernel.read("0/state"))
        if len(tries) > 1:
            raise NotOurs("somebody's by now")

    with pytest.raises(NotOurs):
        writer.write(state, "on", ours_only_at_first)
    assert tries == ["off", "off"]
    assert kernel.read("0/state") == "off"


def test_what_waits_is_dropped_and_what_is_under_way_is_waited_for(
    kernel: FakeKernel, writer: CommandWriter, state: Path
) -> None:
    kernel.delay(STATE, "write", 0.3, count=1)
    under_way = writer.submit(state, "on", longer=10.0)
    wait_for(under_way.running)
    waiting = writer.submit(state, "off")
    writer.settle()
    assert under_way.done()
    assert waiting.cancelled()
    assert kernel.read("0/state") == "on"


def test_a_short_storm_of_ebusy_is_sat_out(kernel: FakeKernel, writer: CommandWriter, state: Path) -> None:
    kernel.fail(STATE, "write", errno.EBUSY, count=4)
    writer.write(state, "on")
    assert kernel.read("0/state") == "on"


def test_a_long_storm_of_ebusy_is_told(kernel: FakeKernel, writer: CommandWriter, state: Path) -> None:
    kernel.fail(STATE, "write", errno.EBUSY)
    with pytest.raises(Busy):
        writer.write(state, "on")


def test_a_command_without_answer_is_stuck(kernel: FakeKernel, writer: CommandWriter, state: Path) -> None:
    kernel.delay(STATE, "write", 60, count=1)
    with pytest.raises(Stuck, match=r"'on' to .* has not been answered for 0\.4 s"):
        writer.write(state, "on")
    assert writer.stuck


def test_no_further_command_is_sent_while_one_is_stuck(kernel: FakeKernel, writer: CommandWriter, state: Path) -> None:
    stick(kernel, writer, state)
    with pytest.raises(Stuck, match="an earlier command has not been answered yet"):
        writer.write(state, "off")
    assert kernel.read("0/state") == "off"


def test_a_late_answer_ends_being_stuck(kernel: FakeKernel, writer: CommandWriter, state: Path) -> None:
    stick(kernel, writer, state)
    kernel.clear_faults()
    wait_for(lambda: not writer.stuck)
    assert kernel.read("0/state") == "on"
    writer.write(state, "off")
    assert kernel.read("0/state") == "off"


def test_a_command_may_be_given_longer(kernel: FakeKernel, writer: CommandWriter, state: Path) -> None:
    kernel.delay(STATE, "write", 1.5 * DEADLINE, count=1)
    writer.submit(state, "on", longer=5.0).result()
    assert kernel.read("0/state") == "on"


def test_the_time_in_the_queue_does_not_count(kernel: FakeKernel, writer: CommandWriter, state: Path) -> None:
    kernel.delay(STATE, "write", 1.5 * DEADLINE, count=1)
    first = writer.submit(state, "on", longer=5.0)
    writer.write(state, "off")
    first.result()
    assert kernel.read("0/state") == "off"


def test_after_the_helper_was_killed_the_next_command_has_a_new_one(
    kernel: FakeKernel, writer: CommandWriter, state: Path
) -> None:
    writer.write(state, "on")
    helper = helper_of(os.getpid())
    os.kill(helper, signal.SIGKILL)
    wait_for(lambda: Path(f"/proc/{helper}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    writer.write(state, "off")
    assert kernel.read("0/state") == "off"


def test_a_helper_that_is_killed_while_it_writes_is_an_error(
    kernel: FakeKernel, writer: CommandWriter, state: Path
) -> None:
    writer.write(state, "on")
    helper = helper_of(os.getpid())
    kernel.delay(STATE, "write", 0.5, count=1)
    answer = writer.submit(state, "off", longer=5.0)
    wait_for(lambda: is_writing(helper))
    os.kill(helper, signal.SIGKILL)
    with pytest.raises(KernelError, match="EIO"):
        answer.result()


def test_the_helper_holds_no_socket_and_no_file_but_its_pipes(
    kernel: FakeKernel, writer: CommandWriter, state: Path
) -> None:
    writer.write(state, "on")
    open_files = [str(fd.readlink()) for fd in Path(f"/proc/{helper_of(os.getpid())}/fd").iterdir()]
    assert not [file for file in open_files if file.startswith("socket:") or str(kernel.root) in file]


def test_the_helper_runs_no_module_that_lies_in_the_working_directory(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "os", "signal", "damon_exporter"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    writer = CommandWriter()
    writer.write(kernel.kdamonds / "0/refresh_ms", "7")
    writer.close()
    assert kernel.read("0/refresh_ms") == "7"
    assert not (tmp_path / "executed").exists()


def test_ctrl_c_is_the_exporters_to_handle(writer: CommandWriter, state: Path) -> None:
    writer.write(state, "on")
    helper = helper_of(os.getpid())
    os.kill(helper, signal.SIGINT)
    writer.write(state, "off")
    assert helper_of(os.getpid()) == helper


def test_the_helper_ends_with_the_writer(kernel: FakeKernel, state: Path) -> None:
    writer = CommandWriter()
    writer.write(state, "on")
    helper = helper_of(os.getpid())
    writer.close()
    assert not Path(f"/proc/{helper}").exists()


def test_a_command_under_way_keeps_a_successor_out_after_sigkill(kernel: FakeKernel, state: Path) -> None:
    kernel.delay(STATE, "write", 60, count=1)
    tree = DamonTree(kernel.paths.damon_admin)
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND_AND_HANG, str(tree.admin)], stdout=subprocess.PIPE
    ) as exporter:
        assert exporter.stdout
        exporter.stdout.readline()
        helper = helper_of(exporter.pid)
        wait_for(lambda: is_writing(helper))
        exporter.kill()
    with pytest.raises(Busy):
        TreeLock(tree)
    kernel.clear_faults()
    wait_for(lambda: not Path(f"/proc/{helper}").exists())
    TreeLock(tree).release()
    assert kernel.read("0/state") == "on"
