"""Basic authentication against bcrypt hashes, at a cost that clients cannot drive up."""

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Mapping
from enum import Enum

import bcrypt

MAX_CHECKS = 4
"""How many of the threads that serve may be busy with passwords that have not been seen to be right yet."""

MAX_PASSWORD_BYTES = 72
"""What bcrypt looks at of a password; its library refuses longer ones, htpasswd and Go cut them."""


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
        self._decoy = next(iter(hashes.values()))
        self._key = secrets.token_bytes(32)
        self._verified: dict[str, bytes] = {}
        self._one_at_a_time = threading.Lock()
        self._free_checks = threading.BoundedSemaphore(MAX_CHECKS)

    def check(self, authorization: str) -> Verdict:
        """Judge an Authorization header; may take as long as `MAX_CHECKS` hashes."""
        credentials = _credentials(authorization)
        if credentials is None:
            return Verdict.WRONG
        user, password = credentials
        digest = hmac.digest(self._key, password, hashlib.sha256)
        if hmac.compare_digest(self._verified.get(user, b""), digest):
            return Verdict.RIGHT
        if not self._free_checks.acquire(blocking=False):
            return Verdict.BUSY
        try:
            with self._one_at_a_time:
                is_right = bcrypt.checkpw(password[:MAX_PASSWORD_BYTES], self._hashes.get(user, self._decoy))
        finally:
            self._free_checks.release()
        if not is_right or user not in self._hashes:
            return Verdict.WRONG
        self._verified[user] = digest
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
