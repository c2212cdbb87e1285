"""The HTTP server: uvicorn's HTTP/1.1 on asyncio, on one or more addresses, with bounds on what a client may take.

Clients are waited for without threads: handshakes, headers and responses, however slow, cost a descriptor each.
"""

import asyncio
import errno
import logging
import socket
import threading
from asyncio import sslproto
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Self

from uvicorn import Config
from uvicorn.server import ServerState

from damon_exporter.web.asgi import Asgi
from damon_exporter.web.connection import SHUTDOWN_SECONDS, Clients, Connection, connect
from damon_exporter.web.limits import Limits
from damon_exporter.web.listen import ListenAddress, bind
from damon_exporter.web.messages import App
from damon_exporter.web.security import SecurityNow, no_security

log = logging.getLogger(__name__)

OUT_OF_DESCRIPTORS_SECONDS = 0.01
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

TLS_BUFFER = 1 << 14
"""Bytes that asyncio reads of a client at a time, and has a buffer of for each; 256 KiB if left alone."""


class Server:
    """Serves an application on ``addresses``: bound when made, served between `start` and `stop`.

    The paths in ``probes`` are served to whoever connects, and must be made in no time. Those in ``scrapes`` may take
    all threads. ``on_failure`` is called if serving ends for a reason that nobody has foreseen.
    Raises ValueError for what is no address and ListenError for one that cannot be had.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        app: App,
        limits: Limits | None = None,
        security: SecurityNow = no_security,
        probes: Container[str] = (),
        scrapes: Container[str] = (),
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._limits = limits or Limits()
        self._on_failure = on_failure
        self._scrapes = scrapes
        self._security = security
        self._app = app
        self._probes = probes
        self._listening: list[socket.socket] = []
        self._thread: threading.Thread | None = None
        self._serving = threading.Event()
        try:
            for address in [ListenAddress.parse(text) for text in addresses]:
                self._listening.append(bind(address))
        except OSError:
            self._close()
            raise
        self.bound = tuple(ListenAddress(*listening.getsockname()[:2]) for listening in self._listening)
        """The addresses as bound, with the port that the kernel chose for port 0."""

    def start(self) -> None:
        """Serve in threads of their own, which do not keep the process alive."""
        _adapt_libraries()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()
        self._serving.wait()

    def stop(self) -> None:
        """End the responses under way, for 2 s at most, and free the ports."""
        if self._thread:
            with suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._close()

    def _close(self) -> None:
        for listening in self._listening:
            listening.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:
            log.exception("serving has ended")
            self._on_failure()
        finally:
            self._serving.set()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        with ThreadPoolExecutor(self._limits.threads, "http page") as threads:
            application = Asgi(self._app, threads, self._limits, self._security, self._probes, self._scrapes)
            acceptor = _Acceptor(application, self._limits, self._security)
            accepting = [asyncio.create_task(acceptor.accept(listening)) for listening in self._listening]
            self._serving.set()
            stopping = asyncio.create_task(self._stopping.wait())
            ended, _ = await asyncio.wait([stopping, *accepting], return_when=asyncio.FIRST_COMPLETED)
            for task in accepting:
                task.cancel()
            await acceptor.close()
            for done in ended:
                done.result()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _adapt_libraries() -> None:
    """Set what they offer for the whole process only, in which nobody else uses them."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of every request that is none
    sslproto.SSLProtocol.max_size = TLS_BUFFER


class _Acceptor:
    """Accepts clients and keeps count of them; all within the loop's thread."""

    def __init__(self, application: Asgi, limits: Limits, security: SecurityNow) -> None:
        self._limits = limits
        self._security = security
        self._clients = Clients(limits.connections)
        self._connecting: set[asyncio.Task[None]] = set()
        self._state = ServerState()
        self._state.default_headers = [(b"server", b"damon-exporter")]
        self._config = Config(
            application,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=2 * limits.header_bytes,
            timeout_keep_alive=3600,  # ours is shorter
        )

    async def accept(self, listening: socket.socket) -> None:
        """Let clients in until cancelled; the first time that descriptors run out is a warning."""
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        report = log.warning
        while True:
            try:
                client, (address, *_) = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:  # that client alone has gone, or is not let in
                    continue
                report("cannot accept a connection: %s; closing those that are idle; raise `ulimit -n`", error.strerror)
                report = log.debug
                self._clients.disconnect_idlest()
                await asyncio.sleep(OUT_OF_DESCRIPTORS_SECONDS)
                continue
            self._clients.add(client, address)
            connecting = loop.create_task(self._connect(client))
            self._connecting.add(connecting)
            connecting.add_done_callback(self._connecting.discard)

    async def _connect(self, client: socket.socket) -> None:
        try:
            encryption = self._security().encryption
            await connect(
                client,
                encryption,
                lambda: Connection(self._config, self._state, self._limits, encryption, self._clients, client),
                self._limits,
            )
        except BaseException as error:
            client.close()
            if not isinstance(error, OSError):  # of TLS too; TimeoutError is one
                raise
            log.debug("a client could not be connected: %s", error or "it took too long")
        finally:
            if client.fileno() < 0:
                self._clients.remove(client)

    async def close(self) -> None:
        """Let responses end, for a while; then disconnect everybody."""
        for connecting in self._connecting:
            connecting.cancel()
        for connection in list(self._state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                while self._state.connections:
                    await asyncio.sleep(0.01)
        for connection in list(self._state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
