"""How often requests are answered at all."""

import threading
import time
from collections.abc import Callable


class RateLimit:
    """A bucket of ``burst`` tokens, one for each request, into which one more falls every ``interval`` (s)."""

    def __init__(self, interval: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._refilled = clock()
        self._lock = threading.Lock()

    def allows(self) -> bool:
        """Take a token out of the bucket; False if it is empty."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._refilled) / self._interval)
            self._refilled = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
