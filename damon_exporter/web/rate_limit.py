"""How often requests are answered at all."""

import threading
import time
from collections.abc import Callable


class RateLimit:
    """A bucket of ``burst`` requests, into which one more falls every ``interval`` (s)."""

    def __init__(self, interval: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._burst = burst
        self._clock = clock
        self._left = float(burst)
        self._looked = clock()
        self._lock = threading.Lock()

    def allows(self) -> bool:
        """Take one request out of the bucket; False if it is empty."""
        with self._lock:
            now = self._clock()
            self._left = min(self._burst, self._left + (now - self._looked) / self._interval)
            self._looked = now
            if self._left < 1:
                return False
            self._left -= 1
            return True
