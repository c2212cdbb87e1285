"""Whose tree it is: the token that marks slots as ours, the lock between exporters, and a look at all slots."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_exporter.kernel.damon_sysfs import DamonTree, Slot
from damon_exporter.kernel.errors import Busy, Denied, Gone, Unsupported
from damon_exporter.kernel.modules import MODULES
from damon_exporter.kernel.ownership import (
    MAGIC,
    VERSION,
    Holder,
    Token,
    TreeLock,
    contents,
    is_default,
    slot_token,
    survey,
)
from damon_exporter.kernel.plan import NR_SCHEMES, SPARE_TOKEN_FILE, skeleton
from damon_exporter.testing.fake_kernel import FakeKernel

tokens = st.builds(Token, st.frozensets(st.sampled_from(MODULES)), st.integers(0, 2**32 - 1))

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from damon_exporter.kernel.damon_sysfs import DamonTree
from damon_exporter.kernel.ownership import TreeLock
lock = TreeLock(DamonTree(Path(sys.argv[1])))
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["6.12", "7.3"])
def kernel(request: pytest.FixtureRequest, fake_kernel: Callable[..., FakeKernel]) -> FakeKernel:
    return fake_kernel(kernel=request.param)


@pytest.fixture
def tree(kernel: FakeKernel) -> DamonTree:
    return DamonTree(kernel.paths.damon_admin)


def mark(tree: DamonTree, index: int, token: Token) -> None:
    tree.slot(index).write(skeleton(token.encode()))


def physical(kernel: FakeKernel, index: int) -> None:
    """Stage a kdamond of somebody's."""
    kernel.write(f"{index}/contexts/nr_contexts", 1)
    kernel.write(f"{index}/contexts/0/operations", "paddr")
    kernel.write(f"{index}/contexts/0/targets/nr_targets", 1)


# The token


@given(tokens)
def test_a_token_is_read_as_it_was_written(token: Token) -> None:
    assert Token.decode(token.encode()) == token


@given(tokens)
def test_a_token_fits_into_the_kernels_64_bits(token: Token) -> None:
    assert 0 < token.encode() < 2**64


@given(st.integers(0, 2**64 - 1).filter(lambda number: number >> 40 != MAGIC))
def test_numbers_of_others_are_no_tokens(number: int) -> None:
    assert Token.decode(number) is None


@pytest.mark.parametrize("number", [0, 1, 1000, 2**64 - 1, MAGIC, MAGIC << 40])
def test_numbers_that_people_write_are_no_tokens(number: int) -> None:
    assert Token.decode(number) is None


def test_a_token_of_another_version_is_not_ours() -> None:
    assert Token.decode(MAGIC << 40 | (VERSION + 1) << 36) is None


def test_the_kernel_keeps_a_token_for_us(kernel: FakeKernel, tree: DamonTree) -> None:
    token = Token(frozenset({"damon_reclaim"}), 0xFFFF_FFFF)
    kernel.write("nr_kdamonds", 1)
    mark(tree, 0, token)
    assert slot_token(tree.slot(0)) == token


def test_a_token_is_found_while_schemes_are_made_anew(kernel: FakeKernel, tree: DamonTree) -> None:
    kernel.write("nr_kdamonds", 1)
    mark(tree, 0, Token())
    tree.slot(0).write([(SPARE_TOKEN_FILE, str(Token(frozenset({"damon_reclaim"}), 7).encode())), (NR_SCHEMES, "3")])
    assert slot_token(tree.slot(0)) == Token(frozenset({"damon_reclaim"}), 7)


def test_a_token_changes_nothing_of_what_the_kernel_does(kernel: FakeKernel, tree: DamonTree) -> None:
    kernel.write("nr_kdamonds", 1)
    mark(tree, 0, Token(frozenset(MODULES), 2**32 - 1))
    physical_files = {"contexts/0/operations": "paddr", "contexts/0/targets/nr_targets": "1"}
    tree.slot(0).write(physical_files.items())
    kernel.write("0/state", "on")
    assert slot_token(tree.slot(0))


# The lock


def test_the_lock_keeps_a_second_exporter_out_until_the_first_has_gone(kernel: FakeKernel, tree: DamonTree) -> None:
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(tree.admin)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout
        assert first.stdout.readline() == b"locked\n"
        with pytest.raises(Busy, match="another damon-exporter holds the lock"):
            TreeLock(tree)
        first.kill()
    TreeLock(tree).release()


def test_the_lock_of_a_kernel_without_damon_says_that_it_has_none(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="this kernel does not have it"):
        TreeLock(DamonTree(tmp_path))


# A look at all slots


def test_no_slots_are_nobodys(tree: DamonTree) -> None:
    assert survey(tree).holder is Holder.NOBODY


def test_slots_with_a_token_are_ours_and_tell_which_modules_were_stopped(kernel: FakeKernel, tree: DamonTree) -> None:
    kernel.write("nr_kdamonds", 3)
    mark(tree, 0, Token(frozenset({"damon_reclaim"})))
    mark(tree, 2, Token(frozenset({"damon_lru_sort"}), 5))
    seen = survey(tree)
    assert seen.holder is Holder.US
    assert sorted(seen.tokens) == [0, 2]
    assert seen.stopped_modules == {"damon_reclaim", "damon_lru_sort"}


@pytest.mark.parametrize("made", ["slots", "contexts", "schemes"])
def test_what_was_killed_before_its_first_token_is_unfinished(kernel: FakeKernel, tree: DamonTree, made: str) -> None:
    kernel.write("nr_kdamonds", 2)
    if made != "slots":
        kernel.write("0/contexts/nr_contexts", 1)
    if made == "schemes":
        kernel.write("0/contexts/0/schemes/nr_schemes", 1)
    assert survey(tree, slots_made=2).holder is Holder.UNFINISHED


@pytest.mark.parametrize("slots_made", [0, 1, 3])
def test_another_number_of_slots_than_we_make_is_not_unfinished(
    kernel: FakeKernel, tree: DamonTree, slots_made: int
) -> None:
    kernel.write("nr_kdamonds", 2)
    assert survey(tree, slots_made).holder is Holder.SOMEBODY_IDLE


def settings_below(folder: Path) -> Iterator[Path]:
    """Files that can be written, but those that are commands or make folders of which we make one, too."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.stat().st_mode & 0o200 and file.name not in ("state", "nr_contexts"):
            yield file


def set_to_anything_else(file: Path) -> None:
    """Write the first of some values that the kernel takes and then shows in the place of what it showed."""
    before = file.read_text()
    for value in ("2", "Y", "paddr", "pageout", "temporal", "free_mem_rate"):
        with suppress(OSError):
            file.write_text(value)
            if file.read_text() != before:
                return
    pytest.fail(f"{file} cannot be set")


def test_anything_that_somebody_has_set_makes_an_idle_tree_his(kernel: FakeKernel, tree: DamonTree) -> None:
    def stage() -> None:
        kernel.write("nr_kdamonds", 2)
        kernel.write("1/contexts/nr_contexts", 1)
        kernel.write("1/contexts/0/schemes/nr_schemes", 1)

    stage()
    for file in list(settings_below(kernel.kdamonds / "1")):
        assert survey(tree, slots_made=2).holder is Holder.UNFINISHED
        set_to_anything_else(file)
        assert survey(tree, slots_made=2).holder is Holder.SOMEBODY_IDLE, file
        stage()


def test_a_file_that_no_known_kernel_has_is_unset_only_if_it_shows_nothing(tmp_path: Path) -> None:
    slot = Slot(tmp_path, 0)
    (tmp_path / "state").write_text("off\n")
    news = tmp_path / "contexts/0/news"
    news.parent.mkdir(parents=True)
    for shown in ("0", "N", ""):
        news.write_text(f"{shown}\n")
        assert is_default(slot)
    for shown in ("1", "Y", "fast"):
        news.write_text(f"{shown}\n")
        assert not is_default(slot)


def test_a_kdamond_without_token_is_somebodys_even_beside_ours(kernel: FakeKernel, tree: DamonTree) -> None:
    kernel.write("nr_kdamonds", 2)
    mark(tree, 0, Token())
    physical(kernel, 1)
    kernel.write("1/state", "on")
    assert survey(tree).holder is Holder.SOMEBODY


def test_what_cannot_be_read_is_said_so(kernel: FakeKernel, tree: DamonTree) -> None:
    kernel.fail("*/nr_kdamonds", "open", 13)
    seen = survey(tree)
    assert seen.holder is Holder.UNREADABLE
    assert isinstance(seen.problem, Denied)


@pytest.mark.parametrize(("error", "kind"), [(16, Busy), (19, Gone)])
def test_a_tree_that_is_being_changed_is_not_judged(
    kernel: FakeKernel, tree: DamonTree, error: int, kind: type[Exception]
) -> None:
    kernel.write("nr_kdamonds", 1)
    kernel.fail("*/kdamonds/0/state", "read", error)
    with pytest.raises(kind):
        survey(tree)


def test_the_contents_of_an_idle_tree_change_with_any_value(kernel: FakeKernel, tree: DamonTree) -> None:
    kernel.write("nr_kdamonds", 1)
    physical(kernel, 0)
    before = contents(tree)
    assert contents(tree) == before
    kernel.write("0/contexts/0/monitoring_attrs/nr_regions/max", 999)
    assert contents(tree) != before
