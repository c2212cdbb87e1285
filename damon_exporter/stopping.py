"""What ends the process: a signal, or a thread that has failed."""

import os
import select
import signal


class Failed(Exception):
    """A thread has ended that must not; the log says why."""


class StopSignal:
    """Set by SIGTERM, SIGINT or SIGHUP (a terminal that closes), or by a thread that has failed.

    SIGHUP stays ignored where `nohup` ignores it.

    The interpreter writes a signal's number into a pipe at once, whatever its threads are doing. An event set by a
    handler in Python could be missed: the handler runs only when the main thread does, and that may just be going to
    sleep.
    """

    def __init__(self) -> None:
        self._failed = False
        self._wake, self._wakened_by = os.pipe()
        os.set_blocking(self._wakened_by, False)
        signal.set_wakeup_fd(self._wakened_by, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: None)

    def fail(self) -> None:
        """End the process: something must not go on as if nothing had happened."""
        self._failed = True
        os.write(self._wakened_by, b"\0")

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the signal, at most ``seconds``; True if it came. Raises `Failed` if a thread has failed."""
        came = bool(select.select([self._wake], [], [], seconds)[0])  # nobody reads it: it stays set
        if self._failed:
            raise Failed("a thread has ended unexpectedly: the log says why")
        return came
