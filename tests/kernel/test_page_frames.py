"""Flags and cgroups of page frames: of this process's own pages, and of folders that hold what a kernel would show."""

import mmap
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from damon_exporter.analysis.page_kinds import KINDS, NOPAGE, kinds
from damon_exporter.analysis.snapshot import U64
from damon_exporter.kernel.errors import Denied, Unsupported
from damon_exporter.kernel.page_frames import PageFrames

PAGE = mmap.PAGESIZE
SIZE = 64 * PAGE
PROC = Path("/proc")
NOBODY = 65534

# This machine's own kernel, of which everything is only read


@pytest.fixture
def own_kernel() -> PageFrames:
    for name in ("kpageflags", "kpagecgroup"):
        if not os.access(PROC / name, os.R_OK, effective_ids=True):
            pytest.skip(f"/proc/{name} is not there, or not ours to read")
    return PageFrames(PROC)


def frames_of(memory: mmap.mmap) -> U64:
    """The page frames of what has been touched of that memory."""
    start = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
    with Path("/proc/self/pagemap").open("rb") as pagemap:
        pagemap.seek(start // PAGE * 8)
        entries = np.frombuffer(pagemap.read(len(memory) // PAGE * 8), np.uint64)
    frames: U64 = entries[entries >> np.uint64(63) == 1] & np.uint64((1 << 55) - 1)
    if not frames.any():
        pytest.skip("this kernel tells page frame numbers only to those who have CAP_SYS_ADMIN")
    return frames


@contextmanager
def touched(sharing: int) -> Iterator[U64]:
    """The page frames of anonymous memory, for as long as it is ours."""
    with mmap.mmap(-1, SIZE, flags=sharing | mmap.MAP_ANONYMOUS) as memory:
        memory.write(b"x" * SIZE)
        yield frames_of(memory)


def names(own_kernel: PageFrames, frames: U64) -> set[str]:
    return {KINDS[kind] for kind in kinds(own_kernel.flags(frames)).tolist()}


def own_memory_cgroup() -> Path:
    for line in (PROC / "self/cgroup").read_text().splitlines():
        hierarchy, controllers, path = line.split(":", 2)
        if hierarchy == "0" or "memory" in controllers.split(","):
            folder = Path("/sys/fs/cgroup", controllers and "memory", path.lstrip("/"))
            if controllers or (folder / "memory.stat").exists():
                return folder
    pytest.skip("this machine has no memory cgroups")


def test_memory_of_our_own_is_anonymous(own_kernel: PageFrames) -> None:
    with touched(mmap.MAP_PRIVATE) as frames:
        assert names(own_kernel, frames) == {"anon"}


def test_memory_that_processes_may_share_is_shmem(own_kernel: PageFrames) -> None:
    with touched(mmap.MAP_SHARED) as frames:
        assert names(own_kernel, frames) == {"shmem"}


def test_a_program_is_a_file(own_kernel: PageFrames) -> None:
    with Path(sys.executable).open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    memory.read()
    assert names(own_kernel, frames_of(memory)) == {"file"}


def test_our_memory_is_charged_to_our_cgroup(own_kernel: PageFrames) -> None:
    with touched(mmap.MAP_PRIVATE) as frames:
        assert set(own_kernel.cgroups(frames).tolist()) == {own_memory_cgroup().stat().st_ino}


def test_behind_the_end_of_memory_there_are_holes(own_kernel: PageFrames) -> None:
    behind = np.array([1 << 50, (1 << 50) + 1], np.uint64)
    assert names(own_kernel, behind) == {"hole"}
    assert own_kernel.cgroups(behind).tolist() == [0, 0]


# Folders


@pytest.fixture
def procfs(tmp_path: Path) -> Path:
    """A thousand page frames, each with ten times its number as flags and a hundred times as cgroup."""
    for name, factor in (("kpageflags", 10), ("kpagecgroup", 100)):
        (np.arange(1000, dtype=np.uint64) * np.uint64(factor)).tofile(tmp_path / name)
    return tmp_path


@pytest.fixture
def hidden_procfs(procfs: Path) -> Iterator[Path]:
    """The same, for as long as we are somebody who may read nothing of what the test has made."""
    if os.geteuid():
        pytest.skip("only root can become nobody")
    os.seteuid(NOBODY)
    yield procfs
    os.seteuid(0)


def some(*frames: int) -> U64:
    return np.array(frames, np.uint64)


@pytest.mark.parametrize(
    "frames",
    [(), (0,), (999,), (3, 4, 5), (5, 4, 3), (7, 7, 7), (0, 1, 500, 501, 502, 2, 999), range(1000)],
    ids=["none", "first", "last", "neighbours", "descending", "one often", "here and there", "all"],
)
def test_every_frame_is_told_in_the_order_that_it_is_asked_for(procfs: Path, frames: tuple[int, ...]) -> None:
    assert PageFrames(procfs).flags(some(*frames)).tolist() == [10 * frame for frame in frames]
    assert PageFrames(procfs).cgroups(some(*frames)).tolist() == [100 * frame for frame in frames]


def test_what_the_file_does_not_reach_is_a_hole_that_nobody_owns(procfs: Path) -> None:
    frames = some(998, 999, 1000, 1001, 5, 10**9)
    assert PageFrames(procfs).flags(frames).tolist() == [9980, 9990, NOPAGE, NOPAGE, 50, NOPAGE]
    assert PageFrames(procfs).cgroups(frames).tolist() == [99800, 99900, 0, 0, 500, 0]


def test_neighbours_are_read_with_one_system_call(procfs: Path) -> None:
    def reads() -> int:
        return int((PROC / "thread-self/io").read_text().split("syscr: ")[1].split()[0])

    def taken(frames: U64) -> int:
        before = reads()
        PageFrames(procfs).flags(frames)
        return reads() - before

    counted = taken(some())
    assert taken(some(*range(100, 600), *range(700, 900))) == counted + 2


@pytest.mark.parametrize(
    ("name", "read", "loss"),
    [
        ("kpageflags", PageFrames.flags, "what memory is used for is unknown; set attribution.kinds: false"),
        ("kpagecgroup", PageFrames.cgroups, "whose memory it is is unknown; .* set attribution.cgroups: \\[\\]"),
    ],
)
class TestThatCannotBeRead:
    def test_a_kernel_without_the_file(
        self, procfs: Path, name: str, read: Callable[[PageFrames, U64], U64], loss: str
    ) -> None:
        (procfs / name).unlink()
        with pytest.raises(Unsupported, match=f"{name}: no such file.*{loss}"):
            read(PageFrames(procfs), some(1))

    def test_somebody_who_may_not_read_it(
        self, hidden_procfs: Path, name: str, read: Callable[[PageFrames, U64], U64], loss: str
    ) -> None:
        with pytest.raises(Denied, match=f"{name}: permission denied: run as uid 0.*{loss}"):
            read(PageFrames(hidden_procfs), some(1))


def test_a_frame_without_flags_is_a_hole_outside_of_system_ram_alone(tmp_path: Path) -> None:
    """As some version after 6.12 shows holes; a page that has been plugged in since shows flags."""
    flags = np.array([0, 0, 1 << 5, 0, 0, 1 << 5], np.uint64)
    (tmp_path / "kpageflags").write_bytes(flags.tobytes())
    ram = ((PAGE, 3 * PAGE), (4 * PAGE, 5 * PAGE))
    shown = kinds(PageFrames(tmp_path).flags(np.arange(8, dtype=np.uint64), ram))
    assert [KINDS[kind] for kind in shown] == ["hole", "other", "file", "hole", "other", "file", "hole", "hole"]
