"""The guard of `tests/guard`, with a temporary folder in the place of the real kernel's trees."""

import os
import subprocess
import sys
from pathlib import Path

import kernel_guard
import pytest

GUARD = Path(__file__).parents[1] / "guard"


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A folder that child processes take for the real kernel's."""
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "state").write_text("off\n")
    return folder


def run(real: Path, program: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a Python program under the guard; returns how it ended and what the guard wrote down."""
    log = real.parent / "log"
    environment = {
        **os.environ,
        "PYTHONPATH": str(GUARD),
        "DAMON_TEST_GUARDED_ROOTS": str(real),
        "DAMON_TEST_GUARD_LOG": str(log),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=real,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, log.read_text().splitlines() if log.exists() else []


@pytest.mark.parametrize(
    "program",
    [
        "open('state', 'w')",
        "open('state', 'a')",
        "open('state', 'r+')",
        "import os; os.open('state', os.O_WRONLY)",
        "import os; os.open(b'new', os.O_CREAT)",
        "import os; os.truncate('state', 0)",
        "import os; os.mkdir('instance')",
        "import os; os.rmdir('instance')",
        "import os; os.chmod('state', 0o777)",
        "import os; os.rename('state', '/elsewhere')",
        "import os, subprocess, sys; subprocess.run([sys.executable, '-c', \"open('state', 'w')\"], check=True)",
    ],
)
def test_an_attempt_to_change_the_real_kernel_fails_and_is_written_down(real: Path, program: str) -> None:
    done, log = run(real, program)
    assert "RealKernelTouched" in done.stderr
    assert len(log) == 1
    assert (real / "state").read_text() == "off\n"


def test_an_attempt_is_written_down_even_if_its_exception_is_swallowed(real: Path) -> None:
    done, log = run(real, "import contextlib\nwith contextlib.suppress(Exception): open('state', 'w')")
    assert done.returncode == 0
    assert len(log) == 1


def test_a_way_through_a_symbolic_link_is_seen(real: Path) -> None:
    (real.parent / "link").symlink_to(real)
    _, log = run(real, "open('../link/state', 'w')")
    assert len(log) == 1


def test_reading_the_real_kernel_is_allowed(real: Path) -> None:
    done, log = run(real, "import os; assert open('state').read() == 'off\\n'; os.listdir('.')")
    assert done.returncode == 0, done.stderr
    assert log == []


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_run_fails_if_one_of_its_tests_swallowed_the_exception(real: Path, tmp_path: Path, workers: str) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "conftest.py").write_text((GUARD.parent / "conftest.py").read_text())
    for module in ("kernel_pool.py", "booted.py"):
        (tests / module).symlink_to(GUARD.parent / module)
    (tests / "guard").symlink_to(GUARD)
    (tests / "test_rude.py").write_text(
        "import contextlib\n"
        "def test_rude():\n"
        "    with contextlib.suppress(Exception):\n"
        f"        open('{real}/state', 'w')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", workers, str(tests)],
        env={**os.environ, "DAMON_TEST_GUARDED_ROOTS": str(real)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "1 passed" in done.stdout
    assert "REAL KERNEL TOUCHED" in done.stdout


def test_a_foreign_process_that_resizes_the_real_tree_is_noticed(tmp_path: Path) -> None:
    kdamonds = tmp_path / "kdamonds"
    kdamonds.mkdir()
    (kdamonds / "nr_kdamonds").write_text("1\n")
    before = kernel_guard.Snapshot.take(tmp_path)
    subprocess.run(["sh", "-c", f"echo 2 > {kdamonds}/nr_kdamonds"], check=True)
    assert kernel_guard.Snapshot.take(tmp_path) != before
