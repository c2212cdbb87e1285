"""/sys/module/damon_*/parameters: the kernel's own users of DAMON, who tolerate nobody beside them."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.kdamond import Kdamond
from damon_exporter.testing.fake_kernel.parameters import (
    UINT,
    Attributes,
    Context,
    IntervalsGoal,
    Scheme,
    Target,
    Watermarks,
)
from damon_exporter.testing.fake_kernel.statistics import Statistics
from damon_exporter.testing.fake_kernel.tree import File, Node
from damon_exporter.testing.fake_kernel.values import Flag, Number, Result, parse_flag

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel

ULONG = (1 << 64) - 1
STAT_ATTRIBUTES = Attributes(5_000, 100_000, 60_000_000, 10, 1000, IntervalsGoal(400, 3, 5_000, 10_000_000))
STAT_REFRESH_MS = 5_000
RECLAIM_SETTINGS = {
    "min_age": 120_000_000,
    "quota_ms": 10,
    "quota_sz": 128 << 20,
    "quota_reset_interval_ms": 1000,
    "quota_mem_pressure_us": 0,
    "quota_autotune_feedback": 0,
    "wmarks_interval": 5_000_000,
    "wmarks_high": 500,
    "wmarks_mid": 400,
    "wmarks_low": 200,
}
LRU_SORT_SETTINGS = {
    "hot_thres_access_freq": 500,
    "cold_min_age": 120_000_000,
    "quota_ms": 10,
    "quota_reset_interval_ms": 1000,
    "wmarks_interval": 5_000_000,
    "wmarks_high": 200,
    "wmarks_mid": 150,
    "wmarks_low": 50,
}
MONITORING_SETTINGS = {
    "sample_interval": 5_000,
    "aggr_interval": 100_000,
    "min_nr_regions": 10,
    "max_nr_regions": 1000,
    "monitor_region_start": 0,
    "monitor_region_end": 0,
}
RECLAIM_RESULTS = (
    "nr_reclaim_tried_regions",
    "bytes_reclaim_tried_regions",
    "nr_reclaimed_regions",
    "bytes_reclaimed_regions",
    "nr_quota_exceeds",
)
LRU_SORT_RESULTS = tuple(
    pattern.format(heat)
    for heat in ("hot", "cold")
    for pattern in (
        "nr_lru_sort_tried_{}_regions",
        "bytes_lru_sort_tried_{}_regions",
        "nr_lru_sorted_{}_regions",
        "bytes_lru_sorted_{}_regions",
        "nr_{}_quota_exceeds",
    )
)


class Module:
    """A module and its ``enabled`` and ``kdamond_pid``; ``context`` says what it monitors when it is turned on."""

    def __init__(
        self, kernel: "Kernel", name: str, context: Callable[[], Context], parameters: Mapping[str, Node]
    ) -> None:
        self.kernel = kernel
        self.kdamond: Kdamond | None = None
        self._context = context
        folder = kernel.root.make(f"sys/module/{name}/parameters")
        folder.add("enabled", File(self._read_enabled, self._write_enabled, mode=0o600))
        folder.add("kdamond_pid", File(self._read_pid, mode=0o400))
        folder.update(parameters)

    @property
    def running(self) -> bool:
        """Whether its kdamond is at work, even if asleep by watermarks."""
        return self.kdamond is not None and self.kdamond.alive

    def start(self) -> None:
        """Turn it on. EBUSY while anybody else monitors; then it reads back as off."""
        if not self.running:
            self.kdamond = self.kernel.core.start(self._context(), exclusive=True)

    def stop(self) -> None:
        """Turn it off."""
        if self.kdamond is not None and self.kdamond.alive:
            self.kdamond.stop()

    def _read_enabled(self) -> str:
        return "Y\n" if self.running else "N\n"

    def _read_pid(self) -> str:
        return f"{self.kdamond.pid if self.kdamond else -1}\n"

    def _write_enabled(self, text: str) -> None:
        if parse_flag(text):
            self.start()
        else:
            self.stop()


class DamonStat(Module):
    """damon_stat, since 6.17: monitors with intervals that it tunes, and shows two summaries every five seconds."""

    def __init__(self, kernel: "Kernel") -> None:
        self._statistics = Statistics()
        super().__init__(
            kernel,
            "damon_stat",
            lambda: Context("paddr", STAT_ATTRIBUTES, (whole_memory(kernel),), ()),
            self._statistics.files(),
        )

    def start(self) -> None:
        """Turn it on, and begin to refresh the summaries."""
        super().start()
        kdamond = self.kdamond
        if kdamond is not None:
            kdamond.repeat = lambda: self._statistics.refresh(kdamond)
            kdamond.repeat_ms = lambda: STAT_REFRESH_MS


def damon_reclaim(kernel: "Kernel") -> Module:
    """damon_reclaim: built in everywhere, off at boot. Here it runs and counts nothing."""
    settings = numbers(RECLAIM_SETTINGS | MONITORING_SETTINGS)
    parameters = {**settings, "commit_inputs": Flag(), "skip_anon": Flag(), **results(RECLAIM_RESULTS)}
    return Module(kernel, "damon_reclaim", lambda: watched_by_watermarks(kernel, "pageout", settings), parameters)


def damon_lru_sort(kernel: "Kernel") -> Module:
    """damon_lru_sort: built in everywhere, off at boot. Here it runs and counts nothing."""
    settings = numbers(LRU_SORT_SETTINGS | MONITORING_SETTINGS)
    parameters = {**settings, "commit_inputs": Flag(), **results(LRU_SORT_RESULTS)}
    return Module(kernel, "damon_lru_sort", lambda: watched_by_watermarks(kernel, "lru_prio", settings), parameters)


def build_modules(kernel: "Kernel") -> dict[str, Module]:
    """The modules that this kernel has built in, all off."""
    modules = {"damon_reclaim": damon_reclaim(kernel), "damon_lru_sort": damon_lru_sort(kernel)}
    if kernel.profile.since("6.17"):
        modules["damon_stat"] = DamonStat(kernel)
    return modules


def whole_memory(kernel: "Kernel") -> Target:
    """All RAM: since 7.2 from its first byte to its last with the holes between, before that the largest range."""
    ranges = kernel.system_ram
    if kernel.profile.since("7.2"):
        return Target(None, ((min(ranges)[0], max(ranges)[1]),))
    return Target(None, (max(ranges, key=lambda range_: range_[1] - range_[0]),))


def watched_by_watermarks(kernel: "Kernel", action: str, settings: dict[str, Number]) -> Context:
    """A module's context: one scheme, asleep unless the free memory lies between its watermarks."""
    values = {name: number.value for name, number in settings.items()}
    attributes = Attributes(
        values["sample_interval"],
        values["aggr_interval"],
        60_000_000,
        values["min_nr_regions"],
        values["max_nr_regions"],
    )
    marks = Watermarks("free_mem_rate", *(values[f"wmarks_{name}"] for name in ("interval", "high", "mid", "low")))
    scheme = Scheme(action, (0, ULONG), (0, UINT), (0, UINT), 0, marks)
    return Context("paddr", attributes, (whole_memory(kernel),), (scheme,))


def numbers(defaults: dict[str, int]) -> dict[str, Number]:
    """Parameters that may be written."""
    return {name: Number(value) for name, value in defaults.items()}


def results(names: tuple[str, ...]) -> dict[str, Result]:
    """Parameters that may only be read."""
    return {name: Result() for name in names}
