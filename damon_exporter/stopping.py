"""What ends the process: a signal, or a thread that has failed."""

import signal
import threading


class Failed(Exception):
    """A thread has ended that must not; the log says why."""


class StopSignal:
    """Set by SIGTERM, SIGINT or SIGHUP (a terminal that closes), or by a thread that has failed."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._failed = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._event.set())

    def fail(self) -> None:
        """End the process: something must not go on as if nothing had happened."""
        self._failed = True
        self._event.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the signal, at most ``seconds``; True if it came. Raises `Failed` if a thread has failed."""
        set_ = self._event.wait(seconds)
        if self._failed:
            raise Failed("a thread has ended unexpectedly: the log says why")
        return set_
