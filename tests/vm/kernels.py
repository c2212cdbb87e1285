"""Stock Debian kernels by series: the newest build on the mirror, kept in a cache folder."""

import fcntl
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .apt import AptError, Archive

SERIES = ("6.12", "7.3")
"""What real-kernel tests run on; a new kernel is one more name here."""

SUITES = ("bookworm-backports", "trixie", "trixie-backports", "sid")
FLAVOUR = "-cloud-amd64"
# One package up to about 7.0; then the image proper and the modules are packages of their own.
PARTS = ("linux-image-", "linux-binary-", "linux-modules-")


class NoKernelError(RuntimeError):
    """No build of the series, nor of a newer one, is on the mirror or in the cache."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that can be booted."""

    series: str
    """The series that was asked for."""
    release: str
    """As ``uname -r`` says it, ``6.12.107+deb13-cloud-amd64``."""
    image: Path
    modules: Path
    """The folder of its modules, ``lib/modules/<release>/kernel``."""
    notices: tuple[str, ...] = ()
    """What the reader of a test report must know: another series stood in, the mirror was silent."""


def cache_folder() -> Path:
    """Where kernels and root images are kept between runs."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "damon-exporter-vm"
    folder = Path(os.environ.get("DAMON_EXPORTER_VM_CACHE") or default)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one process at a time fills a folder of the cache."""
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _numbers(release: str) -> list[int]:
    """``6.12.90+deb12.1-cloud-amd64`` → ``[6, 12, 90, 12, 1]``: a key that sorts builds by age."""
    return [int(number) for number in re.findall(r"\d+", release.removesuffix(FLAVOUR))]


def newest_build(series: str, releases: Iterable[str]) -> str | None:
    """The newest build of the series or, if it has none, of the next newer series."""
    wanted = _numbers(series)
    eligible = [release for release in releases if _numbers(release)[:2] >= wanted]
    nearest = min((_numbers(release)[:2] for release in eligible), default=wanted)
    return max((r for r in eligible if _numbers(r)[:2] == nearest), key=_numbers, default=None)


def _releases(packages: Iterable[str]) -> set[str]:
    return {name.removeprefix(part) for name in packages for part in PARTS if name.startswith(part)}


def _bootable(folder: Path, series: str, notices: Iterable[str]) -> Kernel:
    release = folder.name
    images = [*folder.glob("boot/vmlinuz-*"), *folder.glob("usr/lib/modules/*/vmlinuz")]
    modules = [*folder.glob("usr/lib/modules/*/kernel"), *folder.glob("lib/modules/*/kernel")]
    if not images or not modules:
        raise NoKernelError(f"{folder} lacks a vmlinuz or modules: Debian has moved them, see PARTS")
    return Kernel(series, release, images[0], modules[0], tuple(notices))


def find_kernel(series: str) -> Kernel:
    """The newest build of a series, fetched if it is not in the cache.

    Raises:
        NoKernelError: Neither mirror nor cache has one.
    """
    cache = cache_folder()
    with locked(cache / "kernels"):
        return _find_kernel(series, cache)


@functools.cache
def refreshed_archive(folder: Path) -> tuple[Archive, str]:
    """The archive with new lists, once per process, and why they could not be had."""
    archive = Archive(folder, SUITES)
    try:
        archive.refresh()
    except AptError as error:
        return archive, str(error)
    return archive, ""


def _find_kernel(series: str, cache: Path) -> Kernel:
    kernels = cache / "kernels"
    archive, complaint = refreshed_archive(cache / "apt/kernels")
    notices = [f"{series}: a newer build may exist, for the mirror gave no new lists: {complaint}"] if complaint else []
    packages = archive.packages(rf"^linux-(image|binary|modules)-[0-9.]+[+].*{FLAVOUR}$")
    cached = {folder.name for folder in kernels.iterdir() if not folder.name.startswith(".")}
    release = newest_build(series, _releases(packages))
    if release is not None and release not in cached:
        try:
            _fetch(archive, [name for name in packages if name.endswith(f"-{release}")], kernels / release)
        except AptError as error:
            notices.append(f"{series}: {error}")
            release = None
    release = release or newest_build(series, cached)
    if release is None:
        raise NoKernelError(f"no kernel {series} or newer on the mirror or in {kernels}. {'; '.join(notices)}")
    if _numbers(release)[:2] != _numbers(series):
        notices.append(f"{series} HAS LEFT THE MIRROR: {release} stands in for it; change SERIES")
    return _bootable(kernels / release, series, notices)


def _fetch(archive: Archive, packages: list[str], folder: Path) -> None:
    """Unpack beside the final place and rename, so that a folder in the cache is always whole."""
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        archive.unpack(packages, partial)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _drop_older_builds(folder)


def _drop_older_builds(newest: Path) -> None:
    series = _numbers(newest.name)[:2]
    for folder in newest.parent.iterdir():
        if not folder.name.startswith(".") and folder != newest and _numbers(folder.name)[:2] == series:
            shutil.rmtree(folder)
