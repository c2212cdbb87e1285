"""The application: every page is made from the published state, and nothing else is looked at."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from urllib.parse import parse_qs

from damon_exporter.metrics.collected import Collected
from damon_exporter.metrics.exposition import Exposition
from damon_exporter.state import NodeState
from damon_exporter.web import api, live
from damon_exporter.web.landing import landing_page
from damon_exporter.web.messages import App, Request, Response

HEALTHY_PATH = "/-/healthy"
READY_PATH = "/-/ready"
PROBES = frozenset({HEALTHY_PATH, READY_PATH})
"""Asked by who has no password and little patience; made in no time."""
RELOAD_PATH = "/-/reload"
"""The only page that changes anything."""

_METHODS = ("GET", "HEAD")
_RELOAD_METHODS = ("POST", "PUT")
_RELOAD_IS_OFF = "reloads over HTTP are off: start with --web.enable-lifecycle, or send SIGHUP"

Page = Callable[[NodeState, Request], Response]
Reload = Callable[[], tuple[HTTPStatus, str]]
"""Reloads the configuration and says how that went."""

_FIXED_PAGES: dict[str, Page] = {
    live.PAGE_PATH: lambda _, __: live.page(),
    live.SCRIPT_PATH: lambda _, __: live.script(),
    HEALTHY_PATH: lambda state, _: _text(state, HTTPStatus.OK, "healthy"),
    READY_PATH: lambda state, _: _ready(state),
}


def make_app(
    current: Callable[[], NodeState],
    telemetry_path: str = "/metrics",
    reload: Reload | None = None,
    collected: Collected | None = None,
) -> App:
    """The application that serves what ``current`` returns; it is called once per request and must not block.

    ``telemetry_path`` may be ``/``, which leaves no landing page. ValueError if it is no path or is taken. ``reload``
    may block; None turns it off. ``collected`` is shared with who pushes the same.
    """
    exposition, questions = Exposition(collected), api.Api()
    pages: dict[str, Page] = {
        "/": lambda state, _: _landing(state, telemetry_path),
        checked_telemetry_path(telemetry_path): lambda state, request: _metrics(state, request, exposition),
        api.PATH: lambda state, request: questions.answer(state, request.query),
        **_FIXED_PAGES,
    }

    def app(request: Request) -> Response:
        state = current()
        page = pages.get(request.path)
        if request.path == RELOAD_PATH:
            return _reload(state, request.method, reload)
        if page is None:
            return _text(state, HTTPStatus.NOT_FOUND, f"not found; there is {', '.join(pages)}")
        if request.method not in _METHODS:
            return _not_allowed(state, _METHODS)
        return page(state, request)

    return app


def checked_telemetry_path(path: str) -> str:
    """Return the path; ValueError with cause and cure if it is no path or is taken."""
    taken = (*_FIXED_PAGES, api.PATH, RELOAD_PATH)
    if not path.startswith("/") or path in taken or not path.isascii():
        raise ValueError(
            f"--web.telemetry-path {path!r}: choose a path that begins with /, in ASCII, "
            f"and is none of {', '.join(taken)}"
        )
    return path


def _metrics(state: NodeState, request: Request, exposition: Exposition) -> Response:
    rendering = exposition.render(
        state,
        request.headers.get("accept", ""),
        request.headers.get("accept-encoding", ""),
        parse_qs(request.query).get("name[]", ()),
    )
    response = Response(HTTPStatus.OK, rendering.content_type, rendering.body)
    response = response.with_headers(("Vary", "Accept, Accept-Encoding"))
    if rendering.content_encoding is None:
        return response
    return response.with_headers(("Content-Encoding", rendering.content_encoding))


def _landing(state: NodeState, telemetry_path: str) -> Response:
    page = landing_page(state, (live.PAGE_PATH, telemetry_path, api.PATH, HEALTHY_PATH, READY_PATH))
    return Response.of_text(HTTPStatus.OK, page, "text/html").with_headers(
        ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    )


def _reload(state: NodeState, method: str, reload: Reload | None) -> Response:
    if reload is None:
        return _text(state, HTTPStatus.FORBIDDEN, _RELOAD_IS_OFF)
    if method not in _RELOAD_METHODS:
        return _not_allowed(state, _RELOAD_METHODS)
    return _text(state, *reload())


def _not_allowed(state: NodeState, methods: Sequence[str]) -> Response:
    response = _text(state, HTTPStatus.METHOD_NOT_ALLOWED, f"only {' and '.join(methods)}")
    return response.with_headers(("Allow", ", ".join(methods)))


def _ready(state: NodeState) -> Response:
    if state.ready:
        return _text(state, HTTPStatus.OK, "ready", *state.reasons)
    return _text(state, HTTPStatus.SERVICE_UNAVAILABLE, "not ready", *state.reasons)


def _text(state: NodeState, status: HTTPStatus, *lines: str) -> Response:
    """A page of plain lines, which says so if what it talks about is a recording."""
    notice = () if state.recording is None else (f"# a recording, not this host: {state.recording}",)
    return Response.of_lines(status, *lines, *notice)
