"""What schemes did, as the kernel's events tell it (7.0 and later): of all kdamonds, with nothing written anywhere."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from damon_exporter.kernel.scheme_stats import COUNTERS
from damon_exporter.kernel.trace_pages import Events
from damon_exporter.kernel.trace_ring import TraceBatch


@dataclass(frozen=True, slots=True)
class SchemeReport:
    """Of the scheme with this index: its counters since its kdamond was started, or its quota, as they are now.

    In the kdamond's unit of memory. None is what this event does not tell.
    """

    kdamond: int
    scheme: int
    counters: Mapping[str, int] | None = None
    effective_quota: int | None = None


def scheme_reports(batch: TraceBatch) -> Iterator[SchemeReport]:
    """Return the last event of each scheme: its counters are sums, so that earlier ones tell nothing more."""
    stats, quotas = batch.scheme_stats, batch.effective_quotas
    for (pid, scheme), at in _last(stats):
        counters = {name: int(stats.data[name][at]) for name in COUNTERS}
        yield SchemeReport(pid, scheme, counters=counters)
    for (pid, scheme), at in _last(quotas):
        yield SchemeReport(pid, scheme, effective_quota=int(quotas.data["esz"][at]))


def _last(events: Events) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield the place of each scheme's last event."""
    if not len(events):
        return iter(())
    keys = zip(events.data["common_pid"].tolist(), events.data["scheme_idx"].tolist(), strict=True)
    return iter({key: at for at, key in enumerate(keys)}.items())
