"""One client from its connection to its end, and how long it may take for what."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from damon_exporter.web.asgi import CHUNK
from damon_exporter.web.limits import Limits
from damon_exporter.web.security import Encryption

TLS_HANDSHAKE = b"\x16"
"""The first byte that a client of TLS sends."""

SHUTDOWN_SECONDS = 2.0
SHORTEST_HANDSHAKE_SECONDS = 0.1

KERNEL_BUFFER = 1 << 17
"""Bytes of a response that the kernel may keep for a client, twice; left alone it would keep megabytes."""

_HTTPS_ONLY = "this port speaks TLS only: ask for https://\n"
_HTTPS_ONLY_RESPONSE = (
    f"HTTP/1.1 {HTTPStatus.BAD_REQUEST.value} {HTTPStatus.BAD_REQUEST.phrase}\r\nContent-Type: text/plain\r\n"
    f"Content-Length: {len(_HTTPS_ONLY)}\r\nConnection: close\r\n\r\n{_HTTPS_ONLY}"
).encode()


class Clients:
    """Who is connected, from which address. When there are ``most``, one is disconnected for the next.

    It is one of the address with most connections, so that nobody's many cost others theirs: the one that has asked for
    nothing for longest.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_last_request: dict[socket.socket, str] = {}
        self._of_address: Counter[str] = Counter()

    def add(self, client: socket.socket, address: str) -> None:
        """Count a client, at the cost of another if need be."""
        if len(self._by_last_request) >= self._most:
            self.disconnect_idlest()
        self._by_last_request[client] = address
        self._of_address[address] += 1

    def note_request(self, client: socket.socket) -> None:
        """Remember that a client asks for something just now."""
        if address := self._by_last_request.pop(client, None):
            self._by_last_request[client] = address

    def remove(self, client: socket.socket) -> None:
        """Forget a client that has gone."""
        if address := self._by_last_request.pop(client, None):
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def disconnect_idlest(self) -> None:
        """Disconnect the idlest of the address with most connections; their connection notices by itself."""
        if self._by_last_request:
            ((crowded, _),) = self._of_address.most_common(1)
            client = next(one for one, address in self._by_last_request.items() if address == crowded)
            self.remove(client)
            with suppress(OSError):  # it has gone by itself
                client.shutdown(socket.SHUT_RDWR)


class Connection(H11Protocol):
    """HTTP/1.1 with one client. It has ``idle_seconds`` for every request, ``request_seconds`` to read the response.

    A client that sends or reads byte by byte would otherwise stay for as long as it likes. While a page is made, which
    may be a reload of minutes, it is the client that waits.
    """

    def __init__(
        self,
        config: Config,
        state: ServerState,
        limits: Limits,
        encryption: Encryption | None,
        clients: Clients,
        client: socket.socket,
    ) -> None:
        super().__init__(config, state, {})
        self._limits = limits
        self._encryption = encryption
        self._clients = clients
        self._socket = client
        self._responding = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        """Begin, unless the client's certificate is of nobody who is allowed."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(CHUNK)
        if self._encryption and not self._encryption.allows(transport.get_extra_info("peercert")):
            transport.abort()
        self._abort_in(self._limits.idle_seconds)

    def data_received(self, data: bytes) -> None:
        """Take in what the client sends; if it sends the next request before the response, that is its last."""
        super().data_received(data)
        if self.cycle and self.conn.trailing_data[0]:
            self.cycle.keep_alive = False
        if self.cycle and not self.cycle.response_complete and not self._responding:
            self._responding = True
            self._clients.note_request(self._socket)
            self._abort_in(self._limits.request_seconds if self.flow.write_paused else None)

    def pause_writing(self) -> None:
        """Wait for the client to read; once in a while is not enough."""
        if not self._deadline:
            self._abort_in(self._limits.request_seconds)
        super().pause_writing()

    def on_response_complete(self) -> None:
        """Wait until the rest is read, if there is any, and for the next request."""
        self._responding = False
        is_unread = self.transport.get_write_buffer_size() > 0
        self._abort_in(self._limits.request_seconds if is_unread else self._limits.idle_seconds)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._abort_in(None)
        self._clients.remove(self._socket)
        super().connection_lost(exc)

    def _abort_in(self, seconds: float | None) -> None:
        """Instead of when it was to be before; None: not at all."""
        if self._deadline:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)


async def connect(
    client: socket.socket, encryption: Encryption | None, protocol: Callable[[], Connection], limits: Limits
) -> None:
    """Let ``protocol`` talk to a client, within ``idle_seconds``, through TLS if so configured.

    Raises OSError, also for TLS, and TimeoutError; the socket is the caller's to close then.
    """
    loop = asyncio.get_running_loop()
    client.setblocking(False)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as asyncio does with sockets of its own
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
    if encryption is None:
        await loop.connect_accepted_socket(protocol, client)
        return
    began = loop.time()
    first = await _first_byte(client, limits.idle_seconds)
    left = max(limits.idle_seconds - (loop.time() - began), SHORTEST_HANDSHAKE_SECONDS)
    if first == TLS_HANDSHAKE:
        await loop.connect_accepted_socket(
            protocol,
            client,
            ssl=encryption.context,
            ssl_handshake_timeout=left,
            ssl_shutdown_timeout=limits.request_seconds,  # what is not read by then is lost
        )
    else:
        await _answer_plain_http(client, left)


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


async def _answer_plain_http(client: socket.socket, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        if await loop.sock_recv(client, 1 << 16):
            await loop.sock_sendall(client, _HTTPS_ONLY_RESPONSE)
    client.close()
