"""A bound on how long one request over HTTP takes in all.

The timeout of `requests` begins anew with whatever is received, so a server that sends a byte now and then, or one
`100 Continue` after the other, would hold it for ever.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from requests.adapters import HTTPAdapter


class Deadline(HTTPAdapter):
    """Shuts down the connection of a request that is under way for too long, which then fails somehow.

    One request at a time. The look-up of a name is not ended, and each address of it may take the whole time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_over = False
        self._socket: Any = None

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Let what is done in this context take no longer; ``is_over`` says then whether it was ended."""
        self.is_over = False
        timer = threading.Timer(seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()  # or it could end what comes next

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
        """Return a pool whose connections tell us what they read from."""
        pool: Any = super().get_connection_with_tls_context(*arguments, **options)
        if "ConnectionCls" not in vars(pool):
            pool.ConnectionCls = self._watched(pool.ConnectionCls)
        return pool

    def _watched(self, kind: type[Any]) -> type[Any]:
        class Watched(kind):  # type: ignore[misc]
            """A connection forgets its socket before the last byte of some answers is read; so it is told of here."""

            def __setattr__(this, name: str, value: Any) -> None:  # noqa: N805 - self is the deadline
                super().__setattr__(name, value)
                if name == "sock" and value:
                    self._connected(value)

        return Watched

    def _connected(self, through: Any) -> None:
        self._socket = getattr(through, "socket", through)  # TLS within the TLS of a proxy is no socket
        if self.is_over:  # during a handshake there is none that could be shut down
            raise TimeoutError

    def _end(self) -> None:
        self.is_over = True
        with suppress(OSError):  # it is not connected, or not any more
            if self._socket:
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
