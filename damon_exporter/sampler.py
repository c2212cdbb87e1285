"""The thread that reads the source, has everything counted, and publishes a new state at every tick."""

import threading
import time
from collections.abc import Callable

from damon_exporter.config import Config
from damon_exporter.feeds import Feed
from damon_exporter.kernel import procfs
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.published import Published
from damon_exporter.roster import Roster, Waiting
from damon_exporter.state import MonitorState, NodeState
from damon_exporter.supervisor import Supervisor
from damon_exporter.watches import Watches

LONGEST_WAIT = 1.0
"""How long (s) to wait for the source at most, so that a stop is noticed soon however rarely is published. That is as
often as with the default of `export.publish`; a look at buffers that hold nothing is cheap."""


class Sampler:
    """Waits for the source, never longer than until the next publication is due, or a second."""

    def __init__(
        self,
        config: Config,
        paths: KernelPaths,
        feed: Feed,
        supervisor: Supervisor,
        published: Published,
        on_failure: Callable[[], None],
    ) -> None:
        self._publish_every = config.export.publish
        self._controlling = config.kernel.control == "auto"
        self._paths = paths
        self._feed = feed
        self._supervisor = supervisor
        self._published = published
        self._on_failure = on_failure
        self._watches = Watches(config.export, feed.name)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")
        self._started = time.time()
        self._release = procfs.kernel_release(paths.procfs)

    def start(self) -> None:
        """Begin to read and to publish."""
        self._thread.start()

    def stop(self) -> None:
        """Stop within a second."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            due = time.monotonic()
            while not self._stopping.is_set():
                self._feed.wait(min(max(due - time.monotonic(), 0.0), LONGEST_WAIT))
                self._take_in(time.monotonic())
                if (now := time.monotonic()) >= due:
                    self._publish(now)
                    due = max(due + self._publish_every, now)
        finally:
            if not self._stopping.is_set():
                self._on_failure()  # frozen numbers would be a lie: end, and be started again

    def _take_in(self, now: float) -> None:
        reports = self._feed.collect(self._supervisor.roster, now)
        if self._watches.hear(reports, now):
            self._supervisor.wake()

    def _publish(self, now: float) -> None:
        roster = self._supervisor.roster
        self._watches.follow(roster, now)
        monitors = self._watches.states(self._paths.procfs, now, time.time() - time.monotonic())
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
                "unidentified_kdamond": self._watches.unidentified,
            },
            sources_up=self._feed.up,
            trace=self._feed.trace,
            snapshots_incomplete=self._feed.incomplete,
            publish_duration_seconds=time.monotonic() - now,
            config_loaded_timestamp=self._started,
            kernel_release=self._release,
        )
        self._published.replace(state)

    def _reasons(self, roster: Roster, monitors: tuple[MonitorState, ...]) -> tuple[str, ...]:
        """Say everything that a person should know who wonders about a number that is missing."""
        sentences = [*self._feed.problems, *roster.blocked.values()]
        sentences += [f"{monitor.name} does not run: {monitor.reason}" for monitor in roster.waiting]
        sentences += [f"{monitor.name}: {monitor.reason}" for monitor in monitors if not monitor.up]
        if not monitors:
            more = "" if self._controlling else " (kernel.control: never)"
            sentences.append(f"nothing to watch now: no kdamond runs on this host{more}; still looking")
        return tuple(dict.fromkeys(sentences))


def _waiting(monitor: Waiting, source: str) -> MonitorState:
    return MonitorState(
        name=monitor.name,
        operations=monitor.operations,
        source=source,
        owner="exporter",
        up=False,
        reason=monitor.reason,
        restarts=monitor.restarts,
        targets=(),
    )
