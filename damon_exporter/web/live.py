"""``/live``: a page that draws what ``/api/v1/state`` tells. Nothing of it comes from elsewhere."""

import base64
import hashlib
from http import HTTPStatus
from importlib.resources import files

from damon_exporter.web.messages import Response

PAGE_PATH = "/live"
SCRIPT_PATH = "/live.js"


def _shipped(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _policy(page: str) -> str:
    """Allow the page's one style, by its hash, its script and its questions, and no HTML made from text."""
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )


_PAGE = _shipped("live.html")
_POLICY = ("Content-Security-Policy", _policy(_PAGE))
_SCRIPT = _shipped("live.js")


def page() -> Response:
    """The page, the same for every state."""
    return Response.of_text(HTTPStatus.OK, _PAGE, "text/html").with_headers(_POLICY)


def script() -> Response:
    """What draws it."""
    return Response.of_text(HTTPStatus.OK, _SCRIPT, "text/javascript")
