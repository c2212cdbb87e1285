"""The parameters that damon_reclaim and damon_lru_sort have in common."""

import errno
from typing import TYPE_CHECKING, Protocol

from damon_exporter.testing.fake_kernel.memory import PAGE, Range
from damon_exporter.testing.fake_kernel.parameters import (
    Attributes,
    Context,
    IntervalsGoal,
    Target,
    check_attributes,
)
from damon_exporter.testing.fake_kernel.scheme_parameters import Watermarks
from damon_exporter.testing.fake_kernel.tree import fail
from damon_exporter.testing.fake_kernel.values import Flag, Number

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel

ANY_SIZE = (PAGE, (1 << 64) - 1)
UPDATE_US = 60_000_000  # no matter for physical memory
TUNED = Attributes(5_000, 100_000, UPDATE_US, 10, 1000, IntervalsGoal(40, 3, 5_000, 10_000_000))
Settings = dict[str, Number | Flag]


class SchemeParameters(Protocol):
    """What a module may be told, and what it tells."""

    settings: Settings
    counters: dict[str, tuple[int, str]]
    """Parameter → number of the scheme, and which of its counters."""

    def context(self) -> Context:
        """What the settings ask for. EINVAL if they do not go together."""


def common_settings(kernel: "Kernel", **defaults: int) -> Settings:
    """Those of both modules, with the defaults that they do not share."""
    numbers = {
        **defaults,
        "quota_ms": 10,
        "quota_reset_interval_ms": 1000,
        "wmarks_interval": 5_000_000,
        "sample_interval": 5_000,
        "aggr_interval": 100_000,
        "min_nr_regions": 10,
        "max_nr_regions": 1000,
        "monitor_region_start": 0,
        "monitor_region_end": 0,
    }
    settings: Settings = {name: Number(value) for name, value in numbers.items()}
    settings["commit_inputs"] = Flag()
    if kernel.profile.since("6.18"):
        settings["addr_unit"] = Number(1)
    if kernel.profile.since("7.2"):
        settings["autotune_monitoring_intervals"] = Flag()
    return settings


def setting(settings: Settings, name: str) -> int:
    """What a setting is now; 0 where this kernel has none of that name."""
    return int(settings[name].value) if name in settings else 0


def watermarks(settings: Settings) -> Watermarks:
    """Those of all schemes of a module, by the free memory."""
    return Watermarks(
        "free_mem_rate", *(setting(settings, f"wmarks_{name}") for name in ("interval", "high", "mid", "low"))
    )


def attributes(settings: Settings) -> Attributes:
    """damon_set_attrs(): EINVAL for what makes no sense, such as no interval at all."""
    if setting(settings, "autotune_monitoring_intervals"):
        return TUNED
    wanted = Attributes(
        setting(settings, "sample_interval"),
        setting(settings, "aggr_interval"),
        UPDATE_US,
        setting(settings, "min_nr_regions"),
        setting(settings, "max_nr_regions"),
    )
    check_attributes(wanted)
    if not wanted.sample_us or not wanted.aggr_us:
        raise fail(errno.EINVAL)
    return wanted


def monitored(kernel: "Kernel", settings: Settings) -> Target:
    """damon_set_region_system_rams_default(): what was asked for, else all memory, which the parameters then show."""
    start, end = (settings[f"monitor_region_{name}"] for name in ("start", "end"))
    if start.value > end.value:
        raise fail(errno.EINVAL)
    if not end.value:
        first, last = whole_memory(kernel)
        start.value, end.value = first, last if kernel.profile.since("7.2") else last - 1
    return Target(None, ((int(start.value), -(-int(end.value) // PAGE) * PAGE),))


def whole_memory(kernel: "Kernel") -> Range:
    """All RAM: since 7.2 from its first byte to its last with the holes between, before that the largest range."""
    ranges = kernel.system_ram
    if kernel.profile.since("7.2"):
        return min(ranges)[0], max(ranges)[1]
    return max(ranges, key=lambda range_: range_[1] - range_[0])
