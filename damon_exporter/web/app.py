"""The WSGI application: every page is made from the published state, and nothing else is looked at."""

from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from damon_exporter.metrics.collected import Collected
from damon_exporter.metrics.exposition import Exposition
from damon_exporter.state import NodeState
from damon_exporter.web import api, live
from damon_exporter.web import reload as reload_page
from damon_exporter.web.landing import landing_page
from damon_exporter.web.reload import Reload
from damon_exporter.web.response import Response

HEALTHY_PATH = "/-/healthy"
READY_PATH = "/-/ready"
UNGUARDED = frozenset({HEALTHY_PATH, READY_PATH})
"""Asked by probes, which have no password."""

_METHODS = ("GET", "HEAD")

Page = Callable[[NodeState, WSGIEnvironment], Response]


def make_app(
    current: Callable[[], NodeState],
    telemetry_path: str = "/metrics",
    reload: Reload | None = None,
    collected: Collected | None = None,
) -> WSGIApplication:
    """The application that serves what ``current`` returns; it is called once per request and must not block.

    ``telemetry_path`` may be ``/``, which leaves no landing page. ValueError if it is no path or is taken. ``reload``
    may block; None turns it off. ``collected`` is shared with who pushes the same.
    """
    pages = _pages(telemetry_path, Exposition(collected))

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        state = current()
        method = environ["REQUEST_METHOD"]
        page = pages.get(environ["PATH_INFO"])
        if environ["PATH_INFO"] == reload_page.PATH:
            response = _reload(state, method, reload)
        elif page is None:
            response = _text(state, HTTPStatus.NOT_FOUND, f"not found; there is {', '.join(pages)}")
        elif method not in _METHODS:
            response = _not_allowed(state, _METHODS)
        else:
            response = page(state, environ)
        return response.send(start_response, with_body=method != "HEAD")

    return app


def _pages(telemetry_path: str, exposition: Exposition) -> dict[str, Page]:
    def metrics(state: NodeState, environ: WSGIEnvironment) -> Response:
        rendering = exposition.render(
            state,
            environ.get("HTTP_ACCEPT", ""),
            environ.get("HTTP_ACCEPT_ENCODING", ""),
            parse_qs(environ.get("QUERY_STRING", "")).get("name[]", ()),
        )
        response = Response(HTTPStatus.OK, rendering.content_type, rendering.body)
        response = response.with_headers(("Vary", "Accept, Accept-Encoding"))
        if rendering.content_encoding is None:
            return response
        return response.with_headers(("Content-Encoding", rendering.content_encoding))

    def landing(state: NodeState, _: WSGIEnvironment) -> Response:
        page = landing_page(state, (live.PAGE_PATH, telemetry_path, api.PATH, HEALTHY_PATH, READY_PATH))
        return Response.of_text(HTTPStatus.OK, page, "text/html").with_headers(
            ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:")
        )

    fixed: dict[str, Page] = {
        live.PAGE_PATH: lambda _, __: live.page(),
        live.SCRIPT_PATH: lambda _, __: live.script(),
        api.PATH: lambda state, environ: api.answer(state, environ.get("QUERY_STRING", "")),
        HEALTHY_PATH: _healthy,
        READY_PATH: _ready,
    }
    taken = (*fixed, reload_page.PATH)
    if not telemetry_path.startswith("/") or telemetry_path in taken or not telemetry_path.isascii():
        raise ValueError(
            f"--web.telemetry-path {telemetry_path!r}: choose a path that begins with /, in ASCII, "
            f"and is none of {', '.join(taken)}"
        )
    return {"/": landing, telemetry_path: metrics, **fixed}


def _reload(state: NodeState, method: str, reload: Reload | None) -> Response:
    if reload is None:
        return _text(state, HTTPStatus.FORBIDDEN, reload_page.DISABLED)
    if method not in reload_page.METHODS:
        return _not_allowed(state, reload_page.METHODS)
    outcome, told = reload()
    return _text(state, outcome.value, told)


def _not_allowed(state: NodeState, methods: Sequence[str]) -> Response:
    response = _text(state, HTTPStatus.METHOD_NOT_ALLOWED, f"only {' and '.join(methods)}")
    return response.with_headers(("Allow", ", ".join(methods)))


def _healthy(state: NodeState, _: WSGIEnvironment) -> Response:
    return _text(state, HTTPStatus.OK, "healthy")


def _ready(state: NodeState, _: WSGIEnvironment) -> Response:
    if state.ready:
        return _text(state, HTTPStatus.OK, "ready", *state.reasons)
    return _text(state, HTTPStatus.SERVICE_UNAVAILABLE, "not ready", *state.reasons)


def _text(state: NodeState, status: HTTPStatus, *lines: str) -> Response:
    """A page of plain lines, which says so if what it talks about is a recording."""
    notice = () if state.recording is None else (f"# a recording, not this host: {state.recording}",)
    return Response.of_text(status, "".join(f"{line}\n" for line in (*lines, *notice)), "text/plain")
