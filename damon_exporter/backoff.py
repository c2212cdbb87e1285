"""Waiting longer after every failure."""


class BackOff:
    """Delays (s) that double from ``first`` up to ``longest``."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = self._delay = first
        self._longest = longest

    def next(self) -> float:
        """Return the delay to wait now."""
        delay, self._delay = self._delay, min(self._delay * 2, self._longest)
        return delay

    def reset(self) -> None:
        """Begin with the first delay again."""
        self._delay = self._first
