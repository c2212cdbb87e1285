"""The queries that several dashboards ask, each in one place."""

from dashboards.grafana.panels import Query

HORIZONS = {"1 min": "60.0", "5 min": "300.0", "30 min": "1800.0", "1 h": "3600.0"}
"""How long ago something may have been touched, and the bound of idle age that stands for it."""


def heat(where: str) -> Query:
    """Heat by bin, from 0 to 1: rows that are not cumulative, named by decimal numbers."""
    seconds = f"rate(damon_heatmap_access_seconds_total{{{where}}}[$__rate_interval])"
    observed = f"rate(damon_observed_seconds_total{{{where}}}[$__rate_interval])"
    return Query(f"{seconds} / ignoring (bin) group_left {observed}", "{{bin}}")


def bytes_by_idle_age(where: str) -> Query:
    """Cumulative buckets of now."""
    return Query(f"sum by (le) (damon_idle_age_seconds_bucket{{{where}}})", "{{le}}", "heatmap")


def touched(where: str, le: str) -> str:
    """Bytes touched within a horizon."""
    return f'sum by (monitor, target) (damon_idle_age_seconds_bucket{{{where}, le="{le}"}})'


def freed(where: str) -> str:
    """Bytes that have been idle for longer than each bound."""
    every = f'sum by (monitor, target, le) (damon_idle_age_seconds_bucket{{{where}, le!="+Inf"}})'
    whole = f'sum by (monitor, target) (damon_idle_age_seconds_bucket{{{where}, le="+Inf"}})'
    return f"-({every} - ignoring (le) group_left {whole})"


def coming_back(where: str) -> str:
    """Bytes a second that were touched again after they had been idle for longer than each bound."""
    name = "damon_reaccess_idle_age_seconds_bucket"
    every = f'sum by (monitor, target, le) (rate({name}{{{where}, le!="+Inf"}}[$__rate_interval]))'
    whole = f'sum by (monitor, target) (rate({name}{{{where}, le="+Inf"}}[$__rate_interval]))'
    return f"-({every} - ignoring (le) group_left {whole})"


def mean_bands(where: str) -> Query:
    """Mean bytes of each band, from integrals: nothing between two scrapes is lost."""
    band = f"rate(damon_access_band_byte_seconds_total{{{where}}}[$__rate_interval])"
    observed = f"rate(damon_observed_seconds_total{{{where}}}[$__rate_interval])"
    return Query(f"{band} / ignoring (band) group_left {observed}", "{{band}}")
