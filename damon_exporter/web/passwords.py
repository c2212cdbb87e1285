"""Basic authentication against bcrypt hashes, at a cost that clients cannot drive up."""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

import bcrypt

from damon_exporter.web.turns import Turns

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
    digest. Others are computed one at a time, by turns of the addresses that ask. Somebody unknown costs as much as the
    dearest.
    """

    def __init__(self, hashes: Mapping[str, bytes]) -> None:
        self._hashes = hashes
        self._decoy = max(hashes.values(), key=_cost)
        self._key = secrets.token_bytes(32)
        self._verified: dict[str, bytes] = {}
        self._turns = Turns()
        self._computing = ThreadPoolExecutor(1, "http password")

    async def check(self, authorization: str, client: str) -> Verdict:
        """Judge an Authorization header that comes from the address ``client``."""
        credentials = _credentials(authorization)
        if credentials is None:
            return Verdict.WRONG
        user, password = credentials
        digest = hmac.digest(self._key, password, hashlib.sha256)
        if self._is_verified(user, digest):
            return Verdict.RIGHT
        try:
            async with self._turns.turn(client):
                if self._is_verified(user, digest) or await self._compute(user, password):
                    self._verified[user] = digest
                    return Verdict.RIGHT
        except TimeoutError:
            return Verdict.BUSY
        return Verdict.WRONG

    def _is_verified(self, user: str, digest: bytes) -> bool:
        return hmac.compare_digest(self._verified.get(user, b""), digest)

    async def _compute(self, user: str, password: bytes) -> bool:
        known = self._hashes.get(user, self._decoy)
        computing = asyncio.get_running_loop().run_in_executor(
            self._computing, bcrypt.checkpw, password[:MAX_PASSWORD_BYTES], known
        )
        return await computing and user in self._hashes


def _cost(known: bytes) -> int:
    """Of a hash such as ``$2y$10$…``: each step doubles the time."""
    return int(known.split(b"$")[2])


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except ValueError:  # not base64, or not UTF-8
        return None
