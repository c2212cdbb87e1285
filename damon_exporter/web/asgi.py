"""The WSGI application behind an ASGI server: pages are made in threads, and sent without one."""

import asyncio
import io
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from wsgiref.types import WSGIApplication, WSGIEnvironment

from damon_exporter.web.response import Header

log = logging.getLogger(__name__)

PIECE = 1 << 16
"""Bytes that are copied for a client at a time; the page itself is shared by all who read it."""

Scope = dict[str, Any]
RawHeaders = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What a request may bring along: bytes of its line and headers together, headers, bytes of its body."""

    header_bytes: int
    headers: int
    body_bytes: int

    def refusal(self, scope: Scope) -> HTTPStatus | None:
        """The status for a request that is too large, or of another HTTP; None for any other."""
        if scope["http_version"] not in ("1.0", "1.1"):
            return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
        given: RawHeaders = scope["headers"]
        if len(scope["raw_path"]) + len(scope["query_string"]) > self.header_bytes:
            return HTTPStatus.REQUEST_URI_TOO_LONG
        if len(given) > self.headers or sum(len(name) + len(value) + 4 for name, value in given) > self.header_bytes:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        if any(name == b"content-length" and int(value) > self.body_bytes for name, value in given):
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return None


class Asgi:
    """Runs ``app`` in ``threads``; ``headers`` says what every response has besides, instead of its own."""

    def __init__(
        self, app: WSGIApplication, threads: Executor, limits: RequestLimits, headers: Callable[[], Sequence[Header]]
    ) -> None:
        self._app = app
        self._threads = threads
        self._limits = limits
        self._headers = headers

    async def __call__(self, scope: Scope, _receive: object, send: Callable[[Scope], Any]) -> None:
        """Answer one request. Nobody reads a body, so whoever sends one is disconnected afterwards."""
        refused = self._limits.refusal(scope)
        if refused:
            answer = _short(refused)
        else:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._run, scope)
        headers = [*_overridden(answer.headers, self._headers()), ("Date", formatdate(usegmt=True))]
        if refused or _has_body(scope):
            headers.append(("connection", "close"))
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        for start in range(0, len(answer.body), PIECE):
            piece = answer.body[start : start + PIECE]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _run(self, scope: Scope) -> "_Answer":
        try:
            return _collected(self._app, _environ(scope))
        except Exception:
            log.exception("no answer to %s %s", scope["method"], scope["path"])
            return _short(HTTPStatus.INTERNAL_SERVER_ERROR)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Sequence[Header]
    body: bytes


def _short(status: HTTPStatus) -> _Answer:
    body = f"{status.phrase}\n".encode()
    return _Answer(status, (("Content-Type", "text/plain"), ("Content-Length", str(len(body)))), body)


def _collected(app: WSGIApplication, environ: WSGIEnvironment) -> _Answer:
    started: list[tuple[str, Sequence[Header]]] = []

    def start_response(status: str, headers: Sequence[Header], _exc_info: object = None) -> Callable[[bytes], object]:
        started.append((status, headers))
        return _no_write

    chunks = list(app(environ, start_response))
    status, headers = started[-1]
    return _Answer(int(status[:3]), headers, chunks[0] if len(chunks) == 1 else b"".join(chunks))


def _no_write(_: bytes) -> None:
    raise NotImplementedError("pages are returned")


def _overridden(headers: Iterable[Header], configured: Sequence[Header]) -> list[Header]:
    names = {name.lower() for name, _ in configured}
    return [header for header in headers if header[0].lower() not in names] + list(configured)


def _has_body(scope: Scope) -> bool:
    given = dict(scope["headers"])
    return b"transfer-encoding" in given or given.get(b"content-length", b"0") != b"0"


def _environ(scope: Scope) -> WSGIEnvironment:
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": str(scope["server"][0]),
        "SERVER_PORT": str(scope["server"][1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0] if scope["client"] else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}"
        environ[key] = f"{environ[key]},{value.decode('latin-1')}" if key in environ else value.decode("latin-1")
    return environ
