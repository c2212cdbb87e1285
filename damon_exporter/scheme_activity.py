"""Which schemes are active now: the kernel does not show that, so it is worked out as the kernel does."""

from collections.abc import Collection
from dataclasses import replace

from damon_exporter.analysis.watermarks import is_active
from damon_exporter.roster import Watched, WatchedScheme

Key = tuple[int, int]
"""A kdamond's pid and the index of a scheme."""


class SchemeActivity:
    """Looks at the watermarks of all schemes at every look at the host."""

    def __init__(self) -> None:
        self._before: dict[Key, WatchedScheme] = {}
        self._told: tuple[Watched, ...] = ()

    def told(self, watched: Collection[Watched], free_permil: int | None) -> tuple[Watched, ...]:
        """Return the kdamonds with what is known of their schemes' activity.

        One that was told of before and could not be looked at again stays as it was.
        """
        now = tuple(
            kdamond if any(kdamond is known for known in self._told) else self._with_activity(kdamond, free_permil)
            for kdamond in watched
        )
        self._told = now
        self._before = {
            (kdamond.pid, scheme.shown.index): scheme for kdamond in now for scheme in kdamond.schemes or ()
        }
        return now

    def _with_activity(self, kdamond: Watched, free_permil: int | None) -> Watched:
        if not kdamond.schemes:
            return kdamond
        schemes = (
            replace(
                scheme, active=self._active(scheme, self._before.get((kdamond.pid, scheme.shown.index)), free_permil)
            )
            for scheme in kdamond.schemes
        )
        return replace(kdamond, schemes=tuple(schemes))

    @staticmethod
    def _active(scheme: WatchedScheme, before: WatchedScheme | None, free_permil: int | None) -> bool | None:
        marks = scheme.shown.watermarks
        if marks is None:
            return True
        if free_permil is None:
            return None
        was = before.active if before else None
        if before and scheme.shown.counters.get("nr_tried", 0) > before.shown.counters.get("nr_tried", 0):
            was = True  # it has tried something since
        return is_active(free_permil, marks.high, marks.mid, marks.low, was)
