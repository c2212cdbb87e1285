"""One client from its connection to its end, and how long it may take for what."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from damon_exporter.web.asgi import CHUNK
from damon_exporter.web.security import Encryption

TLS_HANDSHAKE = b"\x16"
"""The first byte that a client of TLS sends."""

GOODBYE_SECONDS = 2.0

KERNEL_BUFFER = 1 << 17
"""Bytes of a response that the kernel may keep for a client, twice; left alone it would keep megabytes."""

_NOT_ENCRYPTED = "this port speaks TLS only: ask for https://\n"
_REFUSAL = (
    f"HTTP/1.1 {HTTPStatus.BAD_REQUEST.value} {HTTPStatus.BAD_REQUEST.phrase}\r\nContent-Type: text/plain\r\n"
    f"Content-Length: {len(_NOT_ENCRYPTED)}\r\nConnection: close\r\n\r\n{_NOT_ENCRYPTED}"
).encode()


class Guests:
    """Who is connected. When there are ``most``, whoever has asked for nothing for longest makes room for the next."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._since: dict[socket.socket, None] = {}

    def enter(self, client: socket.socket) -> None:
        """Let somebody in, at the cost of somebody else if need be."""
        if len(self._since) >= self._most:
            self.show_out()
        self._since[client] = None

    def asks(self, client: socket.socket) -> None:
        """Remember that somebody asks for something just now."""
        if client in self._since:
            del self._since[client]
            self._since[client] = None

    def leave(self, client: socket.socket) -> None:
        """Forget somebody who has gone."""
        self._since.pop(client, None)

    def show_out(self) -> None:
        """Disconnect whoever has asked for nothing for longest; their connection notices by itself."""
        for client in list(self._since)[:1]:
            self.leave(client)
            with suppress(OSError):  # it has gone by itself
                client.shutdown(socket.SHUT_RDWR)


class Connection(H11Protocol):
    """HTTP/1.1 with one client. It has ``idle_seconds`` for every request, ``request_seconds`` to read the response.

    A client that sends or reads byte by byte would otherwise stay for as long as it likes.
    """

    def __init__(
        self,
        config: Config,
        state: ServerState,
        idle_seconds: float,
        request_seconds: float,
        admits: Callable[[Any], bool],
        asks: Callable[[], None],
        left: Callable[[], None],
    ) -> None:
        super().__init__(config, state, {})
        self._idle_seconds = idle_seconds
        self._request_seconds = request_seconds
        self._admits = admits
        self._asks = asks
        self._left = left
        self._answering = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        """Begin, unless this is nobody whom we know."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(CHUNK)
        if not self._admits(transport.get_extra_info("peercert")):
            transport.abort()
        self._allow(self._idle_seconds)

    def data_received(self, data: bytes) -> None:
        """Take in what the client sends."""
        super().data_received(data)
        self._notice_request()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._answering = False
        self._allow(self._idle_seconds)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._deadline:
            self._deadline.cancel()
        self._left()
        super().connection_lost(exc)

    def _notice_request(self) -> None:
        """Give a request its time; whoever sends the next one before the answer is disconnected after it."""
        if self.cycle and self.conn.trailing_data[0]:
            self.cycle.keep_alive = False
        if self.cycle and not self.cycle.response_complete and not self._answering:
            self._answering = True
            self._asks()
            self._allow(self._request_seconds)

    def _allow(self, seconds: float) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)


async def connect(
    client: socket.socket, encryption: Encryption | None, protocol: Callable[[], Connection], seconds: float
) -> None:
    """Let ``protocol`` talk to a client, within ``seconds``, through TLS if so configured.

    Raises OSError, also for TLS, and TimeoutError; the socket is closed then.
    """
    loop = asyncio.get_running_loop()
    try:
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as asyncio does with sockets of its own
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
        if encryption is None:
            await loop.connect_accepted_socket(protocol, client)
        elif await _first_byte(client, seconds) == TLS_HANDSHAKE:
            await loop.connect_accepted_socket(
                protocol,
                client,
                ssl=encryption.context,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=GOODBYE_SECONDS,
            )
        else:
            await _refuse(client, seconds)
    except BaseException:
        client.close()
        raise


async def _first_byte(client: socket.socket, seconds: float) -> bytes:
    """The byte, which is left where it is; empty if the client has gone."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(client, readable.set)
    try:
        await asyncio.wait_for(readable.wait(), seconds)
    finally:
        loop.remove_reader(client)
    return client.recv(1, socket.MSG_PEEK)


async def _refuse(client: socket.socket, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        if await loop.sock_recv(client, 1 << 16):
            await loop.sock_sendall(client, _REFUSAL)
    client.close()


def admits(encryption: Encryption | None, certificate: Any) -> bool:
    """Does a client's ``certificate``, as the ssl module tells it, have one of the allowed names?

    Without a certificate everybody is let in: whether there must be one is for the TLS context to say.
    """
    if encryption is None or encryption.allowed_names is None or not certificate:
        return True
    names = {_written(kind, name) for kind, name in certificate.get("subjectAltName", ())}
    return not names.isdisjoint(encryption.allowed_names)


def _written(kind: str, name: str) -> str:
    """Addresses as Go writes them: OpenSSL spells out the zeros of IPv6."""
    return str(ip_address(name.strip())) if kind == "IP Address" else name
