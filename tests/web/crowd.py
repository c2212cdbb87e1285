"""Clients that take their time, by the hundred: each kind holds what a careless server would give it a thread for."""

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

PAUSE = 0.2
UNREAD = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
DRIPPED = b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 10_000


@contextmanager
def crowd(port: int, size: int, tls: ssl.SSLContext | None = None) -> Iterator[Callable[[], int]]:
    """Keep ``size`` clients busy doing next to nothing: a third sends nothing, a third drips, a third hardly reads.

    What is yielded tells how many of them are still connected.
    """
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(size)]
        _silent, dripping, reading = (clients[kind::3] for kind in range(3))
        drips: list[tuple[socket.socket, bytes]] = []
        if tls:  # half of those that drip do not even get through the handshake
            half = len(dripping) // 2
            drips = [(client, _client_hello(tls)) for client in dripping[:half]]
            dripping = [stack.enter_context(_wrapped(tls, client)) for client in dripping[half:]]
            reading = [stack.enter_context(_wrapped(tls, client)) for client in reading]
        drips += [(client, DRIPPED) for client in dripping]
        for client in reading:
            client.sendall(UNREAD)
        for client in (*reading, *(client for client, _ in drips)):
            client.setblocking(False)
        done = threading.Event()
        slowly = threading.Thread(target=_act, args=(drips, reading, done))
        slowly.start()
        stack.callback(slowly.join)
        stack.callback(done.set)
        sockets = [*clients, *dripping, *reading]  # of which those that were wrapped have no descriptor any more
        yield lambda: _connected({client.fileno() for client in sockets} - {-1})


def _connected(descriptors: set[int]) -> int:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLRDHUP)
    return len(descriptors) - len(poll.poll(0))


def _act(drips: Sequence[tuple[socket.socket, bytes]], reading: Sequence[socket.socket], done: threading.Event) -> None:
    at = 0
    while not done.wait(PAUSE):
        for client, text in drips:
            with suppress(OSError):  # it may have been cut off: so much the better
                client.send(text[at : at + 1])
        for client in reading:
            with suppress(OSError):
                client.recv(1)
        at += 1


def _client_hello(tls: ssl.SSLContext) -> bytes:
    theirs, ours = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        tls.wrap_bio(theirs, ours, server_hostname="localhost").do_handshake()
    return ours.read()


def _wrapped(tls: ssl.SSLContext, client: socket.socket) -> ssl.SSLSocket:
    return tls.wrap_socket(client, server_hostname="localhost")
