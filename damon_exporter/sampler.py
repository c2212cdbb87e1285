"""The thread that reads the source, has everything counted, and publishes a new state at every tick."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from queue import SimpleQueue

from damon_exporter.config import Config
from damon_exporter.containers.names import ContainerNames
from damon_exporter.feeds import Feed, events_per_second
from damon_exporter.kernel import procfs
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.passes import Passes
from damon_exporter.physical import CurrentNodes, bytes_by_node
from damon_exporter.published import Published
from damon_exporter.repeating import Repeating
from damon_exporter.roster import Roster, Waiting
from damon_exporter.state import MonitorState, NodeState
from damon_exporter.supervisor import Supervisor
from damon_exporter.watches import Watches

LONGEST_WAIT = 1.0
"""How long (s) to wait for the source at most, so that a stop is noticed soon however rarely is published. That is as
often as with the default of `export.publish`; a look at buffers that hold nothing is cheap."""


UNTOLD_SCHEMES = (
    "{}: nothing tells (yet) what its schemes did: its owner has not set refresh_ms, and no event has come, which "
    "kernels from 7.0 on have for it"
)


class Sampler:
    """Waits for the source, never longer than until the next publication is due, or a second."""

    def __init__(
        self,
        config: Config,
        paths: KernelPaths,
        feed: Feed,
        supervisor: Supervisor,
        names: ContainerNames,
        passes: Passes | None,
        published: Published,
        on_failure: Callable[[], None],
    ) -> None:
        self._config = config
        self._names = names
        self._passes = passes
        self._successors: SimpleQueue[tuple[Config, ContainerNames, Passes | None]] = SimpleQueue()
        self._paths = paths
        self._feed = feed
        self._supervisor = supervisor
        self._nodes = CurrentNodes(paths.sysfs)
        self._published = published
        self._watches = Watches(config.export, feed.name, paths.procfs)
        self._thread = Repeating("sampler", self._work, on_failure)  # frozen numbers would be a lie
        self._due = time.monotonic()
        self._started = self._loaded = time.time()
        self._reload_failed = False
        self._release = procfs.kernel_release(paths.procfs)

    def reload(self, config: Config, names: ContainerNames, passes: Passes | None) -> None:
        """Go on with these from the next look on; for other threads."""
        self._successors.put((config, names, passes))
        self._loaded, self._reload_failed = time.time(), False

    def note_failed_reload(self) -> None:
        """Publish from now on that the last reload has failed; for other threads."""
        self._reload_failed = True

    def start(self) -> None:
        """Begin to read and to publish."""
        self._thread.start()

    def stop(self) -> None:
        """Stop within a second."""
        self._thread.stop()
        self._watches.close()

    def _work(self) -> float:
        while not self._successors.empty():
            self._succeed(*self._successors.get())
        self._feed.wait(min(max(self._due - time.monotonic(), 0.0), LONGEST_WAIT))
        self._take_in(time.monotonic())
        if (now := time.monotonic()) >= self._due:
            self._publish(now)
            self._due = max(self._due + self._config.export.publish, now)
        return 0.0

    def _succeed(self, config: Config, names: ContainerNames, passes: Passes | None) -> None:
        self._feed.expect(events_per_second(config))
        if config.export != self._config.export:
            self._watches.reconfigure(config.export)
        self._config, self._names, self._passes = config, names, passes
        self._due = min(self._due, time.monotonic() + config.export.publish)

    def _take_in(self, now: float) -> None:
        reports = self._feed.collect(self._supervisor.roster, now)
        if self._watches.take_in(reports, self._supervisor.roster, now):
            self._supervisor.wake()

    def _publish(self, now: float) -> None:
        roster = self._supervisor.roster
        monitors = self._attributed(self._watches.states(now, time.time() - time.monotonic()), now)
        silent = [monitor for monitor in monitors if not monitor.up]
        state = NodeState(
            ready=not silent,
            reasons=self._reasons(roster, monitors),
            monitors=(*monitors, *(_waiting(monitor, self._feed.name) for monitor in roster.waiting)),
            control_blocked=dict.fromkeys(roster.blocked, True),
            features=roster.features,
            errors={
                **self._feed.errors,
                "control": self._supervisor.errors,
                "commit": self._supervisor.failed_commits,
                "container_names": self._names.errors,
                **({"attribution": self._passes.errors} if self._passes else {}),
                "unidentified_kdamond": self._watches.unidentified,
            },
            sources_up=self._feed.up,
            trace=self._feed.trace,
            snapshots_incomplete=self._feed.incomplete,
            publish_duration_seconds=time.monotonic() - now,
            started=self._started,
            config_loaded_timestamp=self._loaded,
            config_reload_failed=self._reload_failed,
            kernel_release=self._release,
            max_series=self._config.export.max_series,
            pod_labels=self._names.pod_labels_seen,
            unnamed_containers=self._names.unnamed,
        )
        self._published.replace(state)

    def _attributed(self, monitors: Sequence[MonitorState], now: float) -> tuple[MonitorState, ...]:
        """Add whose physical memory is, and where it lies."""
        views, nodes = self._watches.views(), self._nodes.at(now)
        if self._passes:
            self._passes.offer(views)
        results = self._passes.results if self._passes else {}
        bands = tuple(name for name, _ in self._config.export.bands)
        return tuple(
            replace(
                monitor,
                attribution=results.get(monitor.name),
                node_band_bytes=bytes_by_node(views[monitor.name], bands, nodes),
            )
            if monitor.name in views
            else monitor
            for monitor in monitors
        )

    def _reasons(self, roster: Roster, monitors: tuple[MonitorState, ...]) -> tuple[str, ...]:
        """Say everything that a person should know who wonders about a number that is missing."""
        sentences = [*self._feed.problems, *roster.blocked.values()]
        sentences += [*self._names.problems, *(self._passes.problems if self._passes else ())]
        sentences += [f"{monitor.name} does not run: {monitor.reason}" for monitor in roster.waiting]
        sentences += [f"{monitor.name}: {monitor.reason}" for monitor in monitors if not monitor.up]
        sentences += [UNTOLD_SCHEMES.format(monitor.name) for monitor in monitors if _has_untold_schemes(monitor)]
        if not monitors:
            more = "" if self._config.kernel.control == "auto" else " (kernel.control: never)"
            sentences.append(f"nothing to watch now: no kdamond runs on this host{more}; still looking")
        return tuple(dict.fromkeys(sentences))


def _has_untold_schemes(monitor: MonitorState) -> bool:
    return monitor.owner == "foreign" and any(scheme.counters is None for scheme in monitor.schemes)


def _waiting(monitor: Waiting, source: str) -> MonitorState:
    return MonitorState(
        name=monitor.name,
        operations=monitor.operations,
        source=source,
        owner="exporter",
        up=False,
        reason=monitor.reason,
        restarts=monitor.restarts,
        targets_dropped=monitor.dropped,
        targets=(),
    )
