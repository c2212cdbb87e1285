"""A sliding window over numbers, one per snapshot."""

import numpy as np
from numpy.typing import NDArray

FIRST_CAPACITY = 256


class SlidingWindow:
    """Numbers with the time (ns) of each, kept while they are younger than ``length_ns``."""

    def __init__(self, length_ns: int) -> None:
        self._length_ns = length_ns
        self._times: NDArray[np.int64] = np.empty(FIRST_CAPACITY, np.int64)
        self._values: NDArray[np.int64] = np.empty(FIRST_CAPACITY, np.int64)
        self._first = self._next = 0

    def resized(self, length_ns: int) -> "SlidingWindow":
        """Return a window of another length with what this one holds: a longer one fills from now on."""
        window = SlidingWindow(length_ns)
        window._times, window._values = self._times.copy(), self._values.copy()
        window._first, window._next = self._first, self._next
        return window

    def append(self, time_ns: int, value: int) -> None:
        """Add a number; times ascend."""
        if self._next == len(self._times):
            self._make_room(time_ns)
        self._times[self._next] = time_ns
        self._values[self._next] = value
        self._next += 1

    def values(self, now_ns: int) -> NDArray[np.int64]:
        """Return the numbers of the last ``length_ns`` before ``now_ns``, oldest first."""
        held = self._times[self._first : self._next]
        self._first += int(np.searchsorted(held, now_ns - self._length_ns, side="right"))
        return self._values[self._first : self._next]

    def _make_room(self, now_ns: int) -> None:
        """Move what is still held to the front, of larger arrays if it fills more than half of these."""
        values = self.values(now_ns)
        times = self._times[self._first : self._next]
        count = len(values)
        capacity = len(self._times) * (2 if count > len(self._times) // 2 else 1)
        self._times, self._values = np.resize(times, capacity), np.resize(values, capacity)
        self._first, self._next = 0, count
