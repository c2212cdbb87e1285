"""DAMON's built-in modules: who runs, with which kdamond, at which intervals."""

from dataclasses import dataclass

from damon_exporter.analysis.snapshot import Intervals
from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.files import read_value
from damon_exporter.kernel.module_schemes import module_schemes
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.scheme_stats import ShownScheme

DAMON_STAT = "damon_stat"
MODULES = (DAMON_STAT, "damon_reclaim", "damon_lru_sort")

DAMON_STAT_MAX_NR_ACCESSES = 20
"""damon_stat starts with 5 ms of 100 ms and auto-tuning keeps the quotient (mm/damon/stat.c)."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module that is built into this kernel. ``pid`` is None where the kernel does not tell it.

    ``addr_unit`` is how many bytes one unit of an address stands for, in parameters and in what its kdamond reports.
    ``schemes`` are by label.
    """

    name: str
    enabled: bool
    pid: int | None
    intervals: Intervals | None
    tuned: bool
    addr_unit: int = 1
    schemes: tuple[tuple[str, ShownScheme], ...] = ()


def modules(paths: KernelPaths) -> tuple[Module, ...]:
    """Return the modules whose parameters are readable."""
    return tuple(found for name in MODULES if (found := _module(paths, name)))


def _module(paths: KernelPaths, name: str) -> Module | None:
    folder = str(paths.module_parameters(name))
    try:
        enabled = read_value(f"{folder}/enabled") in ("Y", "y", "1")
    except KernelError:
        return None
    pid = _number_or_none(f"{folder}/kdamond_pid")
    unit = _number_or_none(f"{folder}/addr_unit") or 1
    return Module(
        name=name,
        enabled=enabled,
        pid=pid if pid and pid > 0 else None,
        intervals=_intervals(folder, name),
        tuned=name == DAMON_STAT or bool(_number_or_none(f"{folder}/autotune_monitoring_intervals")),
        addr_unit=unit,
        schemes=module_schemes(name, folder, unit),
    )


def _intervals(folder: str, name: str) -> Intervals | None:
    if name == DAMON_STAT:
        aggregation = _number_or_none(f"{folder}/aggr_interval_us")
        if not aggregation:
            return None
        return Intervals(aggregation // DAMON_STAT_MAX_NR_ACCESSES, aggregation)
    sample = _number_or_none(f"{folder}/sample_interval")
    aggregation = _number_or_none(f"{folder}/aggr_interval")
    return Intervals(sample, aggregation) if sample and aggregation else None


def _number_or_none(parameter: str) -> int | None:
    try:
        text = read_value(parameter)
        return int({"Y": "1", "N": "0"}.get(text, text))
    except (KernelError, ValueError):
        return None
