"""Which files the running Python, its standard library and some distributions consist of.

In the guest each lies where it lies on the host, so that a virtual environment, its scripts and an editable
install work there without a change.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement

_LEFT_OUT = re.compile(  # a third of the size, none of it needed to run
    r"/(tests?|idlelib|tkinter|turtledemo|lib2to3|ensurepip|pydoc_data|config-[^/]*|site-packages|dist-packages)/"
    r"|/(_test|_tkinter|_ctypes_test|xxlimited)[^/]*$|[.](opt-[12][.]pyc|a|pyi|h|c|pxd|f90)$"
)


def interpreter() -> Iterator[Path]:
    """The interpreter and the standard library."""
    yield Path(sys.executable).resolve()
    standard_library = Path(sysconfig.get_path("stdlib"))
    for path in standard_library.rglob("*"):
        if path.is_file() and not _LEFT_OUT.search(f"/{path.relative_to(standard_library)}"):
            yield path


def virtual_environment() -> Iterator[Path]:
    """What makes a folder a virtual environment, if that is what runs."""
    configuration = Path(sys.prefix) / "pyvenv.cfg"
    if configuration.exists():
        yield configuration


def distribution_closure(names: Iterable[str]) -> dict[str, importlib.metadata.Distribution]:
    """The named distributions and all that they require on this platform.

    Raises:
        importlib.metadata.PackageNotFoundError: One of them is not installed.
    """
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        requirements = map(Requirement, found[name].requires or ())
        waiting += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def distribution_files(names: Iterable[str]) -> Iterator[Path]:
    """Every installed file of the named distributions and of what they require, scripts included."""
    for distribution in distribution_closure(names).values():
        for file in distribution.files or ():
            path = Path(os.path.normpath(str(file.locate())))
            if path.is_file() and not _LEFT_OUT.search(f"/{file}"):
                yield path


def shared_libraries(files: Iterable[Path]) -> set[Path]:
    """What the dynamic loader will want for these programs and extension modules, itself included."""
    binaries = [str(path) for path in files if path.suffix == ".so" or path.parent.name == "bin"]
    listing = subprocess.run(["ldd", *binaries], text=True, capture_output=True, check=False).stdout
    return {Path(os.path.normpath(found)) for found in re.findall(r"(?:=> |^\t)(/\S+) \(", listing, re.MULTILINE)}
