"""DAMOS schemes: what they try, what comes of it, and what holds them back."""

from dashboards.grafana import shared
from dashboards.grafana.panels import Json, Panel, Query, dashboard, lines, table
from dashboards.grafana.shared import MONITORS

BY = "(cluster, monitor, scheme, action)"
EACH = "{{monitor}} {{scheme}} ({{action}})"

APPLIED = (
    "For physical memory, pages that were really acted on; for virtual memory, the length of ranges for which the call "
    "succeeded, whatever was there."
)


def schemes() -> Json:
    """The dashboard."""
    return dashboard(
        "damon-schemes",
        "DAMON / Schemes",
        "What DAMOS schemes did, whoever runs them.",
        [*shared.host(), shared.monitor(several=True)],
        [
            _rate("Tried", "Bytes of regions that a scheme was tried on.", "tried_bytes"),
            _rate("Applied", APPLIED, "applied_bytes"),
        ],
        [
            _efficiency(),
            _rate(
                "Passed by filters",
                "Bytes that page filters let through, of those that were tried. Linux 6.14 and later tell it.",
                "filter_passed_bytes",
            ),
        ],
        "What limits them",
        [
            _quota(),
            _rate(
                "Quota exceeded",
                "How often a second a scheme had more to do than its quota allows.",
                "quota_exceeded",
                "short",
            ),
        ],
        [_active(), _goals()],
        "In all",
        [_totals()],
    )


def _of(metric: str) -> str:
    return f"sum by {BY} (rate(damon_scheme_{metric}_total{{{MONITORS}}}[$__rate_interval]))"


def _rate(title: str, description: str, metric: str, unit: str = "Bps") -> Panel:
    return lines(title, description, unit, Query(_of(metric), EACH))


def _efficiency() -> Panel:
    return lines(
        "Efficiency",
        "Applied of tried. Low where filters, mappings or the kernel keep an action from memory that fits the pattern.",
        "percentunit",
        Query(f"{_of('applied_bytes')} / ({_of('tried_bytes')} > 0)", EACH),
    )


def _quota() -> Panel:
    return lines(
        "Effective quota",
        "Bytes that a scheme may try in one reset interval: the least of its size, its time and what goals come to.",
        "bytes",
        Query(f"damon_scheme_effective_quota_bytes{{{MONITORS}}}", EACH),
    )


def _active() -> Panel:
    return lines(
        "Active",
        "1 while watermarks let a scheme act, 0 while they hold it back.",
        "short",
        Query(f"damon_scheme_active{{{MONITORS}}}", EACH),
    )


def _goals() -> Panel:
    return lines(
        "Goals",
        "The value that each goal of a quota aims at, as the kernel counts it.",
        "short",
        Query(f"damon_scheme_goal_target_value{{{MONITORS}}}", "{{scheme}} goal {{goal}}: {{metric}}"),
    )


def _totals() -> Panel:
    def total(metric: str) -> Query:
        return Query(f"sum by {BY} (damon_scheme_{metric}_total{{{MONITORS}}})", form="table", instant=True)

    return table(
        "Totals",
        f"Since the exporter was started. {APPLIED}",
        {
            "Applied": (total("applied_bytes"), "bytes"),
            "Tried": (total("tried_bytes"), "bytes"),
            "Regions applied": (total("applied_regions"), "short"),
            "Regions tried": (total("tried_regions"), "short"),
            "Snapshots": (total("snapshots"), "short"),
        },
        by=("cluster", "monitor", "scheme", "action"),
    )
