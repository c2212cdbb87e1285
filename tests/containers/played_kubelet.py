"""A kubelet played by an HTTPS server on loopback, which answers as it is told to."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[1] / "fixtures/kubelet"
AUTHORITY = FIXTURES / "ca.crt"

DRIP_SECONDS = 0.05


class Request(BaseHTTPRequestHandler):
    """One request, as an answer gets it."""

    server: "PlayedKubelet"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Authorization"]))
        self.close_connection = True
        self.server.answer(self)

    def log_message(self, *_: object) -> None:
        pass


Answer = Callable[[Request], None]


class PlayedKubelet(ThreadingHTTPServer):
    """``requests`` are those that have come: path and Authorization."""

    daemon_threads = True

    def __init__(self, tls: bool) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(FIXTURES / "kubelet.crt", FIXTURES / "kubelet.key")
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.requests: list[tuple[str, str | None]] = []
        self.answer: Answer = status(200, pod_list())

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """A client that goes away is none."""


@contextmanager
def playing(tls: bool = True) -> Iterator[PlayedKubelet]:
    with PlayedKubelet(tls) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer with this status, body and headers."""

    def answer(request: Request) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def bytes_and_close(data: bytes) -> Answer:
    """Answer with just these bytes, whatever they are, and close the connection."""

    def answer(request: Request) -> None:
        request.wfile.write(data)

    return answer


def drip(beginning: bytes) -> Answer:
    """Answer with this, and then with one byte more from time to time, without an end."""

    def answer(request: Request) -> None:
        request.wfile.write(beginning)
        request.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:  # until the client is gone, which is an error
            time.sleep(DRIP_SECONDS)
            request.wfile.write(b"x")

    return answer


def late(seconds: float, answer: Answer) -> Answer:
    """Answer like this, but not at once."""

    def answer_late(request: Request) -> None:
        time.sleep(seconds)
        answer(request)

    return answer_late


def pod_list(*pods: Mapping[str, Any] | None) -> bytes:
    """The PodList that a kubelet gives, with what it leaves out left out."""
    return json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(pods) or None}).encode()


def pod(
    name: str,
    uid: str,
    containers: Mapping[str, str],
    labels: Mapping[str, str] | None = None,
    namespace: str = "shop",
    annotations: Mapping[str, str] | None = None,
    kind: str = "containerStatuses",
) -> Mapping[str, Any]:
    """A pod as in a PodList; ``containers`` are names by id."""
    metadata = {"name": name, "namespace": namespace, "uid": uid, "creationTimestamp": None}
    metadata |= {"labels": labels} if labels else {}
    metadata |= {"annotations": annotations} if annotations else {}
    statuses = [
        {
            "name": container,
            "state": {"running": {"startedAt": "2026-02-01T12:17:38Z"}},
            "lastState": {},
            "ready": True,
            "restartCount": 0,
            "image": "registry.example/cart:1",
            "containerID": f"containerd://{identifier}",
        }
        for identifier, container in containers.items()
    ]
    spec = {"containers": [{"name": container, "resources": {}} for container in containers.values()]}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Running", kind: statuses, "qosClass": "Burstable"}}
