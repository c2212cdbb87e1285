"""Tells systemd, or who else started us, how it goes: the protocol of sd_notify(3), one datagram for each message."""

import logging
import os
import socket
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Self

log = logging.getLogger(__name__)

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
LONGEST_BEAT = 10.0
"""How old (s) a status may be, however patient the watchdog is."""
PATIENCE = 5.0
"""How long (s) a socket may be full before a message is given up."""


class Notifier:
    """Sends to ``address``, a path or ``@`` and an abstract name; says nothing where there is none.

    ``beat_seconds`` is how often `alive` is to be said: at least twice while the watchdog waits; None without one.
    """

    def __init__(self, address: str | None, beat_seconds: float | None = None) -> None:
        self._address = address
        self._stopping = False
        self.beat_seconds = beat_seconds

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """Take the variables out of the environment: what we start must not speak for us."""
        address, watchdog, pid = (environment.pop(name, "") for name in VARIABLES)
        is_watched = address and watchdog.isdecimal() and int(watchdog) and pid in ("", str(os.getpid()))
        return cls(address or None, min(int(watchdog) / 2e6, LONGEST_BEAT) if is_watched else None)

    @contextmanager
    def started(self) -> Iterator[None]:
        """All that was to be started is there until the block ends; then it is being stopped."""
        self._send("READY=1")
        try:
            yield
        finally:
            self._send("STOPPING=1")
            self._stopping = True

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Another configuration is gone over to within the block, whatever comes of it; not told while stopping."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            yield
        finally:
            self._send("READY=1")

    def alive(self, status: str) -> None:
        """Put the watchdog off, and say for people how it goes: one line."""
        self._send("WATCHDOG=1", f"STATUS={' '.join(status.split())}")

    def _send(self, *assignments: str) -> None:
        if not self._address or self._stopping:  # a reload that is broken off must not look like being ready again
            return
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(PATIENCE)
                sender.sendto("\n".join(assignments).encode(), name)
        except OSError as error:
            log.warning("$NOTIFY_SOCKET (%s) cannot be told %s: %s", self._address, assignments[0], error)
