"""The guest's root file system: busybox, the Python that runs the tests, and our package as it is now.

Two layers: what rarely changes (some 100 MB) is kept in the cache by what it consists of; the package,
the workloads and the agent are packed anew for each boot.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

from . import python_files
from .cpio import Layer
from .kernels import Kernel, cache_folder, locked
from .modules import module_files

HERE = Path(__file__).parent
WORKLOADS_PLACE = "/workloads"
DISTRIBUTIONS = ("damon-exporter", "damo")


class MissingToolError(RuntimeError):
    """A program that real-kernel tests need is not installed; the message tells the cure."""


def required_program(name: str) -> Path:
    """Where a program is.

    Raises:
        MissingToolError: It is not installed.
    """
    found = shutil.which(name)
    if found is None:
        raise MissingToolError(f"{name} is not installed: run tools/system-packages.sh as root (Debian, Ubuntu)")
    return Path(found)


def root_image(kernel: Kernel, modules: tuple[str, ...] = ()) -> bytes:
    """An initial RAM file system for a kernel, uncompressed: the emulated guest would be slow to inflate it.

    ``modules`` are names of kernel modules that are to be loaded at boot, with what they depend on.
    """
    return _base_archive() + _top_layer(kernel, modules).archive()


def _base_layer() -> Layer:
    layer = Layer()
    layer.copy(required_program("busybox"), "/bin/busybox")
    layer.link("/bin/sh", "busybox")
    python = [
        *python_files.interpreter(),
        *python_files.virtual_environment(),
        *python_files.distribution_files(DISTRIBUTIONS),
    ]
    layer.copies(python)
    layer.copies(python_files.shared_libraries([required_program("busybox"), *python]))
    program, real = Path(sys.executable), Path(sys.executable).resolve()
    for name in {"python", "python3", program.name}:
        if (place := program.parent / name) != real:
            layer.link(place, os.fspath(real))
    return layer


def _base_archive() -> bytes:
    layer = _base_layer()
    recipe = Path(python_files.__file__).read_bytes() + layer.fingerprint().encode()
    folder = cache_folder() / "root"
    cached = folder / f"{hashlib.sha256(recipe).hexdigest()[:16]}.cpio"
    with locked(folder):
        if not cached.exists():
            for outdated in folder.glob("*.cpio"):
                outdated.unlink()
            partial = cached.with_suffix(".partial")
            partial.write_bytes(layer.archive())
            partial.rename(cached)
        return cached.read_bytes()


def _top_layer(kernel: Kernel, modules: tuple[str, ...]) -> Layer:
    layer = Layer()
    layer.copy(HERE / "guest_init.sh", "/init")
    for program in ("agent.py", "container.py", "preloaded.py", "without_capabilities.py"):
        layer.copy(HERE / program, f"/{program}")
    layer.file("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    layer.file("/etc/group", b"root:x:0:\n")
    layer.file("/etc/hosts", b"127.0.0.1 localhost\n")
    layer.file("/etc/python", f"{sys.executable}\n".encode())
    package = HERE.parents[1] / "damon_exporter"
    # A .pyc that another process is writing bears a number at its end until it is whole.
    layer.copies(path for path in package.rglob("*") if path.is_file() and not path.suffix[1:].isdigit())
    for workload in (HERE / "workloads").glob("*.py"):
        layer.copy(workload, f"{WORKLOADS_PLACE}/{workload.name}")
    for number, content in enumerate(module_files(kernel, modules)):
        layer.file(f"/modules/{number:02}.ko", content)
    return layer
