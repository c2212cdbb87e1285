"""Passes of attribution over all monitors of physical memory, in a thread of their own."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from damon_exporter.attribution import Attributor
from damon_exporter.config import Attribution as Settings
from damon_exporter.config import Export
from damon_exporter.containers.named import PodLookup
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.physical import Origin, PhysicalView
from damon_exporter.repeating import Repeating
from damon_exporter.state import Attribution

log = logging.getLogger(__name__)

SHORTEST_INTERVAL = 1.0
"""Seconds between two passes at least, whatever changes."""

LOOK_SECONDS = 0.5
"""How often the thread looks whether a pass is due."""


class Passes:
    """Makes a pass over the last snapshot when its time has come, if need be several of one snapshot.

    Owners change in the 200 s that an aggregation may take, and chance is evened out by drawing other frames.
    ``offer`` and ``results`` are for other threads. ``on_failure`` is that of `Repeating`.
    """

    def __init__(
        self,
        settings: Settings,
        export: Export,
        paths: KernelPaths,
        pod_of: PodLookup,
        on_failure: Callable[[], None],
    ) -> None:
        self._new_attributor = partial(Attributor, settings, export, paths, pod_of)
        self._interval = settings.interval
        self._views: Mapping[str, PhysicalView] = {}
        self._runs: dict[str, _Run] = {}
        self._thread = Repeating("attribution", self._work, on_failure)
        self._told: Mapping[str, tuple[Origin, Attribution]] = {}
        self.problems: tuple[str, ...] = ()

    def start(self) -> None:
        """Begin to make passes of what is offered."""
        self._thread.start()

    def stop(self) -> None:
        """Stop when the pass under way is over."""
        self._thread.stop()

    def offer(self, views: Mapping[str, PhysicalView]) -> None:
        """Say what was last seen of each monitor of physical memory; what is not among it is forgotten."""
        self._views = views

    @property
    def results(self) -> Mapping[str, Attribution]:
        """What the last passes have told of memory as it was offered last: not of what another kdamond has seen."""
        views = self._views
        return {
            name: result
            for name, (origin, result) in self._told.items()
            if name in views and views[name].origin == origin
        }

    def work(self, now: float) -> None:
        """Make the passes that are due at ``now`` (CLOCK_MONOTONIC, s)."""
        views = self._views
        for name in self._runs.keys() - views.keys():
            self._runs[name].forget()
        for name, view in views.items():
            if name not in self._runs:
                self._runs[name] = _Run(self._new_attributor())
            run = self._runs[name]
            if view.origin != run.origin:
                run.forget()
            if now >= run.due:
                run.made, run.due, run.origin = now, now + self._interval, view.origin
                run.result = run.attributor.look(view)
        self._told = {name: (run.origin, result) for name, run in self._runs.items() if (result := run.living())}
        self._tell([problem for name in views for problem in self._runs[name].attributor.problems])

    @property
    def errors(self) -> int:
        """How often something could not be read."""
        return sum(run.attributor.failures for run in self._runs.values())

    def _tell(self, problems: Iterable[str]) -> None:
        """Say each problem once."""
        before, self.problems = self.problems, tuple(dict.fromkeys(problems))
        for problem in self.problems:
            if problem not in before:
                log.warning("%s", problem)

    def _work(self) -> float:
        self.work(time.monotonic())
        return LOOK_SECONDS


class _Run:
    """The passes over one monitor, whose totals go on as long as the exporter runs."""

    def __init__(self, attributor: Attributor) -> None:
        self.attributor = attributor
        self.made = self.due = -math.inf
        self.origin: Origin = (0, 0)
        self.result: Attribution | None = None

    def forget(self) -> None:
        """The kdamond has gone, or sees other memory: a new pass is made soon, however rarely passes are."""
        self.result = None
        self.due = min(self.due, self.made + SHORTEST_INTERVAL)

    def living(self) -> Attribution | None:
        """Return what the last pass has told, of cgroups that are still there."""
        return self.attributor.without_vanished(self.result) if self.result else None
