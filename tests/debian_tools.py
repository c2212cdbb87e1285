"""Programs that tests need in a newer version than the host may have, out of Debian sid, never installed."""

import shutil
import tempfile
import time
from functools import cache
from pathlib import Path

from vm.apt import AptError, Archive
from vm.kernels import cache_folder, locked

FRESH_SECONDS = 7 * 24 * 3600


@cache
def debian_program(package: str, path: str) -> Path:
    """The program at ``path`` (``/usr/bin/promtool``) of the newest ``package``, at most a week old.

    Raises AptError where it cannot be had: a missing tool is a failure, never a skip.
    """
    folder = cache_folder()
    with locked(folder):
        program = folder / "programs" / package / path.lstrip("/")
        if not _is_fresh(program):
            _fetch(folder, package, program)
    return program


def _is_fresh(program: Path) -> bool:
    """Whether the program was fetched, which is when its inode last changed, less than a week ago."""
    return program.exists() and time.time() - program.stat().st_ctime < FRESH_SECONDS


def _fetch(folder: Path, package: str, program: Path) -> None:
    final = folder / "programs" / package
    final.parent.mkdir(exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=final.parent))
    try:
        archive = Archive(folder / "apt-sid", ["sid"])
        archive.refresh()
        archive.unpack([package], partial)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    except AptError:
        if not program.exists():
            raise  # off line, the one of last week serves
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if not program.exists():
        raise AptError(f"{package} has no {program.relative_to(final)} any more: see dpkg-deb -c where it went")
