"""What the files of a running kdamond's schemes show: copies of the kernel's counters, as of their last refresh."""

from collections.abc import Mapping
from dataclasses import dataclass

from damon_exporter.kernel.damon_sysfs import Slot
from damon_exporter.kernel.plan import NR_SCHEMES, scheme_folder

COUNTERS = (
    "nr_tried",
    "sz_tried",
    "nr_applied",
    "sz_applied",
    "sz_ops_filter_passed",
    "qt_exceeds",
    "nr_snapshots",
)
"""The kernel's names. Some kernels lack some."""

BYTE_COUNTERS = ("sz_tried", "sz_applied", "sz_ops_filter_passed")


@dataclass(frozen=True, slots=True)
class Watermarks:
    """When a scheme is active, by the permil of memory that is free."""

    high: int
    mid: int
    low: int


@dataclass(frozen=True, slots=True)
class ShownScheme:
    """One scheme. ``effective_quota`` (bytes) is None if it has no quota, or where the kernel does not show it.

    ``goals`` are metrics with the values that they shall reach, as the kernel counts them. ``watermarks`` is None
    for a scheme that is always active.
    """

    index: int
    action: str
    counters: Mapping[str, int]
    effective_quota: int | None
    goals: tuple[tuple[str, int], ...]
    watermarks: Watermarks | None


def shown_schemes(slot: Slot) -> tuple[ShownScheme, ...]:
    """Read all schemes of a slot; raises `KernelError`."""
    unit = slot.unit()
    return tuple(_shown(slot, index, unit) for index in range(slot.number(NR_SCHEMES)))


def in_bytes(read: Mapping[str, int], unit: int) -> Mapping[str, int]:
    """Return counters of which those of bytes were counted in a unit of so many bytes."""
    return {name: value * unit if name in BYTE_COUNTERS else value for name, value in read.items()}


def _shown(slot: Slot, index: int, unit: int) -> ShownScheme:
    folder = scheme_folder(index)
    goals = _goals(slot, f"{folder}/quotas/goals")
    limited = goals or slot.number(f"{folder}/quotas/ms") or slot.number(f"{folder}/quotas/bytes")
    return ShownScheme(
        index=index,
        action=slot.read(f"{folder}/action"),
        counters=_counters(slot, f"{folder}/stats", unit),
        effective_quota=_effective_quota(slot, f"{folder}/quotas/effective_bytes", unit) if limited else None,
        goals=goals,
        watermarks=_watermarks(slot, f"{folder}/watermarks"),
    )


def _counters(slot: Slot, folder: str, unit: int) -> Mapping[str, int]:
    names = (name for name in COUNTERS if slot.has(f"{folder}/{name}"))
    return in_bytes({name: slot.number(f"{folder}/{name}") for name in names}, unit)


def _effective_quota(slot: Slot, file: str, unit: int) -> int | None:
    return slot.number(file) * unit if slot.has(file) else None


def _goals(slot: Slot, folder: str) -> tuple[tuple[str, int], ...]:
    count = slot.number(f"{folder}/nr_goals") if slot.has(f"{folder}/nr_goals") else 0
    return tuple(_goal(slot, f"{folder}/{index}") for index in range(count))


def _goal(slot: Slot, folder: str) -> tuple[str, int]:
    metric = slot.read(f"{folder}/target_metric") if slot.has(f"{folder}/target_metric") else "user_input"
    return metric, slot.number(f"{folder}/target_value")


def _watermarks(slot: Slot, folder: str) -> Watermarks | None:
    if slot.read(f"{folder}/metric") == "none":
        return None
    return Watermarks(*(slot.number(f"{folder}/{name}") for name in ("high", "mid", "low")))
