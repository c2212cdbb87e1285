"""Kdamonds that are not ours, as they show themselves."""

from damon_exporter.kernel.damon_sysfs import Slot
from damon_exporter.kernel.modules import DAMON_STAT, DAMON_STAT_MAX_NR_ACCESSES, Module
from damon_exporter.kernel.plan import INTERVALS, TARGETS
from damon_exporter.kernel.scheme_stats import shown_schemes
from damon_exporter.roster import Watched, WatchedScheme, listed


def watched_slot(slot: Slot, pid: int) -> Watched:
    """Return somebody's sysfs kdamond, which runs with ``pid``; raises `KernelError` while its files are made anew."""
    intervals = slot.intervals()
    return Watched(
        name=f"sysfs{slot.index}",
        operations=slot.read("contexts/0/operations"),
        owner="foreign",
        pid=pid,
        targets=listed(*(f"target{i}" for i in range(slot.number(f"{TARGETS}/nr_targets")))),
        intervals=intervals,
        max_nr_accesses=intervals.max_nr_accesses,
        tuned=_positive(slot, f"{INTERVALS}/intervals_goal/aggrs"),
        refreshed=_positive(slot, "refresh_ms"),
        reporting=False,
        slot=slot.index,
        addr_unit=slot.unit(),
        schemes=foreign_schemes(slot),
    )


def foreign_schemes(slot: Slot) -> tuple[WatchedScheme, ...]:
    """Return somebody's schemes, which have no names but their indexes. Nothing is asked of the kdamond."""
    refreshed = _positive(slot, "refresh_ms")
    return tuple(WatchedScheme(str(shown.index), shown, refreshed) for shown in shown_schemes(slot))


def _positive(slot: Slot, leaf: str) -> bool:
    """Is it on? It is not where the kernel lacks the file."""
    return slot.has(leaf) and slot.number(leaf) > 0


def watched_module(module: Module) -> Watched:
    """Return a module that runs; its pid is 0 where the kernel does not tell it."""
    counted = module.intervals.max_nr_accesses if module.intervals else None
    return Watched(
        name=module.name,
        operations="paddr",
        owner="module",
        pid=module.pid or 0,
        targets=None,
        intervals=module.intervals,
        max_nr_accesses=DAMON_STAT_MAX_NR_ACCESSES if module.name == DAMON_STAT else counted,
        tuned=module.tuned,
        refreshed=module.name == DAMON_STAT and module.intervals is not None,
        reporting=module.name == DAMON_STAT,
        addr_unit=module.addr_unit,
        schemes=tuple(WatchedScheme(label, shown) for label, shown in module.schemes),
    )
