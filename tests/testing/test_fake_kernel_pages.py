"""What the fake kernel shows of single page frames, as kernels were seen to show it."""

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from staging import GIB, MIB, NEW, OLD, Start, both, errno_of

from damon_exporter.analysis.page_kinds import KINDS, kinds
from damon_exporter.kernel.page_frames import PageFrames
from damon_exporter.testing.fake_kernel import FakeKernel

PAGE = 4096
NOPAGE, RESERVED = 1 << 20, 1 << 32
HOLE = 3 * GIB
"""Where the default memory map has a hole of whole sections."""

OWNERS = [
    (GIB, GIB + 2 * MIB, "anon", "/a/b"),
    (GIB + 2 * MIB, GIB + 3 * MIB, "file", "/a"),
    (GIB + 3 * MIB, GIB + 4 * MIB, "shmem", None),
    (GIB + 4 * MIB, GIB + 5 * MIB, "slab", "/a"),
    (GIB + 5 * MIB, GIB + 6 * MIB, "hugetlb", "/c"),
    (GIB + 6 * MIB, GIB + 7 * MIB, "free", None),
]


@pytest.fixture
def owned(kernel: FakeKernel) -> FakeKernel:
    """A machine with some pages of each kind."""
    kernel.set_cgroups("/a/b", "/c")
    kernel.set_page_owners(OWNERS)
    return kernel


def flags(kernel: FakeKernel, *addresses: int) -> list[int]:
    frames = np.array(addresses, np.uint64) // np.uint64(PAGE)
    return PageFrames(kernel.procfs).flags(frames).tolist()


def inodes(kernel: FakeKernel, *addresses: int) -> list[int]:
    frames = np.array(addresses, np.uint64) // np.uint64(PAGE)
    return PageFrames(kernel.procfs).cgroups(frames).tolist()


def inode(kernel: FakeKernel, cgroup: str) -> int:
    return (kernel.sysfs / "fs/cgroup" / cgroup.lstrip("/")).stat().st_ino


def kind(of_flags: int) -> str:
    return KINDS[kinds(np.array([of_flags], np.uint64))[0]]


# What a page is


@both
def test_memory_that_nobody_was_given_is_free_and_nobodys(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    addresses = (0x1000, GIB, HOLE - PAGE, 4 * GIB, 5 * GIB - PAGE)
    assert {kind(each) for each in flags(kernel, *addresses)} == {"free"}
    assert set(inodes(kernel, *addresses)) == {0}


@pytest.mark.parametrize(("name", "shown", "called"), [(OLD, NOPAGE, "hole"), (NEW, 0, "other")])
def test_a_section_without_memory_is_a_hole_which_newer_kernels_do_not_mark(
    fake_kernel: Start, name: str, shown: int, called: str
) -> None:
    """Seen: 1 << 20 on 6.12, and 0 on 6.18 and 7.3."""
    kernel = fake_kernel(kernel=name)
    assert flags(kernel, HOLE, 4 * GIB - PAGE) == [shown, shown]
    assert kind(shown) == called
    assert inodes(kernel, HOLE) == [0]


@both
def test_what_the_firmware_keeps_of_a_section_with_memory_is_reserved(fake_kernel: Start, name: str) -> None:
    """Seen on 6.18: 1 << 32 from 0x9f000 to 0x100000."""
    kernel = fake_kernel(kernel=name)
    assert flags(kernel, 0, 0x9F000, 0xFF000) == [RESERVED] * 3


def test_pages_are_of_the_kind_that_the_test_gave_them(owned: FakeKernel) -> None:
    for start, end, given, _ in OWNERS:
        assert [kind(each) for each in flags(owned, start, (start + end) // 2, end - PAGE)] == [given] * 3
    assert [kind(each) for each in flags(owned, GIB - PAGE, GIB + 7 * MIB)] == ["free", "free"]


def test_the_later_of_two_owners_is_right(owned: FakeKernel) -> None:
    owned.set_page_owners([*OWNERS, (GIB + MIB, GIB + MIB + PAGE, "file", "/c")])
    around = (GIB + MIB - PAGE, GIB + MIB, GIB + MIB + PAGE)
    assert [kind(each) for each in flags(owned, *around)] == ["anon", "file", "anon"]
    assert inodes(owned, *around) == [inode(owned, path) for path in ("/a/b", "/c", "/a/b")]


# Whose it is


def test_pages_show_the_inode_of_their_cgroup(owned: FakeKernel) -> None:
    """Seen on 6.12 and 7.3: what kpagecgroup shows is a folder's st_ino, 0 for none."""
    ab, a, c = (inode(owned, path) for path in ("/a/b", "/a", "/c"))
    assert inodes(owned, GIB, GIB + 2 * MIB, GIB + 3 * MIB, GIB + 5 * MIB) == [ab, a, 0, c]


def test_slabs_show_nobody_as_their_objects_may_be_of_several(owned: FakeKernel) -> None:
    """So it was seen on 6.18; memory.current counts them all the same."""
    assert inodes(owned, GIB + 4 * MIB) == [0]


def test_pages_of_a_cgroup_that_was_removed_go_to_the_closest_above_it_that_was_not(owned: FakeKernel) -> None:
    owned.set_cgroups("/a", "/c")
    assert inodes(owned, GIB) == [inode(owned, "/a")]
    owned.set_cgroups("/c")
    assert inodes(owned, GIB, GIB + 2 * MIB) == [inode(owned, "/")] * 2


def test_another_cgroup_at_the_path_of_one_that_was_removed_does_not_get_its_pages(owned: FakeKernel) -> None:
    owned.set_cgroups("/a", "/c")
    owned.set_cgroups("/a/b", "/c")
    assert inodes(owned, GIB) == [inode(owned, "/a")]
    assert inode(owned, "/a/b") not in inodes(owned, *range(GIB, GIB + 8 * MIB, PAGE))


def test_a_cgroup_is_charged_with_its_pages_and_those_below_it(owned: FakeKernel) -> None:
    charged = {path: memory_current(owned, path) for path in ("a/b", "a", "c")}
    assert charged == {"a/b": 2 * MIB, "a": 4 * MIB, "c": MIB}
    owned.set_cgroups("/a")
    assert memory_current(owned, "a") == 4 * MIB


def memory_current(kernel: FakeKernel, path: str) -> int:
    return int((kernel.sysfs / "fs/cgroup" / path / "memory.current").read_text())


# How the files are read


@pytest.fixture(params=["kpageflags", "kpagecgroup"])
def file(request: pytest.FixtureRequest, owned: FakeKernel) -> Path:
    return owned.procfs / str(request.param)


def pread(file: Path, size: int, offset: int) -> bytes:
    fd = os.open(file, os.O_RDONLY)
    try:
        return os.pread(fd, size, offset)
    finally:
        os.close(fd)


def test_only_root_may_read_them_and_they_say_no_size(file: Path) -> None:
    """Seen on 6.18: mode 0400, size 0."""
    status = file.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_size, status.st_uid) == (0o400, 0, 0)


def test_any_whole_entries_can_be_read_from_anywhere(file: Path) -> None:
    offset = (GIB + MIB) // PAGE * 8
    everything = pread(file, 1 << 20, offset)
    assert len(everything) == 1 << 20
    for at, size in ((0, 8), (8, 64), (8 * 1023, 8 * 3), (8 * 70_000, 8 * 50_000)):
        assert pread(file, size, offset + at) == everything[at : at + size]


@pytest.mark.parametrize(("size", "offset"), [(8, 4), (4, 8), (20, 0)])
def test_parts_of_entries_cannot_be_read(file: Path, size: int, offset: int) -> None:
    """Seen on 6.18."""
    assert errno_of(lambda: pread(file, size, offset)) == errno.EINVAL


def test_they_end_where_memory_ends(file: Path) -> None:
    """Seen on 6.18, where the end of memory is that of a section."""
    end = 5 * GIB // PAGE * 8
    assert len(pread(file, 80, end - 8)) == 8
    assert pread(file, 8, end) == b""
    assert pread(file, 8, 1 << 43) == b""


def test_they_end_with_the_last_section_that_has_memory(fake_kernel: Start) -> None:
    kernel = fake_kernel(memory_map=[(0x1000, GIB + MIB, "System RAM")])
    end = (GIB + 128 * MIB) // PAGE * 8
    assert len(pread(kernel.procfs / "kpageflags", 16, end - 8)) == 8
    assert flags(kernel, GIB + MIB) == [RESERVED]
