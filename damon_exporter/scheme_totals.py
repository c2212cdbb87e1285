"""What the schemes of one monitor did in all: its counters go on, whichever kdamond it has and whoever tells of it."""

from collections.abc import Iterator, Mapping

from damon_exporter.analysis.scheme_counters import Counters, SchemeCounters, SeenScheme, Series
from damon_exporter.kernel.scheme_stats import in_bytes
from damon_exporter.roster import Watched, WatchedScheme
from damon_exporter.sources.scheme_events import SchemeReport
from damon_exporter.state import SchemeState


class SchemeTotals:
    """Outlives the kdamonds of its monitor, and the monitor's absence."""

    def __init__(self) -> None:
        self._counters = SchemeCounters()
        self._kdamond: Watched | None = None
        self._schemes: tuple[WatchedScheme, ...] = ()
        self._told: dict[int, Mapping[str, int]] = {}
        self._quotas: dict[int, int] = {}
        self._heard_counters: dict[int, Mapping[str, int]] = {}
        self._heard_quotas: dict[int, int] = {}
        self._uncertain: frozenset[int] = frozenset()

    def follow(self, kdamond: Watched) -> None:
        """Take over what files show by now."""
        before, self._kdamond = self._kdamond, kdamond
        if before is None or (before.pid, before.inherited_at) != (kdamond.pid, kdamond.inherited_at):
            self._begin(before, kdamond)
        elif before.schemes is kdamond.schemes:
            return
        if kdamond.schemes is None:
            self._counters.interrupt(kdamond.pid)
            return
        self._accept(kdamond)
        self._schemes = kdamond.schemes
        self._observe(kdamond.pid)

    def take(self, report: SchemeReport) -> None:
        """Take in what an event tells; whose it is shows at the next look, as somebody may just have put another there.

        Until then nothing of it is published.
        """
        unit = self._kdamond.addr_unit if self._kdamond else 1
        if report.effective_quota is not None:
            self._heard_quotas[report.scheme] = report.effective_quota * unit
        if report.counters is not None:
            self._heard_counters[report.scheme] = in_bytes(report.counters, unit)

    def states(self) -> tuple[SchemeState, ...]:
        """Return every scheme as it is to be published."""
        totals = self._counters.totals()
        return tuple(self._state(scheme, self._total(scheme, totals)) for scheme in self._schemes)

    def _begin(self, before: Watched | None, kdamond: Watched) -> None:
        """Another kdamond follows; what the last one was heard of is of the schemes that it had, if they were ours."""
        if before is not None and before.owner != "foreign" and before.schemes is not None:
            self._told |= self._heard_counters
            self._observe(before.pid)
        self._told, self._quotas, self._heard_counters, self._heard_quotas = {}, {}, {}, {}
        self._schemes = ()
        if kdamond.inherited_at is not None:
            self._counters.interrupt(kdamond.pid)

    def _accept(self, kdamond: Watched) -> None:
        """Take what was heard since the last look for that of the schemes which are there now.

        For a scheme in another's place nothing counts for one look more: files may show what is not committed yet, and
        events may come late.
        """
        before = {scheme.shown.index: _series(scheme) for scheme in self._schemes}
        other = frozenset(
            scheme.shown.index
            for scheme in kdamond.schemes or ()
            if before.get(scheme.shown.index, _series(scheme)) != _series(scheme)
        )
        self._uncertain = other
        self._counters.vacate(other)
        self._told |= self._heard_counters
        quotas = self._quotas | self._heard_quotas
        self._quotas = {index: quota for index, quota in quotas.items() if index not in other}
        self._heard_counters, self._heard_quotas = {}, {}

    def _observe(self, kdamond: int) -> None:
        self._counters.observe(kdamond, list(self._seen()))

    def _seen(self) -> Iterator[SeenScheme]:
        for scheme in self._schemes:
            shown = scheme.shown
            told, copied = self._told.get(shown.index), shown.counters if scheme.counted else None
            # The newer of both: an older copy after an event would pass for a scheme that has begun anew.
            counters = max((told, copied), key=lambda found: found.get("nr_tried", 0) if found else -1)
            if counters is not None and shown.index not in self._uncertain:
                yield SeenScheme(shown.index, scheme.label, shown.action, counters)

    def _total(self, scheme: WatchedScheme, seen: Mapping[Series, Counters]) -> Counters | None:
        """Return what a scheme has counted; its former total stands while it is not certain that it counts again."""
        if scheme.shown.index in self._uncertain:
            return self._counters.total(_series(scheme))
        return seen.get(_series(scheme))

    def _state(self, scheme: WatchedScheme, totals: Counters | None) -> SchemeState:
        shown = scheme.shown
        quota = shown.effective_quota if scheme.counted else None
        return SchemeState(
            name=scheme.label,
            action=shown.action,
            counters=totals,
            effective_quota_bytes=self._quotas.get(shown.index) if quota is None else quota,
            active=scheme.active,
            goals=shown.goals,
        )


def _series(scheme: WatchedScheme) -> Series:
    return scheme.label, scheme.shown.action
