"""The fake kernel's files of schemes and modules are those of real kernels: see real_kernels/README.md."""

import errno
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from staging import CONTEXT, Start, errno_of

from damon_exporter.testing.fake_kernel import FakeKernel

REAL_KERNELS = [path for path in sorted((Path(__file__).parent / "real_kernels").iterdir()) if path.is_dir()]
like_each = pytest.mark.parametrize("real", REAL_KERNELS, ids=lambda path: path.name)
SCHEME = f"{CONTEXT}/schemes/0"


def start(fake_kernel: Start, real: Path) -> FakeKernel:
    """The fake of a real kernel, with a scheme that has one of everything."""
    kernel = fake_kernel(kernel=real.name.rpartition(".")[0])
    for file in (
        "nr_kdamonds",
        "0/contexts/nr_contexts",
        f"{CONTEXT}/schemes/nr_schemes",
        f"{SCHEME}/quotas/goals/nr_goals",
        *(f"{SCHEME}/{kind}/nr_filters" for kind in ("filters", "core_filters", "ops_filters")),
        f"{SCHEME}/dests/nr_dests",
    ):
        if (kernel.kdamonds / file).exists():
            kernel.write(file, 1)
    return kernel


def described(folder: Path) -> set[str]:
    """Each file below a folder with its mode and content."""
    return {
        f"{path.relative_to(folder)} {stat.S_IMODE(path.stat().st_mode):o} {shown(path)!r}"
        for path in folder.rglob("*")
        if path.is_file()
    }


def shown(path: Path) -> str:
    return path.read_text().removesuffix("\n")


def answer(kernel: FakeKernel, file: str, text: str) -> str:
    """What writing gives: ok or the name of an errno."""
    error = errno_of(lambda: (kernel.kdamonds / SCHEME / file).write_bytes(text.encode()))
    return "ok" if error is None else errno.errorcode[error]


def table(real: Path, name: str) -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, Any]] = json.loads((real / name).read_text())
    return content


@like_each
def test_a_fresh_scheme_has_the_files_modes_and_defaults(fake_kernel: Start, real: Path) -> None:
    kernel = start(fake_kernel, real)
    assert described(kernel.kdamonds / SCHEME) == set((real / "scheme_files.txt").read_text().splitlines())


@like_each
def test_files_take_the_words_and_refuse_others(fake_kernel: Start, real: Path) -> None:
    kernel = start(fake_kernel, real)
    wanted = {file: words for file, words in table(real, "scheme_words.json").items() if "ENOENT" not in words.values()}
    assert {file: {word: answer(kernel, file, word) for word in words} for file, words in wanted.items()} == wanted


@like_each
def test_files_take_the_numbers_and_refuse_others(fake_kernel: Start, real: Path) -> None:
    kernel = start(fake_kernel, real)
    wanted = table(real, "scheme_numbers.json")
    found = {
        file: {text: [answer(kernel, file, text), kernel.read(f"{SCHEME}/{file}")] for text in texts}
        for file, texts in wanted.items()
    }
    assert found == wanted


@like_each
def test_modules_have_the_parameters_modes_and_defaults(fake_kernel: Start, real: Path) -> None:
    modules = start(fake_kernel, real).sysfs / "module"
    found = {
        f"{module}/{line}"
        for module in ("damon_lru_sort", "damon_reclaim")
        for line in described(modules / module / "parameters")
    }
    assert found == set((real / "module_files.txt").read_text().splitlines())


@like_each
def test_trace_events_of_schemes_have_the_format_or_are_missing(fake_kernel: Start, real: Path) -> None:
    events = start(fake_kernel, real).tracefs / "events/damon"
    found = {path.parent.name: path.read_text() for path in events.glob("damos_*/format")}
    assert found == {path.stem: path.read_text() for path in real.glob("*.format")}
