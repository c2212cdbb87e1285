"""The application behind an ASGI server: pages are made in threads, and sent without one."""

import asyncio
import logging
from collections.abc import Callable, Container, Sequence
from concurrent.futures import Executor
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from damon_exporter.web.guard import refusal
from damon_exporter.web.limits import Limits
from damon_exporter.web.messages import App, Header, Request, Response
from damon_exporter.web.security import SecurityNow

log = logging.getLogger(__name__)

CHUNK = 1 << 16
"""Bytes that are copied for a client at a time; the page itself is shared by all who read it."""

Scope = dict[str, Any]


class Asgi:
    """Runs ``app`` in ``threads`` for those whom ``security`` lets in.

    The paths in ``probes`` are everybody's, and are answered at once, however much the threads have to do. Those in
    ``scrapes``, without a question, may take all threads; all others share some, so that scrapes never wait for them.
    """

    def __init__(
        self,
        app: App,
        threads: Executor,
        limits: Limits,
        security: SecurityNow,
        probes: Container[str],
        scrapes: Container[str],
    ) -> None:
        self._app = app
        self._threads = threads
        self._limits = limits
        self._security = security
        self._probes = probes
        self._scrapes = scrapes
        self._shared_threads = asyncio.Semaphore(limits.shared_threads)
        self._waiting = 0

    async def __call__(self, scope: Scope, _receive: object, send: Callable[[Scope], Any]) -> None:
        """Answer one request. Nobody reads a body, so whoever sends one is disconnected afterwards."""
        request = _request(scope)
        refused = _refused(scope, request, self._limits)
        response = _error(refused) if refused else await self._answer(request)
        headers = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "Date": formatdate(usegmt=True),
            **({"Connection": "close"} if refused or _has_body(request) else {}),
        }
        all_headers = [*headers.items(), *response.headers, *self._security().headers]
        await send({"type": "http.response.start", "status": response.status, "headers": _raw(all_headers)})
        for start in range(0, len(response.body), CHUNK):
            await send({"type": "http.response.body", "body": response.body[start : start + CHUNK], "more_body": True})
            await asyncio.sleep(0)  # lets others have their turn, and asyncio find out that the client has gone
        await send({"type": "http.response.body"})

    async def _answer(self, request: Request) -> Response:
        if request.path in self._probes:
            return self._respond(request)
        if refused := await refusal(self._security(), request):
            return refused
        if request.path in self._scrapes and not request.query:
            return await self._in_thread(request)
        if self._waiting >= self._limits.waiting:
            return _error(HTTPStatus.SERVICE_UNAVAILABLE)
        self._waiting += 1
        try:
            async with self._shared_threads:
                return await self._in_thread(request)
        finally:
            self._waiting -= 1

    async def _in_thread(self, request: Request) -> Response:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._respond, request)

    def _respond(self, request: Request) -> Response:
        try:
            return self._app(request)
        except Exception:
            log.exception("no answer to %s %s", request.method, request.path)
            return _error(HTTPStatus.INTERNAL_SERVER_ERROR)


def _request(scope: Scope) -> Request:
    """A header that is given several times is a list, which HTTP separates by commas."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    client, _ = scope["client"] or ("", 0)
    return Request(scope["path"], scope["method"], scope["query_string"].decode("latin-1"), headers, client)


def _refused(scope: Scope, request: Request, limits: Limits) -> HTTPStatus | None:
    """The status for a request that is too large, or of another HTTP; None for any other."""
    if scope["http_version"] not in ("1.0", "1.1"):
        return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
    if len(scope["raw_path"]) + len(scope["query_string"]) > limits.header_bytes:
        return HTTPStatus.REQUEST_URI_TOO_LONG
    header_bytes = sum(len(name) + len(value) + len(": \r\n") for name, value in scope["headers"])
    if len(scope["headers"]) > limits.headers or header_bytes > limits.header_bytes:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    if int(request.headers.get("content-length", 0)) > limits.body_bytes:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return None


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


def _error(status: HTTPStatus) -> Response:
    return Response(status, "text/plain", f"{status.phrase}\n".encode(), headers=())


def _raw(headers: Sequence[Header]) -> list[tuple[bytes, bytes]]:
    """As ASGI wants them; of those with one name the last counts."""
    last = {name.lower(): value for name, value in headers}
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in last.items()]
