"""Physical memory whose owners are known, in disorder: a sample of it is off by chance, as far as it says."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from running import Running
from vm.exporter import Metrics

PAGE = 4096
MEAN_RUN_PAGES = 64
"""How many neighbouring pages have one owner, in the mean."""

Share = tuple[float, str, str | None]
"""How much of the memory is of this kind and charged to this cgroup."""


class Owned(NamedTuple):
    """Addresses, what they are, and whose: as `FakeKernel.set_page_owners` takes them."""

    start: int
    end: int
    kind: str
    cgroup: str | None


def scattered(start: int, end: int, shares: Sequence[Share], seed: int = 1) -> list[Owned]:
    """Memory that is given out in runs of any length, to each its share."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 2 * MEAN_RUN_PAGES, (end - start) // PAGE // MEAN_RUN_PAGES) * PAGE
    starts = start + np.append(0, np.cumsum(lengths))
    edges = [*starts[starts < end].tolist(), end]
    chosen = rng.choice(len(shares), len(edges) - 1, p=[share for share, *_ in shares])
    runs = zip(edges[:-1], edges[1:], chosen.tolist(), strict=True)
    return [Owned(low, high, *shares[index][1:]) for low, high, index in runs]


def owned_bytes(owners: Sequence[Owned], start: int, end: int, those: Callable[[Owned], bool]) -> int:
    """How many bytes between two addresses are of those owners."""
    return sum(max(min(owner.end, end) - max(owner.start, start), 0) for owner in owners if those(owner))


class Passing:
    """An exporter that makes passes over one monitor, looked at pass by pass."""

    def __init__(self, running: Running, monitor: str) -> None:
        self._running = running
        self._monitor = monitor
        self._samples = 0.0

    def scrape(self) -> Metrics:
        """What is served now."""
        return Metrics.parse(self._running.fetch("/metrics")[1])

    def passes(self, count: int) -> list[Metrics]:
        """The next passes, each as soon as it is served."""
        return [self._next() for _ in range(count)]

    def pass_from_now_on(self) -> Metrics:
        """A pass that has begun after this call."""
        return self.passes(2)[-1]

    def _next(self) -> Metrics:
        seen: list[Metrics] = []

        def is_new() -> bool:
            seen[:] = [self.scrape()]
            samples = seen[0].get("damon_attribution_samples_total", monitor=self._monitor)
            return samples is not None and samples > self._samples

        self._running.wait_for(is_new)
        self._samples = seen[0].value("damon_attribution_samples_total", monitor=self._monitor)
        return seen[0]
