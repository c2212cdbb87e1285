"""What ends the process: a signal, or a thread that has failed."""

import os
import select
import signal
from collections.abc import Callable

SIGNALS_AT_ONCE = 64


class Failed(Exception):
    """A thread has ended that must not; the log says why."""


class StopSignal:
    """Set by SIGTERM or SIGINT, by SIGHUP unless there is something else to do then, or by a thread that has failed.

    Without ``on_hangup``, which is called by `wait` and must not take long, SIGHUP is a terminal that closes, and stays
    ignored where `nohup` ignores it.

    The interpreter writes a signal's number into a pipe at once, whatever its threads are doing. An event set by a
    handler in Python could be missed: the handler runs only when the main thread does, and that may just be going to
    sleep.
    """

    def __init__(self, on_hangup: Callable[[], None] | None = None) -> None:
        self._on_hangup = on_hangup
        self._failed = self._came = False
        self._wake, self._wakened_by = os.pipe()
        os.set_blocking(self._wakened_by, False)
        signal.set_wakeup_fd(self._wakened_by, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or on_hangup or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: None)

    def fail(self) -> None:
        """End the process: something must not go on as if nothing had happened."""
        self._failed = True
        os.write(self._wakened_by, b"\0")

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the signal comes (True), or a hangup, or ``seconds`` are over; raises `Failed` if a thread has."""
        if not self._came and select.select([self._wake], [], [], seconds)[0]:
            numbers = os.read(self._wake, SIGNALS_AT_ONCE)
            self._came = self._on_hangup is None or any(number != signal.SIGHUP for number in numbers)
            if self._on_hangup and not self._came:
                self._on_hangup()
        if self._failed:
            raise Failed("a thread has ended unexpectedly: the log says why")
        return self._came
