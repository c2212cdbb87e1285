"""The host's side of the channel to the agent: one call at a time per thread, any number of threads."""

import itertools
import json
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

Reply = dict[str, Any]


class GuestError(RuntimeError):
    """Something went wrong in the guest or on the way to it."""


class GuestGoneError(GuestError):
    """The guest is no more: it panicked, powered off or was closed."""


class GuestTimeoutError(GuestError):
    """The guest, or a command in it, did not answer in time."""


class Channel:
    """Requests and replies as JSON lines, matched by number."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Reply]] = {}
        threading.Thread(target=self._receive, name="guest channel", daemon=True).start()

    def call(self, operation: str, reply_within: float, **arguments: object) -> Reply:
        """Ask the agent and wait for its answer.

        Raises:
            GuestError: The agent refused; the message is its error.
            GuestGoneError: The channel is closed.
            GuestTimeoutError: No answer within ``reply_within`` seconds.
        """
        future: Future[Reply] = Future()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = future
            self._send({"id": number, "operation": operation, **arguments})
        try:
            reply = future.result(reply_within)
        except TimeoutError as error:
            raise GuestTimeoutError(f"{operation}: no answer from the guest in {reply_within:g} s") from error
        if "error" in reply:
            raise GuestError(f"{operation} {arguments}: {reply['error']}")
        return reply

    def _send(self, request: dict[str, object]) -> None:
        try:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise GuestGoneError(f"the channel is closed: {error}") from error

    def _receive(self) -> None:
        # A guest that ends with requests unread resets the connection instead of closing it.
        with self._connection.makefile("rb") as lines, suppress(ConnectionResetError):
            for line in lines:
                reply = json.loads(line)
                self._waiting.pop(reply["id"]).set_result(reply)
        with self._lock:
            for future in self._waiting.values():
                future.set_exception(GuestGoneError("the guest closed the channel"))
            self._waiting.clear()

    def close(self) -> None:
        """Hang up; the guest powers itself off."""
        self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
