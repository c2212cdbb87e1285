"""A receiver of OTLP on a loopback port that answers as a test tells it to, and keeps the last push that it took."""

import gc
import gzip
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from prometheus_server import free_address

Answer = Callable[[BaseHTTPRequestHandler], None]
PATH = "/v1/metrics"
CERTIFICATES = Path(__file__).parent / "fixtures/kubelet"
AUTHORITY = CERTIFICATES / "ca.crt"


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer with a status, headers (with ``_`` for ``-``) and a body."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def slow(seconds: float, then: Answer) -> Answer:
    """Answer so much later."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        then(request)

    return answer


def dripping(begin: bytes, drop: bytes = b"x") -> Answer:
    """Begin to answer, and then send a little often enough that no single read takes long."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(begin)
        while True:
            request.wfile.write(drop)
            time.sleep(0.02)

    return answer


def rejecting(points: int, why: str) -> Answer:
    """Take a push but for so many of its points."""
    response = ExportMetricsServiceResponse()
    response.partial_success.rejected_data_points = points
    response.partial_success.error_message = why
    return status(200, response.SerializeToString(), Content_Type="application/x-protobuf")


TAKE = status(200, ExportMetricsServiceResponse().SerializeToString(), Content_Type="application/x-protobuf")


class Receiver:
    """``answer`` is what it answers with from now on; ``tries`` are the times (CLOCK_MONOTONIC, s) it was asked at."""

    def __init__(self, address: str, scheme: str) -> None:
        self.endpoint = f"{scheme}://{address}{PATH}"
        self.answer: Answer = TAKE
        self.tries: list[float] = []
        self.headers: dict[str, str] = {}
        self.last = ExportMetricsServiceRequest()


@contextmanager
def receiver(address: str | None = None, tls: bool = False) -> Iterator[Receiver]:
    """Receive until the context is left."""
    address = address or free_address()
    played = Receiver(address, "https" if tls else "http")

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that goes away is none."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            assert self.path == PATH
            played.tries.append(time.monotonic())
            played.headers = dict(self.headers)
            played.last = ExportMetricsServiceRequest.FromString(body)
            played.answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    host, port = address.split(":")
    with Server((host, int(port)), Handler) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATES / "kubelet.crt", CERTIFICATES / "kubelet.key")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield played
        finally:
            server.shutdown()
            thread.join()
            if tls:
                gc.collect()  # what a broken off handshake has left is collected here, not in some later test
