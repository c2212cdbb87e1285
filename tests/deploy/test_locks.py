"""The locks that the image is built from."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from image_build import CHECKOUT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
IN_THE_IMAGE = ("kubelet", "otlp")


def pins(lock: str) -> Iterator[tuple[str, str, list[str]]]:
    """Name, version and hashes of everything that is locked."""
    text = (CHECKOUT / lock).read_text()
    for entry in re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.startswith("#"))):
        name, version = re.match(r"([\w.-]+)==([^\s;]+)", entry).groups()  # type: ignore[union-attr]
        yield canonicalize_name(name), version, re.findall(r"--hash=sha256:[0-9a-f]{64}", entry)


def asked(*requirements: list[str]) -> list[Requirement]:
    return [Requirement(requirement) for several in requirements for requirement in several]


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        pytest.param(
            "requirements.lock",
            asked(
                PROJECT["project"]["dependencies"],
                *(PROJECT["project"]["optional-dependencies"][extra] for extra in IN_THE_IMAGE),
            ),
            id="what runs",
        ),
        pytest.param(
            "requirements-image.lock",
            asked(PROJECT["build-system"]["requires"], PROJECT["dependency-groups"]["image"]),
            id="what builds",
        ),
    ],
)
def test_a_version_is_locked_that_the_project_accepts(lock: str, requirements: list[Requirement]) -> None:
    versions = {name: version for name, version, _ in pins(lock)}
    wrong = [
        f"{wanted}: {versions.get(canonicalize_name(wanted.name))} is locked: run make lock"
        for wanted in requirements
        if not wanted.specifier.contains(versions.get(canonicalize_name(wanted.name), "0"))
    ]

    assert wrong == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-image.lock"])
def test_every_file_is_known_by_its_hash_wherever_it_comes_from(lock: str) -> None:
    assert [name for name, _, hashes in pins(lock) if not hashes] == []
    assert "://" not in (CHECKOUT / lock).read_text()


def test_every_extra_but_those_for_development_is_in_the_image() -> None:
    assert set(PROJECT["project"]["optional-dependencies"]) - {"dev", "pictures"} == set(IN_THE_IMAGE)
    (extras,) = re.findall(r"pyproject\.toml((?: --extra \w+)+)", (CHECKOUT / "tools/lock.sh").read_text())
    assert set(extras.split()) - {"--extra"} == set(IN_THE_IMAGE)
