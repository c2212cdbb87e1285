"""What `make dist` makes, installed where nothing else is."""

import re
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from deploy.page import block, shell
from image_build import CHECKOUT, run
from running import Running

from damon_exporter import __version__

GUARD = CHECKOUT / "tests/guard"
pytestmark = [pytest.mark.xdist_group("dist"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    stamp = Path(sys.prefix) / ".dev"  # these tests run in what it stands for
    run("make", "dist", f"VENV={sys.prefix}", f"--assume-old={stamp}", f"DIST={folder}", cwd=CHECKOUT)
    return folder


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder in which only what is installed is found, and the tests' guard."""
    monkeypatch.setenv("PYTHONPATH", str(GUARD))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_wheel_and_sdist_are_named_after_the_version(dist: Path) -> None:
    assert {path.name for path in dist.iterdir()} == {
        f"damon_exporter-{__version__}-py3-none-any.whl",
        f"damon_exporter-{__version__}.tar.gz",
    }


def test_the_wheel_holds_what_is_served_and_no_tests(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    data = [path.relative_to(CHECKOUT) for path in (CHECKOUT / "damon_exporter").rglob("*") if path.is_file()]

    assert {str(path) for path in data if path.suffix != ".pyc"} < names
    assert f"damon_exporter-{__version__}.dist-info/licenses/LICENSE" in names
    assert {name.partition("/")[0] for name in names} == {"damon_exporter", f"damon_exporter-{__version__}.dist-info"}


def test_the_sdist_holds_what_is_committed(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    committed = set(run("git", "ls-files", cwd=CHECKOUT).splitlines())

    assert committed - packed == set()


def test_the_sdist_makes_the_same_wheel_again(dist: Path, tmp_path: Path) -> None:
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--wheel-dir", tmp_path, sdist)

    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_page_says_how_to_install_the_wheel_which_then_serves_the_demo_by_itself(
    dist: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (wheel,) = dist.glob("*.whl")
    make, install, *starts = (line.partition("#")[0].split() for line in block("sh", "pip install").splitlines())
    assert install[1:] == ["install", "."]  # the checkout, of which the wheel is made
    monkeypatch.setenv("PIP_NO_COMPILE", "1")  # quicker
    shell(" ".join([*make, "\n", install[0], "install", str(wheel)]).replace("/opt/", f"{elsewhere}/"))

    program = "/opt/damon-exporter/bin/damon-exporter"
    assert starts == [[program, "demo"], [program, "doctor"], ["sudo", program]]
    python, program = elsewhere / "damon-exporter/bin/python", f"{elsewhere}{program.removeprefix('/opt')}"
    assert Path(run(python, "-c", "import damon_exporter; print(damon_exporter.__file__)")).is_relative_to(elsewhere)
    run(program, "doctor", "--help")
    with Running("demo", command=[program]) as exporter:
        exporter.wait_for(lambda: exporter.value("damon_working_set_bytes", monitor="node"))
        assert exporter.value("damon_exporter_build_info", version=__version__) == 1
        assert exporter.fetch("/live")[0] == 200
        assert exporter.stop() == 0


def test_the_newest_release_of_the_changelog_is_this_version() -> None:
    headings = re.findall(r"^## (\S+)", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]

    assert headings[0] in ("Unreleased", __version__)
    assert released[:1] in ([], [__version__])
