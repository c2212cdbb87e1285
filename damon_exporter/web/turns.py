"""Who comes next where only one can."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

WAIT_SECONDS = 5.0
"""For a turn; Prometheus waits 10 s for a scrape unless told otherwise."""

MOST_OF_ONE = 32
MOST = 256
"""Requests that wait, of one address and of all: each is a few KiB, also when its client has gone."""


class Turns:
    """One at a time, by turns of addresses: who asks often waits for himself, and others only for one of him.

    Within one event loop. Nobody waits for longer than ``wait_seconds``.
    """

    def __init__(self, wait_seconds: float = WAIT_SECONDS) -> None:
        self._wait_seconds = wait_seconds
        self._one = asyncio.Lock()
        self._of_address: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiting: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait for the turn of an address; TimeoutError if it does not come in time, or too many wait already."""
        if self._waiting[address] >= MOST_OF_ONE or self._waiting.total() >= MOST:
            raise TimeoutError
        own = self._of_address.setdefault(address, asyncio.Lock())  # locks are fair: first come, first served
        self._waiting[address] += 1
        try:
            async with asyncio.timeout(self._wait_seconds) as wait, own, self._one:
                wait.reschedule(None)
                yield
        finally:
            self._waiting[address] -= 1
            self._waiting += Counter()  # forgets those that are 0
