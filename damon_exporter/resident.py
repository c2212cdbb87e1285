"""What is resident of processes that are watched: more current than the list of who is."""

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from damon_exporter.kernel import procfs
from damon_exporter.kernel.procfs import Identity

SECONDS = 2.0
"""How old it may be at least, however often it is asked for."""

REST_PER_READING = 30
"""Pause at least so many times as long as a reading takes: of thousands of processes it takes tens of milliseconds."""


class ResidentSizes:
    """Reads /proc/PID/statm now and then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes: dict[Identity, int] = {}
        self._due = -math.inf

    def of(self, processes: Iterable[Identity]) -> Mapping[Identity, int]:
        """Return bytes by process, of those that are new as of now; 0 of one that has ended."""
        began = time.monotonic()
        known = {} if began >= self._due else self._sizes
        self._sizes = {
            identity: known[identity] if identity in known else procfs.resident_bytes(self._path, identity[0])
            for identity in processes
        }
        if not known:
            self._due = began + max(SECONDS, REST_PER_READING * (time.monotonic() - began))
        return self._sizes
