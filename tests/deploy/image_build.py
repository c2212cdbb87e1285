"""The image of the Dockerfile, built by buildah without any engine or registry.

Its base is Debian's Python and what that needs, and what pip installs lies in a folder: both are fetched by the
machine's own apt and pip, however they are configured, and kept in the cache.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vm.apt import configured_mirror
from vm.kernels import cache_folder, locked

CHECKOUT = Path(__file__).parents[2]
LOCKS = (CHECKOUT / "requirements.lock", CHECKOUT / "requirements-image.lock")

SUITE, PYTHON = "trixie", "3.13"  # those of the base that the Dockerfile names
PACKAGES = "base-files,ca-certificates,coreutils,dash,libstdc++6,python3,python3-venv"
UNREAD = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "locale", "man")]
# As in the image that the Dockerfile names, Python is found below /usr/local and brings pip, which wants to see
# certificates also where it asks nobody.
BASE = """\
FROM scratch
ADD base.tar /
RUN cat /usr/share/ca-certificates/mozilla/*.crt > /etc/ssl/certs/ca-certificates.crt && python3 -m venv /usr/local
"""
PIP = "[global]\nno-index = true\nfind-links = /run/wheels\n"
NOBODY = "65534:65534"


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a command to its end; what it prints, or an AssertionError with that and its complaint."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def kept(name: str, make: Callable[[Path], object]) -> Path:
    """A file or folder of the cache, made if it is not there, and then whole or not at all."""
    cache = cache_folder() / "image"
    with locked(cache):
        if not (cache / name).exists():
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=cache) as partial:
                make(Path(partial) / name)
                (Path(partial) / name).rename(cache / name)
    return cache / name


def digest(*parts: str) -> str:
    """What tells one thing of the cache from another that is made otherwise."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def base_files() -> Path:
    """An archive of the base's files, made once: what is in it of Debian is not what is tested."""
    how = ("--quiet", "--variant=extract", f"--include={PACKAGES}", *UNREAD, SUITE)
    return kept(f"base-{digest(*how)}.tar", lambda archive: run("mmdebstrap", *how, archive, configured_mirror()))


def locked_wheels() -> Path:
    """A folder of what the locks name, for the base's Python."""
    how = ("--python-version", PYTHON, "--only-binary", ":all:", "--no-deps", "--require-hashes")
    wanted = [word for lock in LOCKS for word in ("--requirement", lock)]

    def download(folder: Path) -> None:
        for older in folder.parents[1].glob("wheels-*"):
            shutil.rmtree(older)
        run(sys.executable, "-m", "pip", "download", *how, *wanted, "--dest", folder)

    return kept(f"wheels-{digest(*how, *(lock.read_text() for lock in LOCKS))}", download)


@dataclass(frozen=True)
class Image:
    """An image, and a container of it."""

    buildah: tuple[str, ...]
    """The command, with where it keeps what it makes."""
    name: str

    @cached_property
    def config(self) -> dict[str, Any]:
        """As engines read it: ``Entrypoint``, ``Labels``, ``User`` and so on."""
        inspected = json.loads(run(*self.buildah, "inspect", "--type", "image", self.name))
        found: dict[str, Any] = inspected["Docker"]["config"]
        return found

    @cached_property
    def container(self) -> str:
        """The name of a container, in which nothing runs by itself."""
        return run(*self.buildah, "from", "--pull-never", self.name).strip()

    @cached_property
    def root(self) -> Path:
        """The container's files, as seen from outside."""
        return Path(run(*self.buildah, "mount", self.container).strip())

    def command(self, *words: str) -> tuple[str, ...]:
        """What runs ``words`` in the container, as nobody."""
        return (*self.buildah, "run", "--isolation", "chroot", "--user", NOBODY, self.container, "--", *words)


def build(folder: Path) -> Image:
    """Build the image as `make image` does, below ``folder``."""
    stores = ("--root", f"{folder}/root", "--runroot", f"{folder}/runroot", "--storage-driver", "vfs")
    image = Image(("buildah", *stores), "localhost/damon-exporter")
    base = folder / "base"
    base.mkdir()
    (base / "Containerfile").write_text(BASE)
    shutil.copy(base_files(), base / "base.tar")
    run(*image.buildah, "build", "--isolation", "chroot", "--tag", "localhost/base", base)

    (folder / "pip.conf").write_text(PIP)
    volumes = f"--volume {locked_wheels()}:/run/wheels:ro --volume {folder}/pip.conf:/etc/pip.conf:ro"
    variables = {
        "ENGINE": " ".join(image.buildah),
        "IMAGE": image.name,
        "BASE": "localhost/base",
        "IMAGE_FLAGS": f"--isolation chroot {volumes}",
    }
    run("make", "image", *(f"{name}={value}" for name, value in variables.items()), cwd=CHECKOUT)
    return image


def cannot_be_tried() -> bool:
    """Whether images are not built here; continuous integration must be able to."""
    return "CI" not in os.environ and (shutil.which("buildah") is None or os.geteuid() != 0)
