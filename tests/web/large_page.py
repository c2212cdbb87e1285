"""A server of our pages, and of one that is larger than what the kernel buffers: python large_page.py [WEB_FILE]."""

import sys
import threading
from http import HTTPStatus
from pathlib import Path

from example_state import STATE

from damon_exporter.web.app import make_app
from damon_exporter.web.messages import Request, Response
from damon_exporter.web.server import Server

LARGE = b"x" * (4 << 20)
pages = make_app(lambda: STATE)


def app(request: Request) -> Response:
    """Serve the large page at /large, ours elsewhere."""
    return Response(HTTPStatus.OK, "text/plain", LARGE) if request.path == "/large" else pages(request)


def main() -> None:
    """Serve until killed; the port is printed."""
    security = {}
    if sys.argv[1:]:
        from damon_exporter.securing import SecurityFromFile

        security = {"security": SecurityFromFile(Path(sys.argv[1]))}
    with Server(["127.0.0.1:0"], app, **security) as server:
        print(server.bound[0].port, flush=True)
        threading.Event().wait()


main()
