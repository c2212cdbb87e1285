"""One request to a kubelet, over TLS, that takes no longer and brings no more than it may."""

import socket
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from damon_exporter.containers.errors import NamesUnavailable

CHUNK_BYTES = 1 << 16
ENCODINGS = ("", "identity", "gzip")
"""Libraries of some age expand others without bounds, and we ask for none."""

REFUSALS = {
    401: "it does not know us (401): give a service account's token, and RBAC that grants get on nodes/pods",
    403: "it forbids it (403): RBAC must grant get on nodes/pods, which Kubernetes before 1.33 does not know",
}


def ask(url: str, headers: dict[str, str], ca_file: Path | None, seconds: float, most_bytes: int) -> bytes:
    """Return the body that GET answers within so many seconds, expanded; raises `NamesUnavailable`.

    Only looking up the host's name takes as long as the resolver lets it. No redirect is followed and no proxy used:
    the headers hold the token.
    """
    context = _trusting(url, ca_file, time.monotonic() + seconds)
    try:
        with _Session() as session:
            session.trust_env = False  # .netrc, too: its password would take the place of the token
            session.mount("https://", _Adapter(context))
            session.headers.update({"Accept-Encoding": "gzip", "User-Agent": "damon-exporter"})
            verify = str(ca_file) if ca_file else True
            share = seconds / (_count_addresses(url) + 1)  # each may be tried, and then there is a handshake
            with session.get(
                url, headers=headers, verify=verify, timeout=share, allow_redirects=False, stream=True
            ) as answer:
                return _body(url, answer, most_bytes)
    except (OSError, ValueError) as error:  # all that requests raises
        raise NamesUnavailable(url, _reason(error, seconds)) from error


def _count_addresses(url: str) -> int:
    parts = urlsplit(url)
    return len(socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM))


def _body(url: str, answer: requests.Response, most_bytes: int) -> bytes:
    if answer.is_redirect:
        raise NamesUnavailable(url, "it redirects elsewhere, where our token is not sent: give the kubelet's own URL")
    if answer.status_code != requests.codes.ok:
        other = f"it answers with status {answer.status_code}: give the URL of a kubelet, and see its log"
        raise NamesUnavailable(url, REFUSALS.get(answer.status_code, other))
    if answer.headers.get("Content-Encoding", "").lower() not in ENCODINGS:
        raise NamesUnavailable(url, "it compresses in a way that we have not asked for: ask it without what is between")
    body = bytearray()
    for chunk in answer.iter_content(CHUNK_BYTES):
        body += chunk
        if len(body) > most_bytes:
            raise NamesUnavailable(url, f"its answer is larger than {most_bytes >> 20} MiB: give the URL of a kubelet")
    return bytes(body)


def _reason(error: BaseException, seconds: float) -> str:
    """Say what lies beneath, as requests wraps it in several layers, some with addresses of objects."""
    while beneath := error.__cause__ or error.__context__:
        error = beneath
    if isinstance(error, TimeoutError):
        return f"it takes too long, of {seconds:g} s in all: look whether the kubelet is overloaded, and the URL right"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}): give who has signed it as ca_file"
    if isinstance(error, ssl.SSLError):
        return f"there is no TLS with it ({error.reason}): give the kubelet's URL, https://NODE:10250"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.lower()}: give the kubelet's URL, https://NODE:10250, and let us reach it"
    return f"no whole answer has come ({type(error).__name__})"


def _trusting(url: str, ca_file: Path | None, deadline: float) -> "_Context":
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.deadline = deadline
    try:
        if ca_file:
            context.load_verify_locations(ca_file)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise NamesUnavailable(url, f"{ca_file} holds nobody to trust: {reason}") from error
    return context


class _Session(requests.Session):
    """Looks at no redirect: it would read the body of the answer to its end for that, whatever it expands to."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere."""


class _Adapter(HTTPAdapter):
    """Makes connections with a TLS context of ours."""

    def __init__(self, context: "_Context") -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Prepare for connections."""
        super().init_poolmanager(*arguments, **options, ssl_context=self._context)


class _Socket(ssl.SSLSocket):
    """Waits until the deadline, however often the peer sends something: a time-out would begin anew each time."""

    context: "_Context"

    def recv_into(self, *arguments: Any) -> int:
        """Wait for data and put them into a buffer."""
        left = self.context.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left)
        return super().recv_into(*arguments)


class _Context(ssl.SSLContext):
    """``deadline`` (CLOCK_MONOTONIC, s) is when its connections end."""

    deadline: float
    sslsocket_class = _Socket
