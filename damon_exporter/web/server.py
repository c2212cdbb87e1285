"""The HTTP server: cheroot on one or more addresses, with bounds on what a client may take."""

import logging
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from wsgiref.types import WSGIApplication

from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.wsgi import Server as CherootServer

from damon_exporter.web.listen import BACKLOG, ListenAddress, bind

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take, per listen address.

    ``idle_seconds`` bounds every wait for a client, ``request_seconds`` a request with its response in all:
    a client that sends or reads byte by byte would otherwise hold its thread for as long as it likes.
    """

    threads: int = 8
    idle_seconds: int = 10
    request_seconds: float = 30
    header_bytes: int = 16 * 1024
    body_bytes: int = 1024
    waiting_connections: int = 64


class Server:
    """Serves an application on ``addresses``: bound when made, served between `start` and `stop`.

    Raises ValueError for what is no address and ListenError for one that cannot be had.
    """

    def __init__(self, addresses: Sequence[str], app: WSGIApplication, limits: Limits | None = None) -> None:
        self._servers: list[_Cheroot] = []
        try:
            for address in [ListenAddress.parse(text) for text in addresses]:
                self._servers.append(_Cheroot(bind(address), app, limits or Limits()))
        except OSError:
            self.stop()
            raise

    @property
    def bound(self) -> tuple[ListenAddress, ...]:
        """The addresses as bound, with the port that the kernel chose for port 0."""
        return tuple(ListenAddress(*server.bind_addr) for server in self._servers)

    def start(self) -> None:
        """Serve in threads of their own, which do not keep the process alive."""
        for server in self._servers:
            threading.Thread(target=server.start, name=f"http {server.bind_addr}", daemon=True).start()
        for server in self._servers:
            server.serving.wait()

    def stop(self) -> None:
        """End the responses under way, for 2 s at most, and free the ports."""
        for server in self._servers:
            server.stop()
            server.listening.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Request(HTTPRequest):
    def read_request_headers(self) -> bool:
        """Read the headers; nobody reads a chunked body, and what is left of it is no next request."""
        good = bool(super().read_request_headers())  # type: ignore[no-untyped-call]  # cheroot's stub has no types
        self.close_connection = self.close_connection or self.chunked_read
        return good


class _Connection(HTTPConnection):
    RequestHandlerClass = _Request
    server: "_Cheroot"

    def communicate(self) -> bool:
        """Serve one request, and cut off a client that makes it last too long."""
        cut = threading.Timer(self.server.limits.request_seconds, self._cut)
        cut.daemon = True
        cut.start()
        try:
            return bool(super().communicate())  # type: ignore[no-untyped-call]  # cheroot's stub has no types
        finally:
            cut.cancel()

    def _cut(self) -> None:
        with suppress(OSError):  # it has gone by itself
            self.socket.shutdown(socket.SHUT_RDWR)


class _Cheroot(CherootServer):
    ConnectionClass = _Connection

    def __init__(self, listening: socket.socket, app: WSGIApplication, limits: Limits) -> None:
        super().__init__(
            listening.getsockname()[:2],
            app,
            numthreads=limits.threads,
            max=limits.threads,
            server_name="damon-exporter",  # cheroot's name and version otherwise
            request_queue_size=BACKLOG,
            timeout=limits.idle_seconds,
            shutdown_timeout=2,
            accepted_queue_size=BACKLOG,
            accepted_queue_timeout=0,  # past that a client gets 503 at once, and accepting goes on
        )
        self.limits = limits
        self.listening = listening
        self.serving = threading.Event()
        self.max_request_header_size = limits.header_bytes
        self.max_request_body_size = limits.body_bytes
        self.keep_alive_conn_limit = limits.waiting_connections

    def prepare(self) -> None:
        """Get ready to serve, on our own socket whatever the environment says about inherited ones."""
        os.environ.pop("LISTEN_PID", None)
        super().prepare()

    def bind(self, *_: int) -> socket.socket:
        """Take the socket that is bound already."""
        self.socket = self.listening
        return self.listening

    def serve(self) -> None:
        """Serve until stopped."""
        self.serving.set()
        super().serve()

    def process_conn(self, conn: _Connection) -> None:
        """Let a new connection wait without a thread until its client sends something."""
        if conn.last_used is None and self.can_add_keepalive_connection:
            self.put_conn(conn)
        else:
            super().process_conn(conn)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """Log what went wrong with a connection."""
        log.log(level, "%s", msg, exc_info=traceback)
