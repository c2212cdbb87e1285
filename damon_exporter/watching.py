"""Kdamonds that are not ours, as they show themselves."""

from damon_exporter.kernel.damon_sysfs import Slot
from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.modules import DAMON_STAT, DAMON_STAT_MAX_NR_ACCESSES, Module
from damon_exporter.roster import Watched


def watched_slot(slot: Slot) -> Watched | None:
    """Return somebody's sysfs kdamond, None if it does not run (any more)."""
    try:
        view = slot.view()
    except (KernelError, ValueError):
        return None
    if not view.pid:
        return None
    return Watched(
        name=f"sysfs{view.index}",
        operations=view.operations,
        owner="foreign",
        pid=view.pid,
        names=tuple(f"target{i}" for i in range(view.nr_targets)),
        intervals=view.intervals,
        max_nr_accesses=view.intervals.max_nr_accesses if view.intervals else None,
        tuned=view.tuned,
        refreshed=view.refreshed,
        reporting=False,
        slot=view.index,
    )


def watched_module(module: Module) -> Watched:
    """Return a module that runs; its pid is 0 where the kernel does not tell it."""
    counted = module.intervals.max_nr_accesses if module.intervals else None
    return Watched(
        name=module.name,
        operations="paddr",
        owner="module",
        pid=module.pid or 0,
        names=None,
        intervals=module.intervals,
        max_nr_accesses=DAMON_STAT_MAX_NR_ACCESSES if module.name == DAMON_STAT else counted,
        tuned=module.tuned,
        refreshed=False,
        reporting=module.name == DAMON_STAT,
    )
