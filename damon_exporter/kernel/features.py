"""What this kernel and these permissions allow, by looking for files; nothing is written."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from damon_exporter.kernel.damon_sysfs import Slot
from damon_exporter.kernel.files import is_there
from damon_exporter.kernel.modules import MODULES
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.plan import INTERVALS

GOAL = f"{INTERVALS}/intervals_goal"


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that is there or not; ``detail`` says what for, ``cure`` how to get it."""

    name: str
    present: bool
    detail: str
    cure: str


def probe(paths: KernelPaths) -> tuple[Feature, ...]:
    """Return what can be told without a slot of our own (see `slot_features` for the rest)."""
    size_file = paths.damon_admin / "kdamonds/nr_kdamonds"
    events = paths.tracefs / "events/damon"
    instances = paths.tracefs / "instances"
    return (
        Feature(
            "damon_sysfs",
            is_there(size_file),
            f"DAMON's control tree, {paths.damon_admin}",
            "boot a kernel with CONFIG_DAMON_SYSFS (5.18 or later; Debian has it from 6.12 on), mount its sysfs",
        ),
        Feature(
            "damon_sysfs_write",
            os.access(size_file, os.W_OK, effective_ids=True),
            "monitors of our own",
            f"run as uid 0 (no capability is needed) with {paths.damon_admin.parent} mounted read-write; "
            "allow it in AppArmor or SELinux",
        ),
        Feature(
            "damon_aggregated",
            is_there(events / "damon_aggregated/format"),
            f"every aggregation of every kdamond, from {events}",
            f"mount tracefs on {paths.tracefs} (mount -t tracefs nodev {paths.tracefs}) or name it with "
            "--path.tracefs; kernel lockdown in confidentiality mode forbids it; without it, regions are read "
            "from sysfs, from kdamonds of our own only",
        ),
        Feature(
            "trace_instances",
            os.access(instances, os.W_OK, effective_ids=True),
            "a trace buffer of our own",
            f"run as uid 0 with {paths.tracefs} mounted read-write",
        ),
        Feature(
            "damon_monitor_intervals_tune",
            is_there(events / "damon_monitor_intervals_tune/format"),
            "auto-tuned intervals are followed",
            "a kernel from 6.17 on",
        ),
        *(
            Feature(name, is_there(paths.module_parameters(name)), f"the module {name}", "a kernel that has it")
            for name in MODULES
        ),
    )


def has(paths: KernelPaths, name: str) -> bool:
    """Is the feature there?"""
    return any(feature.present for feature in probe(paths) if feature.name == name)


def slot_features(slot: Slot) -> Mapping[str, bool]:
    """Return what only a slot's files tell; the slot has a context."""
    return {
        "intervals_goal": slot.has(GOAL),
        "refresh_ms": slot.has("refresh_ms"),
        "tried_regions": slot.has("contexts/0/schemes/0/tried_regions"),
        "target_filters": slot.has("contexts/0/schemes/0/filters"),
    }
