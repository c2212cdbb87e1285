"""What clients may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take, all of them together.

    ``idle_seconds`` bounds a TLS handshake, and the wait for a whole request; ``request_seconds`` the reading of the
    response. ``threads`` make pages, ``shared_threads`` of them those that are no scrapes, for which ``waiting``
    requests wait. A request has at most ``header_bytes`` in ``headers`` headers, and in its line besides.
    """

    threads: int = 8
    shared_threads: int = 4
    waiting: int = 256
    idle_seconds: float = 10
    request_seconds: float = 30
    header_bytes: int = 16 * 1024
    headers: int = 100
    body_bytes: int = 1024
    connections: int = 512
