"""The words that may be written to ``state``.

Kernels serve them in two ways. Since 6.14 a command keeps DAMON's lock until it is done, runs inside the kdamond
after its next sample, and tells its errors (`Served`). Before, the writer looked every 100 ms whether its request had
been served, mostly without the lock, and the write succeeded whatever had happened (`Polled`).
"""

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.damos import NEVER, seconds
from damon_exporter.testing.fake_kernel.kdamond import Kdamond
from damon_exporter.testing.fake_kernel.tree import fail
from damon_exporter.testing.fake_kernel.tried_regions import clear, populate

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.slot import Slot

POLL_SECONDS = 0.1


def wait_until(kdamond: Kdamond, served: Callable[[], bool], *, due: float = NEVER) -> None:
    """Sleep, without the fake's own lock, until it is served, due, or the kdamond has ended."""
    while kdamond.alive and not served() and (rest := due - time.monotonic()) > 0:
        kdamond.kernel.lock.wait(min(rest, 60.0))


def nothing() -> bool:
    """For waits that only time ends."""
    return False


class Served:
    """Since 6.14: damon_call() and damos_walk(), with the lock held."""

    def call(self, slot: "Slot", function: Callable[[], None]) -> None:
        """Run a function in the kdamond. EINVAL if there never was one, ECANCELED if it has ended or ends."""
        with slot.sysfs.lock():
            kdamond = slot.started
            wait_until(kdamond, nothing, due=kdamond.next_call())
            if not kdamond.alive:
                raise fail(errno.ECANCELED)
            function()

    def walk(self, slot: "Slot", *, with_regions: bool) -> None:
        """Collect one application of every scheme. The old result is gone even where ECANCELED is the answer."""
        with slot.sysfs.lock():
            kdamond = slot.started
            clear(slot.staged)
            if not kdamond.damos.schemes or kdamond.context.paused:
                raise fail(errno.ECANCELED)
            if kdamond.deactivated:
                wait_until(kdamond, nothing, due=kdamond.next_call())
                raise fail(errno.ECANCELED)
            walk = kdamond.damos.begin_walk(needs_regions=False)
            wait_until(kdamond, lambda: not walk.pending)
            if walk.pending:
                raise fail(errno.ECANCELED)
            populate(slot, walk.regions, with_regions=with_regions, numbered_per_scheme=True)

    def commit(self, slot: "Slot") -> None:
        """Rehearsed: if anything is wrong, the kdamond goes on as before."""
        self.call(slot, lambda: slot.started.commit(slot.read_staged()))

    def clear(self, slot: "Slot") -> None:
        """Works on a kdamond that has ended, too."""
        slot.sysfs.refuse_while_locked()
        clear(slot.staged)


class Polled:
    """Before 6.14: one request at a time, looked after every 100 ms."""

    def call(self, slot: "Slot", function: Callable[[], None]) -> None:
        """Run a function in the kdamond after its next sample. EINVAL if none runs."""
        with self._request(slot) as kdamond:
            wait_until(kdamond, nothing, due=kdamond.next_call())
            if kdamond.alive:
                function()

    def commit(self, slot: "Slot") -> None:
        """Served only after an aggregation, and so never while watermarks keep DAMON asleep. A bad one ends it."""
        with self._request(slot) as kdamond:
            before = kdamond.aggregations
            wait_until(kdamond, lambda: kdamond.aggregations > before)
            if not kdamond.alive:
                return
            try:
                kdamond.commit(slot.read_staged())
            except OSError:
                kdamond.stop()

    def clear(self, slot: "Slot") -> None:
        """Needs a running kdamond."""
        self.call(slot, lambda: clear(slot.staged))

    def walk(self, slot: "Slot", *, with_regions: bool) -> None:
        """Holds the lock while it collects. A scheme that matches nothing is given up after two apply intervals."""

        def collect() -> None:
            kdamond = slot.started
            with slot.sysfs.lock():
                clear(slot.staged)
                walk = kdamond.damos.begin_walk(needs_regions=True)
                wait_until(kdamond, lambda: not walk.pending, due=time.monotonic() + 2 * longest_interval(kdamond))
                populate(slot, walk.regions, with_regions=with_regions, numbered_per_scheme=False)

        self.call(slot, collect)

    @contextmanager
    def _request(self, slot: "Slot") -> Iterator[Kdamond]:
        """EBUSY while another's request is pending. Who asked finds out only when he looks next."""
        if slot.sysfs.request_pending:
            raise fail(errno.EBUSY)
        if not slot.started.alive:
            raise fail(errno.EINVAL)
        started = time.monotonic()
        slot.sysfs.request_pending = True
        try:
            yield slot.started
            polls = (time.monotonic() - started) // POLL_SECONDS + 1
            wait_until(slot.started, nothing, due=started + polls * POLL_SECONDS)
        finally:
            slot.sysfs.request_pending = False


def longest_interval(kdamond: Kdamond) -> float:
    """The longest apply interval of all schemes, in seconds; asleep by watermarks: the longest pause between checks."""
    aggr_us = kdamond.attributes.aggr_us
    intervals = [scheme.scheme.apply_interval_us or aggr_us for scheme in kdamond.damos.schemes]
    if kdamond.deactivated:
        intervals = [scheme.scheme.watermarks.interval_us for scheme in kdamond.damos.schemes]
    return seconds(max(intervals, default=0))


def way(slot: "Slot") -> Served | Polled:
    """How this kernel serves commands."""
    return Served() if slot.kernel.profile.since("6.14") else Polled()


@dataclass(frozen=True, slots=True)
class Command:
    """What a word does, and the release that brought it."""

    since: str
    run: Callable[["Slot"], None]


COMMANDS = {
    "on": Command("5.18", lambda slot: slot.turn_on()),
    "off": Command("5.18", lambda slot: slot.turn_off()),
    "commit": Command("5.19", lambda slot: way(slot).commit(slot)),
    "commit_schemes_quota_goals": Command("6.8", lambda slot: way(slot).call(slot, slot.commit_goals)),
    "update_schemes_stats": Command("5.18", lambda slot: way(slot).call(slot, slot.update_stats)),
    "update_schemes_tried_bytes": Command("6.6", lambda slot: way(slot).walk(slot, with_regions=False)),
    "update_schemes_tried_regions": Command("6.2", lambda slot: way(slot).walk(slot, with_regions=True)),
    "clear_schemes_tried_regions": Command("6.2", lambda slot: way(slot).clear(slot)),
    "update_schemes_effective_quotas": Command("6.9", lambda slot: way(slot).call(slot, slot.update_effective_quotas)),
    "update_tuned_intervals": Command("6.15", lambda slot: way(slot).call(slot, slot.update_tuned_intervals)),
}
