"""How much something has grown while it was scraped."""

import statistics
from collections.abc import Callable, Sequence

from .exporter import Metrics


def quarter(scrapes: Sequence[Metrics], number: int, of: Callable[[Metrics], float]) -> float:
    """The mean of something over one quarter of the scrapes, 0 to 3."""
    begin, end = (len(scrapes) * n // 4 for n in (number, number + 1))
    return statistics.mean(map(of, scrapes[begin:end]))


def growth(scrapes: Sequence[Metrics], of: Callable[[Metrics], float]) -> float:
    """How much larger it is in the last quarter than in the second; the first is for warming up."""
    return quarter(scrapes, 3, of) - quarter(scrapes, 1, of)
