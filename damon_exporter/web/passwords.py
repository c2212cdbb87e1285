"""Basic authentication against bcrypt hashes, at a cost that clients cannot drive up."""

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Mapping
from enum import Enum

import bcrypt

MOST_WAITING = 4
"""Of the threads that serve, so many may be busy with passwords that have not been seen to be right yet."""

LONGEST_PASSWORD = 72
"""Bytes of a password that bcrypt looks at; its library refuses longer ones, htpasswd and Go cut them."""


class Verdict(Enum):
    """What is to be thought of a request's credentials."""

    RIGHT = "right"
    WRONG = "wrong"
    BUSY = "too many are being checked"


class Passwords:
    """Checks passwords against ``hashes`` by user, of which there is at least one.

    A hash takes 50 to 100 ms on purpose, so the password that was right last is remembered for each user, as a keyed
    digest. Others are computed one at a time, with a bounded number that wait. Somebody unknown costs as much.
    """

    def __init__(self, hashes: Mapping[str, bytes]) -> None:
        self._hashes = hashes
        self._somebodys = next(iter(hashes.values()))
        self._key = secrets.token_bytes(32)
        self._right: dict[str, bytes] = {}
        self._computing = threading.Lock()
        self._room = threading.BoundedSemaphore(MOST_WAITING)

    def check(self, authorization: str) -> Verdict:
        """Judge an Authorization header; may take as long as `MOST_WAITING` hashes."""
        credentials = _credentials(authorization)
        if credentials is None:
            return Verdict.WRONG
        user, password = credentials
        digest = hmac.digest(self._key, password, hashlib.sha256)
        if hmac.compare_digest(self._right.get(user, b""), digest):
            return Verdict.RIGHT
        if not self._room.acquire(blocking=False):
            return Verdict.BUSY
        try:
            with self._computing:
                is_right = bcrypt.checkpw(password[:LONGEST_PASSWORD], self._hashes.get(user, self._somebodys))
        finally:
            self._room.release()
        if not is_right or user not in self._hashes:
            return Verdict.WRONG
        self._right[user] = digest
        return Verdict.RIGHT


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except ValueError:  # not base64, or not UTF-8
        return None
