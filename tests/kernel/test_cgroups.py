"""Which cgroup an inode is, while cgroups come and go; and hosts whose cgroups cannot be told."""

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from damon_exporter.escaping import printable
from damon_exporter.kernel.cgroups import PATH_MAX, CgroupTree

MakeCgroup = Callable[[str], int]
"""Makes a cgroup, with those above it, and returns its inode."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root cgroup of a host with version 2."""
    folder = tmp_path / "fs/cgroup"
    folder.mkdir(parents=True)
    (folder / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids\n")
    (folder / "memory.stat").write_text("anon 0\n")
    return folder


@pytest.fixture
def tree(root: Path) -> CgroupTree:
    return CgroupTree(root.parent.parent)


@pytest.fixture
def cgroup(root: Path) -> MakeCgroup:
    def make(path: str) -> int:
        folder = root / path.lstrip("/")
        folder.mkdir(parents=True)
        (folder / "memory.current").write_text("0\n")
        return folder.stat().st_ino

    return make


@pytest.fixture
def listings(root: Path) -> list[str]:
    """The folders below the root that are listed, in order."""
    listed: list[str] = []

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.scandir" and str(arguments[0]).startswith(str(root)):
            listed.append(str(arguments[0]))

    sys.addaudithook(note)
    return listed


@pytest.fixture
def restless(root: Path) -> Iterator[Path]:
    """A folder in which cgroups come and go all the time."""
    folder, done = root / "restless", threading.Event()
    folder.mkdir()

    def stir() -> None:
        while not done.is_set():
            for name in ("a", "b", "c"):
                (folder / name / "inner").mkdir(parents=True)
            for name in ("a", "b", "c"):
                (folder / name / "inner").rmdir()
                (folder / name).rmdir()

    thread = threading.Thread(target=stir)
    thread.start()
    yield folder
    done.set()
    thread.join()


def test_inodes_are_told_as_paths(tree: CgroupTree, cgroup: MakeCgroup) -> None:
    inodes = {cgroup(path): path for path in ("/a", "/b/c", "/b/d.slice/e")}
    assert tree.paths(inodes) == inodes


def test_the_root_is_a_cgroup_too(tree: CgroupTree, root: Path) -> None:
    assert tree.paths([root.stat().st_ino]) == {root.stat().st_ino: "/"}


def test_only_what_is_asked_for_is_told(tree: CgroupTree, cgroup: MakeCgroup) -> None:
    cgroup("/a")
    b = cgroup("/b")
    assert tree.paths([b]) == {b: "/b"}
    assert tree.paths([]) == {}
    assert tree.paths([0]) == {}


def test_files_and_links_are_no_cgroups(tree: CgroupTree, cgroup: MakeCgroup, root: Path) -> None:
    a = cgroup("/a")
    (root / "link").symlink_to("a")
    (root / "a/around").symlink_to("..")
    files = [(root / name).lstat().st_ino for name in ("memory.stat", "a/memory.current", "link", "a/around")]
    assert tree.paths([a, *files]) == {a: "/a"}


def test_a_cgroup_that_has_come_meanwhile_is_found(tree: CgroupTree, cgroup: MakeCgroup) -> None:
    a = cgroup("/a")
    assert tree.paths([a]) == {a: "/a"}
    b = cgroup("/a/b")
    assert tree.paths([a, b]) == {a: "/a", b: "/a/b"}


def test_a_cgroup_that_has_gone_is_unknown(tree: CgroupTree, cgroup: MakeCgroup, root: Path) -> None:
    a, b = cgroup("/a"), cgroup("/b")
    assert tree.paths([a, b]) == {a: "/a", b: "/b"}
    (root / "a").rename(root / "elsewhere")
    (root / "elsewhere/memory.current").unlink()
    (root / "elsewhere").rmdir()
    assert tree.paths([a, b]) == {b: "/b"}


def test_another_cgroup_at_the_path_of_one_that_has_gone_is_told_from_it(
    tree: CgroupTree, cgroup: MakeCgroup, root: Path
) -> None:
    first = cgroup("/a")
    assert tree.paths([first]) == {first: "/a"}
    (root / "a").rename(root / "was")
    second = cgroup("/a")
    assert tree.paths([first, second]) == {first: "/was", second: "/a"}


def test_what_is_known_is_told_without_listing_anything(
    tree: CgroupTree, cgroup: MakeCgroup, listings: list[str]
) -> None:
    inodes = {cgroup(path): path for path in ("/a", "/b/c")}
    assert tree.paths(inodes) == inodes
    listings.clear()
    assert tree.paths([0, *inodes]) == inodes
    assert listings == []


def test_every_folder_is_listed_once_however_much_is_unknown(
    tree: CgroupTree, cgroup: MakeCgroup, root: Path, listings: list[str]
) -> None:
    inodes = {cgroup(path): path for path in ("/a", "/b/c")}
    assert tree.paths([*inodes, 2**40, 2**41]) == inodes
    assert sorted(listings) == sorted(f"{root}{path}" for path in ("", "/a", "/b", "/b/c"))


def test_cgroups_that_come_and_go_meanwhile_disturb_no_other(
    tree: CgroupTree, cgroup: MakeCgroup, restless: Path
) -> None:
    inodes = {cgroup(f"/kept{i}/inner"): f"/kept{i}/inner" for i in range(50)}
    for _ in range(100):
        assert tree.paths([*inodes, 2**40]) == inodes
    assert restless.exists()


# Names and depth that somebody has chosen to do harm


@pytest.mark.parametrize(
    "name",
    [b"\xff\xfe", b"new\nline", b"\x1b[31m", b'quo"te', b"back\\slash", "grün".encode(), b" ", b"x" * 255],
    ids=["no UTF-8", "line feed", "terminal code", "quote", "backslash", "umlaut", "blank", "long"],
)
def test_any_name_is_told_as_python_tells_file_names(tree: CgroupTree, root: Path, name: bytes) -> None:
    folder = root / os.fsdecode(name)
    folder.mkdir()
    inode = folder.stat().st_ino
    (path,) = tree.paths([inode]).values()
    assert os.fsencode(path) == b"/" + name
    assert printable(path).isprintable()
    assert tree.paths([inode]) == {inode: path}, "now from memory"


@pytest.fixture
def below(root: Path) -> Iterator[Callable[[str, int], int]]:
    """Makes so many cgroups of one name, each in the one before, and returns the inode of the innermost."""

    def make(name: str, levels: int) -> int:
        fd = os.open(root, os.O_RDONLY)
        for _ in range(levels):
            os.mkdir(name, dir_fd=fd)
            fd = into(fd, name)
        inode = os.fstat(fd).st_ino
        os.close(fd)
        return inode

    yield make
    subprocess.run(["rm", "-rf", root], check=True)  # Python's own way recurses, level by level


def into(fd: int, name: str) -> int:
    """Go one level down, and leave the one above."""
    inner = os.open(name, os.O_RDONLY, dir_fd=fd)
    os.close(fd)
    return inner


def test_a_thousand_levels_are_no_harm(tree: CgroupTree, below: Callable[[str, int], int]) -> None:
    last = below("a", 1000)
    assert tree.paths([last]) == {last: "/a" * 1000}


TOO_LONG = "x" * 250
"""Of twenty levels of this name, no path leads to the last ones."""


def deepest(root: Path) -> str:
    """The deepest cgroup of that name which a path leads to."""
    return f"/{TOO_LONG}" * ((PATH_MAX - 1 - len(str(root))) // len(f"/{TOO_LONG}"))


def test_a_cgroup_too_deep_for_a_path_is_told_as_the_deepest_above_it_that_is_not(
    tree: CgroupTree, cgroup: MakeCgroup, below: Callable[[str, int], int], root: Path
) -> None:
    hidden = below(TOO_LONG, 20)
    inodes = {cgroup(path): path for path in ("/a", "/z/y")}
    assert tree.paths([*inodes, hidden]) == {**inodes, hidden: deepest(root)}


def test_a_path_of_the_most_bytes_that_a_system_call_takes_is_told_and_a_longer_one_is_not(
    tree: CgroupTree, root: Path
) -> None:
    longest, longer = "é" * 8, "é" * 8 + "x"
    spare = PATH_MAX - 1 - len(os.fsencode(f"{root}/{longest}"))
    inner = f"/{'y' * 49}" * (spare // 50 - 1) + f"/{'y' * (49 + spare % 50)}"
    Path(f"{root}{inner}").mkdir(parents=True)
    fd = os.open(f"{root}{inner}", os.O_RDONLY)
    for name in (longest, longer):
        os.mkdir(name, dir_fd=fd)
    inodes = [os.stat(name, dir_fd=fd).st_ino for name in (longest, longer)]
    os.close(fd)
    assert tree.paths(inodes) == dict(zip(inodes, (f"{inner}/{longest}", inner), strict=True))


def test_what_lies_too_deep_for_a_path_is_remembered(
    tree: CgroupTree, below: Callable[[str, int], int], root: Path, listings: list[str]
) -> None:
    hidden = below(TOO_LONG, 20)
    tree.paths([hidden])
    listings.clear()
    assert tree.paths([hidden]) == {hidden: deepest(root)}
    assert listings == []


def test_what_lies_too_deep_for_a_path_is_looked_for_again_once_another_is_where_it_was(
    tree: CgroupTree, below: Callable[[str, int], int], root: Path
) -> None:
    hidden = below(TOO_LONG, 20)
    tree.paths([hidden])
    (root / TOO_LONG).rename(root / ("y" * 250))
    Path(f"{root}{deepest(root)}").mkdir(parents=True)
    assert tree.paths([hidden]) == {hidden: deepest(root).replace("x", "y", 250)}


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def few_files() -> Iterator[None]:
    """Lets only twenty more files be open than are now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files() + 20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_files")
def test_neither_levels_nor_branches_too_deep_for_a_path_use_up_files(
    tree: CgroupTree, below: Callable[[str, int], int], root: Path
) -> None:
    hidden = [below(TOO_LONG, 300)]
    fd = os.open(root, os.O_RDONLY)
    for level in range(300):
        fd = into(fd, TOO_LONG)
        if level >= 20:
            os.mkdir("branch", dir_fd=fd)
            hidden.append(os.stat("branch", dir_fd=fd).st_ino)
    os.close(fd)
    before = open_files()
    assert tree.paths(hidden) == dict.fromkeys(hidden, deepest(root))
    assert open_files() == before


# Hosts


def test_a_host_with_version_2_is_supported(tree: CgroupTree) -> None:
    assert tree.unsupported() is None


def test_nothing_mounted(tmp_path: Path) -> None:
    reason = CgroupTree(tmp_path).unsupported()
    assert reason == f"no cgroups are to be seen in {tmp_path}/fs/cgroup: mount the host's /sys/fs/cgroup there"
    assert CgroupTree(tmp_path).paths([1, 2]) == {}


def test_version_1(tmp_path: Path) -> None:
    for controller in ("cpu", "memory", "systemd"):
        (tmp_path / "fs/cgroup" / controller).mkdir(parents=True)
    assert "are of version 1: boot with systemd.unified_cgroup_hierarchy=1" in str(CgroupTree(tmp_path).unsupported())


def test_a_mixture_of_both(tmp_path: Path) -> None:
    for folder in ("memory", "unified"):
        (tmp_path / "fs/cgroup" / folder).mkdir(parents=True)
    (tmp_path / "fs/cgroup/unified/cgroup.controllers").write_text("\n")
    reason = CgroupTree(tmp_path).unsupported()
    assert "are of a mixture of versions 1 and 2: boot with systemd.unified_cgroup_hierarchy=1" in str(reason)


def test_a_host_without_the_memory_controller(tree: CgroupTree, root: Path) -> None:
    (root / "cgroup.controllers").write_text("cpuset cpu io\n")
    assert "lacks memory: boot without cgroup_disable=memory" in str(tree.unsupported())


def test_a_container_that_sees_only_its_own_part(tree: CgroupTree, root: Path) -> None:
    (root / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    reason = f"{root} is only a part of the tree: mount the host's /sys/fs/cgroup there"
    assert tree.unsupported() == reason


def test_the_cgroups_of_this_machine_are_those_that_find_sees(tmp_path: Path) -> None:
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    mounted = next((Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"), None)
    if not mounted:
        pytest.skip("this machine has no cgroups of version 2")
    (tmp_path / "fs").mkdir()
    (tmp_path / "fs/cgroup").symlink_to(mounted)
    folders = [Path(folder) for folder, _, _ in os.walk(mounted)]
    inodes = {folder.stat().st_ino: f"/{folder.relative_to(mounted)}".replace("/.", "/") for folder in folders}
    assert CgroupTree(tmp_path).paths(inodes) == inodes
