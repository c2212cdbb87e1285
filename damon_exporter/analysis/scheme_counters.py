"""What DAMON's schemes have counted, added up over restarts, wraps, foreign schemes and stale copies.

The kernel counts at each index of a kdamond's list of schemes, from 0, whatever becomes of the scheme's parameters. We
see copies. They can be older than the reading, torn, 0 since their folders were made anew, or of a kdamond that has
ended. What is told here never falls and is not more than was counted:

- A 0 where there was more says nothing, nor does anything else in that reading: it is waited for another.
- What is lower and has not wrapped has begun anew, so all of it counts. One such counter proves it for its scheme: each
  of the others has grown beyond what was there before, or comes from the older copy. The next reading tells.
- After a restart, what is not lower may be what the earlier kdamond has left. Until it moves, only its growth counts.
- Whoever takes another's place starts from the first value that is neither 0 nor what was read there last.

Where that leaves doubt, something is lost and nothing invented. Values do not tell a scheme that was dropped and has
come back with more of everything from one that has stayed. It is taken for the latter, also if it was missing for a
while: files show fewer schemes than the kernel has from when somebody writes their number until he commits it.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Counters = Mapping[str, int]
"""Values by the names of the files in a scheme's ``stats``; those of bytes may be multiplied by an ``addr_unit``."""

Series = tuple[str, str]
"""The label under which a scheme is exported, and its action."""

ULONG = 1 << 64

LARGEST_STEP = 1 << 60
"""No counter grows by so much between two readings: it takes 29 hours to try 1 TiB ten times a second."""

MOST_TORN = 3
"""So many readings in a row may be torn, some of their files made anew and others not. A 0 that stays longer is one."""


@dataclass(frozen=True, slots=True)
class SeenScheme:
    """A scheme as a reading shows it, with its index in the kernel. Counters that were not read are left out."""

    index: int
    label: str
    action: str
    counters: Counters


class SchemeCounters:
    """Totals of the schemes of one monitor, over all its kdamonds."""

    def __init__(self) -> None:
        self._kdamond: Hashable = None
        self._interrupted: set[Hashable] = set()
        self._places: dict[int, _Place] = {}
        self._totals: dict[Series, dict[str, int]] = {}
        self._present: tuple[Series, ...] = ()

    def observe(self, kdamond: Hashable, schemes: Sequence[SeenScheme]) -> None:
        """Add what was counted since the last reading.

        ``kdamond`` was running both before the first of these counters was read and after the last. If its list of
        schemes has changed, their copies were refreshed since, or not at all since the last reading: what they hold of
        another scheme would count for the new one.
        """
        interrupted = kdamond in self._interrupted
        restarted = bool(self._places) and kdamond != self._kdamond and not interrupted
        if interrupted or restarted:
            for place in self._places.values():
                place.restarted = restarted
        self._kdamond = kdamond
        self._interrupted.clear()
        self._present = tuple((scheme.label, scheme.action) for scheme in schemes)
        for scheme, series in zip(schemes, self._present, strict=True):
            new = _Place(None if interrupted or restarted else series, restarted)
            place = self._places.setdefault(scheme.index, new)
            total = self._totals.setdefault(series, {})
            for name, growth in place.read(series, scheme.counters).items():
                total[name] = total.get(name, 0) + growth

    def interrupt(self, kdamond: Hashable) -> None:
        """Take note that what this kdamond counts until its next reading is nobody's: others had schemes there.

        To be called when its list of schemes has changed more than once since the last reading, or before the first.
        """
        self._interrupted.add(kdamond)
        self.vacate(self._places)

    def vacate(self, indexes: Iterable[int]) -> None:
        """Take note that what is counted at these indexes until their next reading is nobody's."""
        for index in indexes:
            if place := self._places.get(index):
                place.series = None

    def totals(self) -> Mapping[Series, Counters]:
        """Return the totals of the schemes that were seen last. Others keep theirs until they come back."""
        return {series: dict(self._totals[series]) for series in self._present}

    def total(self, series: Series) -> Counters | None:
        """Return the last total of a scheme whether it was seen last or not, None if it never was."""
        total = self._totals.get(series)
        return None if total is None else dict(total)


@dataclass(slots=True)
class _Counter:
    """One counter at one index; ``last`` is what it was read as.

    While it is ``seeking``, only a value other than that starts the count. ``owed`` is a number while ``last`` may be
    from before the scheme began: what is still to be added if it is not.
    """

    seeking: bool
    last: int = 0
    owed: int | None = None

    @property
    def settled(self) -> bool:
        """Whether ``last`` was counted by the scheme that is there."""
        return self.owed is None and not self.seeking

    def fell(self, value: int) -> bool:
        """Tell whether the scheme that has counted ``last`` cannot have counted this."""
        wrapped = (value - self.last) % ULONG < LARGEST_STEP
        return self.settled and 0 < value < self.last and not wrapped

    def begin(self, value: int, same_series: bool) -> int:
        """Return the growth in a scheme that has begun anew, as far as it is true of an older copy as well."""
        growth = 0
        if same_series and not self.seeking:
            growth = value if value < self.last else value - self.last
        self.last, self.seeking, self.owed = value, False, value - growth
        return growth

    def go_on(self, value: int, refreshed: bool) -> int:
        """Return the growth. ``refreshed``: nothing in this reading is from before the scheme began."""
        if value == 0 < self.last:
            return 0
        if self.seeking:
            self.seeking, self.last = value == self.last, value
            return 0
        growth = value - self.last
        if self.owed is not None and growth < 0:
            growth, self.owed = value, 0
        if self.owed is not None and (refreshed or growth > 0):
            growth, self.owed = growth + self.owed, None
        self.last = value
        return growth if growth >= 0 else growth % ULONG


@dataclass(slots=True)
class _Place:
    """An index, and whose counts were last read there; None is nobody.

    ``restarted``: its kdamond is another since then. ``refreshed``: what was there before the scheme began has been
    seen to go. ``torn`` counts readings in a row.
    """

    series: Series | None
    restarted: bool
    refreshed: bool = False
    torn: int = 0
    counters: dict[str, _Counter] = field(default_factory=dict)

    def read(self, series: Series, values: Counters) -> dict[str, int]:
        """Return by how much the series has grown."""
        if not values:
            return {}
        read_before = bool(self.counters)
        for name in values:
            self.counters.setdefault(name, _Counter(seeking=read_before))
        same_series = series == self.series
        if self.restarted or (same_series and self._any_fell(values)):
            growth = self._begin(values, same_series)
        else:
            if not same_series:
                self._seek()
            growth = self._wait(values) if self._shows_less(values) else self._go_on(values)
        self.series, self.restarted = series, False
        return growth

    def _any_fell(self, values: Counters) -> bool:
        return any(counter.fell(value) for counter, value in self._read(values))

    def _shows_less(self, values: Counters) -> bool:
        """Tell whether something is 0 that was not. Such a reading may be torn anywhere."""
        return any(value == 0 < counter.last and counter.settled for counter, value in self._read(values))

    def _begin(self, values: Counters, same_series: bool) -> dict[str, int]:
        # What another scheme has left may be lower, too: that of a kdamond in between which was never read.
        self.refreshed = same_series and self._any_fell(values)
        self.counters = {name: self.counters[name] for name in values}  # what is not read now will start where it is
        return {name: self.counters[name].begin(value, same_series) for name, value in values.items()}

    def _seek(self) -> None:
        for counter in self.counters.values():
            counter.seeking, counter.owed = True, None

    def _wait(self, values: Counters) -> dict[str, int]:
        self.torn += any(values.values())
        if self.torn > MOST_TORN:  # it has come back with more of everything else, and would wait for ever
            self._seek()
        return dict.fromkeys(values, 0)

    def _go_on(self, values: Counters) -> dict[str, int]:
        refreshed, self.torn = self.refreshed, 0
        # This reading may be torn, with some of it from before the scheme began. The next one is not.
        self.refreshed |= any(
            counter.owed is not None and value != counter.last for counter, value in self._read(values)
        )
        return {name: self.counters[name].go_on(value, refreshed) for name, value in values.items()}

    def _read(self, values: Counters) -> Iterator[tuple[_Counter, int]]:
        return ((self.counters[name], value) for name, value in values.items())
