"""Fixtures for the names of containers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from played_kubelet import PlayedKubelet, playing


@pytest.fixture
def played() -> Iterator[PlayedKubelet]:
    """A kubelet that answers with an empty list until it is told to do otherwise."""
    with playing() as kubelet:
        yield kubelet


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("first-token\n")
    return file
