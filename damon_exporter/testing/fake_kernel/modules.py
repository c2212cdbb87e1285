"""/sys/module/damon_*/parameters: the kernel's own users of DAMON, who tolerate nobody beside them."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.kdamond import Kdamond
from damon_exporter.testing.fake_kernel.lru_sort import LruSort
from damon_exporter.testing.fake_kernel.module_parameters import SchemeParameters, whole_memory
from damon_exporter.testing.fake_kernel.parameters import Attributes, Context, IntervalsGoal, Target
from damon_exporter.testing.fake_kernel.reclaim import Reclaim
from damon_exporter.testing.fake_kernel.schemes import AppliedScheme, Stats
from damon_exporter.testing.fake_kernel.statistics import Statistics
from damon_exporter.testing.fake_kernel.tree import File, Node
from damon_exporter.testing.fake_kernel.values import parse_flag

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.kernel import Kernel

STAT_ATTRIBUTES = Attributes(5_000, 100_000, 60_000_000, 10, 1000, IntervalsGoal(400, 3, 5_000, 10_000_000))
STAT_REFRESH_MS = 5_000


class Module:
    """A module and its ``enabled`` and ``kdamond_pid``; ``context`` says what it monitors when it is turned on.

    Its context lives as long as the kernel: schemes go on where they were, with their counters, when it is turned on
    again.
    """

    def __init__(
        self, kernel: "Kernel", name: str, context: Callable[[], Context], parameters: Mapping[str, Node]
    ) -> None:
        self.kernel = kernel
        self.kdamond: Kdamond | None = None
        self.schemes: list[AppliedScheme] = []
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
        """Turn it on. EINVAL for bad parameters, EBUSY while anybody else monitors; then it reads back as off."""
        if not self.running:
            self.kdamond = self.kernel.core.start(self._context(), exclusive=True, kept=self.schemes)
            self.schemes = self.kdamond.damos.schemes

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
            lambda: Context("paddr", STAT_ATTRIBUTES, (Target(None, (whole_memory(kernel),)),), ()),
            self._statistics.files(),
        )

    def start(self) -> None:
        """Turn it on, and begin to refresh the summaries."""
        super().start()
        kdamond = self.kdamond
        if kdamond is not None:
            kdamond.repeat = lambda: self._statistics.refresh(kdamond)
            kdamond.repeat_ms = lambda: STAT_REFRESH_MS


class SchemeModule(Module):
    """damon_reclaim or damon_lru_sort: built in everywhere, off at boot. Its parameters show the schemes' counters.

    7.3 copies them with every sample, and so a read here is never behind; 6.12 does so before it applies the schemes.
    """

    def __init__(self, kernel: "Kernel", name: str, parameters: SchemeParameters) -> None:
        counters = {
            parameter: File(self._reader(scheme, counter), mode=0o400)
            for parameter, (scheme, counter) in parameters.counters.items()
        }
        super().__init__(kernel, name, parameters.context, {**parameters.settings, **counters})

    def _reader(self, scheme: int, counter: str) -> Callable[[], str]:
        """Zero as long as there was no such scheme."""

        def read() -> str:
            stats = self.schemes[scheme].stats if scheme < len(self.schemes) else Stats()
            return f"{getattr(stats, counter)}\n"

        return read


def build_modules(kernel: "Kernel") -> dict[str, Module]:
    """The modules that this kernel has built in, all off."""
    modules: dict[str, Module] = {
        "damon_reclaim": SchemeModule(kernel, "damon_reclaim", Reclaim(kernel)),
        "damon_lru_sort": SchemeModule(kernel, "damon_lru_sort", LruSort(kernel)),
    }
    if kernel.profile.since("6.17"):
        modules["damon_stat"] = DamonStat(kernel)
    return modules
