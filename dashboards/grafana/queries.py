"""The queries that several dashboards ask, each in one place."""

from dashboards.grafana.panels import Query

HORIZONS = {"1 min": "60.0", "5 min": "300.0", "30 min": "1800.0", "1 h": "3600.0"}
"""How long ago something may have been touched, and the bound of idle age that stands for it."""

TARGET = "cluster, monitor, target"
"""What is told apart on the dashboards of one node."""


def heat(where: str) -> Query:
    """Heat by bin, from 0 to 1: rows that are not cumulative, named by decimal numbers."""
    seconds = f"rate(damon_heatmap_access_seconds_total{{{where}}}[$__rate_interval])"
    observed = f"rate(damon_observed_seconds_total{{{where}}}[$__rate_interval])"
    return Query(f"{seconds} / ignoring (bin) group_left {observed}", "{{bin}}")


def bytes_by_idle_age(where: str) -> Query:
    """Cumulative buckets of now."""
    return Query(f"sum by (le) (damon_idle_age_seconds_bucket{{{where}}})", "{{le}}", "heatmap")


def touched(where: str, horizon: str) -> str:
    """Bytes touched within one of `HORIZONS`."""
    return f'sum by ({TARGET}) (damon_idle_age_seconds_bucket{{{where}, le="{HORIZONS[horizon]}"}})'


def freed(where: str) -> str:
    """Bytes that have been idle for longer than each bound."""
    return _beyond("damon_idle_age_seconds_bucket{{{}}}", where)


def coming_back(where: str) -> str:
    """Bytes a second of observed time that were touched again after they had been idle for longer than each bound."""
    woken = _beyond("rate(damon_reaccess_idle_age_seconds_bucket{{{}}}[$__range])", where)
    observed = f"sum by ({TARGET}) (rate(damon_observed_seconds_total{{{where}}}[$__range]))"
    return f"({woken}) / ignoring (le) group_left () ({observed} > 0)"


def _beyond(buckets: str, where: str) -> str:
    """What is in none of the cumulative buckets up to each bound; ``buckets`` has a place for the selector."""
    whole = buckets.format(f'{where}, le="+Inf"')
    each = buckets.format(f'{where}, le!="+Inf"')
    return f"sum by ({TARGET}) ({whole}) - ignoring (le) group_right () sum by ({TARGET}, le) ({each})"


def mean_bands(where: str) -> Query:
    """Mean bytes of each band, from integrals: nothing between two scrapes is lost."""
    band = f"rate(damon_access_band_byte_seconds_total{{{where}}}[$__rate_interval])"
    observed = f"rate(damon_observed_seconds_total{{{where}}}[$__rate_interval])"
    return Query(f"{band} / ignoring (band) group_left {observed}", "{{band}}")
