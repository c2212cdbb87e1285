"""What the reader of a report must know of the real kernels: which, and what stood in for one that is gone."""

import pytest

kernels_booted = pytest.StashKey[list[str]]()
