"""The Dockerfile, and the image that is made of it."""

import json
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_build import CHECKOUT, Image, build, cannot_be_tried, run
from prometheus_client.parser import text_string_to_metric_families

from damon_exporter import __version__

DOCKERFILE = CHECKOUT / "Dockerfile"
DOCUMENT = (CHECKOUT / "docs/image.md").read_text()
LOOPBACK = Path(__file__).parent / "loopback.py"
FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"
SECONDS = 30

pytestmark = [
    pytest.mark.xdist_group("image"),
    pytest.mark.timeout(900),  # on a machine that has neither base nor wheels yet, and others to serve
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if cannot_be_tried():
        pytest.skip("needs root, and buildah: run tools/system-packages.sh")
    folder = tmp_path_factory.mktemp("image")
    yield build(folder)
    shutil.rmtree(folder)  # a gigabyte, which pytest would keep for three runs


@pytest.fixture(scope="module")
def demo(image: Image) -> Iterator[int]:
    """The image's own command with the word ``demo``, on the port that it exposes; a process in its network."""
    command = image.command(*image.config["Entrypoint"], "demo")
    with subprocess.Popen(["unshare", "--net", sys.executable, LOOPBACK, *command], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert b"serving" in process.stderr.readline()
        yield process.pid
        process.terminate()


def in_network_of(process: int, *command: object) -> str:
    return run("nsenter", "--target", process, "--net", *command)


def test_hadolint_has_nothing_to_say() -> None:
    run(Path(sys.prefix) / "bin/hadolint", DOCKERFILE)


def test_what_hadolint_is_told_to_ignore_has_its_reason_above() -> None:
    lines = DOCKERFILE.read_text().splitlines()
    above = [lines[number - 1] for number, line in enumerate(lines) if "hadolint ignore" in line]

    assert [line for line in above if not re.match(r"# [A-Z]", line)] == []


def test_the_base_is_one_digest_which_can_be_given() -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)", DOCKERFILE.read_text(), re.MULTILINE)

    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)) == {"${BASE}"}


def test_the_images_command_serves_the_demo_to_nobody_in_particular(demo: int) -> None:
    deadline = time.monotonic() + SECONDS
    names: set[str] = set()
    while "damon_working_set_bytes" not in names:
        assert time.monotonic() < deadline, names
        text = in_network_of(demo, sys.executable, "-c", FETCH, "http://127.0.0.1:10555/metrics")
        names = {family.name for family in text_string_to_metric_families(text)}


def test_the_health_check_tells_a_running_demo_from_none(image: Image, demo: int) -> None:
    kind, *check = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"

    in_network_of(demo, *image.command("env", "http_proxy=http://127.0.0.1:9", *check))  # which it must not go through
    nothing_serves = ["unshare", "--net", sys.executable, LOOPBACK, *image.command(*check)]
    assert subprocess.run(nothing_serves, stderr=subprocess.DEVNULL, check=False).returncode != 0


def test_it_says_what_it_is_and_runs_as_root_unless_told_otherwise(image: Image) -> None:
    labels = {name.rpartition(".")[2]: text for name, text in image.config["Labels"].items()}

    assert (labels["title"], labels["licenses"]) == ("damon-exporter", "Apache-2.0")
    assert image.config["Labels"]["org.opencontainers.image.version"] == __version__
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["revision"])
    assert image.config["User"] == "0"
    assert list(image.config["ExposedPorts"]) == ["10555/tcp"]


def test_nobody_can_write_to_its_programs(image: Image) -> None:
    installed = [image.root / "opt/damon-exporter", *(image.root / "opt/damon-exporter").rglob("*")]
    writable = [path for path in installed if not path.is_symlink() and path.stat().st_mode & 0o222]

    assert writable == []
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in installed} == {(0, 0)}


def test_no_file_is_writable_by_all(image: Image) -> None:
    files = [path for path in image.root.rglob("*") if stat.S_ISREG(path.lstat().st_mode)]

    assert len(files) > 1000
    assert [path for path in files if path.lstat().st_mode & 0o022] == []


def test_neither_pip_nor_a_compiler_is_left(image: Image) -> None:
    programs = {path.name for path in image.root.glob("**/bin/*")}

    assert "python3" in programs
    assert {name for name in programs if re.fullmatch(r"pip[\d.]*|uv|g?cc(-\d+)?|c99|ld|as|make", name)} == set()
    assert [*image.root.glob("**/pip/__init__.py"), *image.root.glob("**/ensurepip/__init__.py")] == []


def test_its_list_of_contents_names_itself_and_what_is_locked(image: Image) -> None:
    listed = json.loads((image.root / "opt/damon-exporter/sbom.cdx.json").read_text())
    found = {(re.sub("[-_.]+", "-", part["name"]).lower(), part["version"]) for part in listed["components"]}
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)", (CHECKOUT / "requirements.lock").read_text(), re.MULTILINE)

    assert found == {*pins, ("damon-exporter", __version__)}


def test_its_size_is_as_the_documentation_says(image: Image) -> None:
    sizes = [megabytes(image.root / "opt"), megabytes(image.root)]
    stated = re.findall(r"adds about (\d+) MB.*?(\d+) MB in all", DOCUMENT, re.DOTALL)

    print("the image adds {:.0f} MB to its base, and has {:.0f} MB in all".format(*sizes))
    assert [pytest.approx(int(size), rel=0.1) for size in stated[0]] == sizes


def megabytes(folder: Path) -> float:
    """What the files below a folder hold."""
    return sum(found.st_size for path in folder.rglob("*") if stat.S_ISREG((found := path.lstat()).st_mode)) / 1e6


def test_the_examples_name_this_version() -> None:
    assert set(re.findall(r"damon[-_]exporter[:-](\d[\w.]*\d)", DOCUMENT)) == {__version__}
