"""Kernel modules out of a Debian package, ready for insmod."""

import lzma
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from .kernels import Kernel


def module_files(kernel: Kernel, names: Iterable[str]) -> list[bytes]:
    """The named modules and what they depend on, inflated, in the order in which they can be loaded.

    What is built into the kernel has no file and is left out.
    """
    wanted = list(names)
    if not wanted:
        return []
    files = {_plain(path.name.partition(".")[0]): path for path in kernel.modules.rglob("*.ko.xz")}
    loaded: dict[str, bytes] = {}
    for name in wanted:
        _load_after_dependencies(_plain(name), files, loaded)
    return list(loaded.values())


def _plain(name: str) -> str:
    return name.replace("-", "_")  # the kernel takes both for the same


def _load_after_dependencies(name: str, files: dict[str, Path], loaded: dict[str, bytes]) -> None:
    if name in loaded or name not in files:
        return
    content = lzma.decompress(files[name].read_bytes())
    for dependency in _dependencies(content):
        _load_after_dependencies(dependency, files, loaded)
    loaded[name] = content


def _dependencies(module: bytes) -> Iterator[str]:
    """From the module's own ``.modinfo``, for ``modules.dep`` is only written on installation."""
    found = re.search(rb"\0depends=([^\0]+)\0", module)
    yield from (_plain(name.decode()) for name in (found[1].split(b",") if found else ()))
