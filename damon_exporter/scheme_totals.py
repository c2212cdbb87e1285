"""What the schemes of one monitor did in all: its counters go on, whichever kdamond it has and whoever tells of it."""

from collections.abc import Iterator, Mapping

from damon_exporter.analysis.scheme_counters import SchemeCounters, SeenScheme
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

    def follow(self, kdamond: Watched) -> None:
        """Take over what files show by now."""
        before, self._kdamond = self._kdamond, kdamond
        if before is None or before.pid != kdamond.pid:
            self._told, self._quotas = {}, {}
        elif before.schemes is kdamond.schemes:
            return
        if kdamond.schemes is None:
            self._counters.interrupt(kdamond.pid)
            return
        self._schemes = kdamond.schemes
        self._observe(kdamond.pid)

    def take(self, report: SchemeReport) -> None:
        """Take in what an event tells."""
        unit = self._kdamond.addr_unit if self._kdamond else 1
        if report.effective_quota is not None:
            self._quotas[report.scheme] = report.effective_quota * unit
        if report.counters is not None:
            self._told[report.scheme] = in_bytes(report.counters, unit)
            if self._kdamond is not None and self._kdamond.schemes is not None:
                self._observe(report.kdamond)

    def states(self) -> tuple[SchemeState, ...]:
        """Return every scheme as it is to be published."""
        totals = self._counters.totals()
        return tuple(self._state(scheme, totals.get((scheme.label, scheme.shown.action))) for scheme in self._schemes)

    def _observe(self, kdamond: int) -> None:
        self._counters.observe(kdamond, list(self._seen()))

    def _seen(self) -> Iterator[SeenScheme]:
        for scheme in self._schemes:
            shown = scheme.shown
            told, copied = self._told.get(shown.index), shown.counters if scheme.counted else None
            # The newer of both: an older copy after an event would pass for a scheme that has begun anew.
            counters = max((told, copied), key=lambda found: found.get("nr_tried", 0) if found else -1)
            if counters is not None:
                yield SeenScheme(shown.index, scheme.label, shown.action, counters)

    def _state(self, scheme: WatchedScheme, totals: Mapping[str, int] | None) -> SchemeState:
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
