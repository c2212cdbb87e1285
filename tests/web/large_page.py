"""A server of our pages, and of one that is larger than what the kernel buffers: python large_page.py [WEB_FILE]."""

import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

from example_state import STATE

from damon_exporter.web.app import make_app
from damon_exporter.web.server import Server

LARGE = b"x" * (4 << 20)
pages = make_app(lambda: STATE)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Serve the large page at /large, ours elsewhere."""
    if environ["PATH_INFO"] != "/large":
        return pages(environ, start_response)
    start_response("200 OK", [("Content-Length", str(len(LARGE)))])
    return [LARGE]


def main() -> None:
    """Serve until killed; the port is printed."""
    security = {}
    if sys.argv[1:]:
        from damon_exporter.securing import Secured

        security = {"security": Secured(Path(sys.argv[1]))}
    with Server(["127.0.0.1:0"], app, **security) as server:
        print(server.bound[0].port, flush=True)
        threading.Event().wait()


main()
