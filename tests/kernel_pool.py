"""Fake kernels that tests hand on to each other: a reboot is many times as fast as a start."""

import json
from collections import defaultdict
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

from damon_exporter.testing.fake_kernel import FakeKernel


class KernelPool:
    """Starts fake kernels below ``folder`` and keeps them; leaving ``running`` ends them all."""

    def __init__(self, folder: Path) -> None:
        self.running = ExitStack()
        self._folder = folder
        self._numbers = count(1)
        self._idle: defaultdict[str, list[FakeKernel]] = defaultdict(list)
        self._taken: list[tuple[str, FakeKernel]] = []

    def take(self, **options: Any) -> FakeKernel:
        """A kernel as it is after boot. The options are those of `FakeKernel`."""
        key = json.dumps(options, sort_keys=True)
        if self._idle[key]:
            kernel = self._idle[key].pop()
        else:
            kernel = self.running.enter_context(FakeKernel(self._folder / f"kernel{next(self._numbers)}", **options))
        self._taken.append((key, kernel))
        return kernel

    def take_back(self) -> None:
        """Reboot all that were taken."""
        while self._taken:
            key, kernel = self._taken.pop()
            kernel.reboot()
            self._idle[key].append(kernel)
