"""This host's DAMON, observed and controlled: the threads that do it, and how they go over to another configuration."""

import resource
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

from damon_exporter.config import Config
from damon_exporter.containers.named import Named
from damon_exporter.feeds import open_feed
from damon_exporter.kernel.errors import Unsupported
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.naming import container_names
from damon_exporter.passes import Passes
from damon_exporter.published import Published
from damon_exporter.sampler import Sampler
from damon_exporter.supervisor import Supervisor

MOST_FILES = 65_536

FIXED = ("control", "source")
"""What of `kernel` holds as long as the exporter runs."""


def allow_many_files() -> None:
    """Allow ourselves as many open files as we may: each watched process takes one or two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if 0 <= soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class Observation:
    """Runs within a ``with`` block; afterwards the kernel is as it was. ``on_failure`` is that of `Repeating`."""

    def __init__(
        self, config: Config, paths: KernelPaths, published: Published, on_failure: Callable[[], None]
    ) -> None:
        allow_many_files()
        self._config = config
        self._paths = paths
        self._on_failure = on_failure
        self._names = container_names(config, paths, on_failure)
        self._passes = self._make_passes(config)
        self._feed = open_feed(config, paths, lambda: self._supervisor.writer)
        self._supervisor = Supervisor(
            config, paths, self._feed.name == "sysfs", on_failure, self._pod_of, lambda: self._names.asked
        )
        self._sampler = Sampler(
            config, paths, self._feed, self._supervisor, self._names, self._passes, published, on_failure
        )
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self._feed.close)
            self._names.start()
            undo.callback(self._stop_names)
            self._supervisor.start()
            undo.callback(self._supervisor.stop)
            if self._passes:
                self._passes.start()
            undo.callback(self._stop_passes)
            self._sampler.start()
            undo.callback(self._sampler.stop)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.cease()
        self._undo.close()

    def cease(self) -> None:
        """Begin nothing more, as it is to end: a reload under way is broken off, and what it has done put back then."""
        self._supervisor.cease()

    def reload(self, config: Config) -> None:
        """Go over to another configuration; raises `KernelError`, and then nothing has changed, or `Ending`."""
        self._require_reloadable(config)
        names, passes = self._names, self._passes
        if config.kubernetes != self._config.kubernetes:
            names = container_names(config, self._paths, self._on_failure)
        if (config.attribution, config.export) != (self._config.attribution, self._config.export):
            passes = self._make_passes(config)
        self._supervisor.reload(config)
        self._config = config
        before, self._names = self._names, names
        passes_before, self._passes = self._passes, passes
        if names is not before:
            names.start()
        if passes and passes is not passes_before:
            passes.start()
        self._sampler.reload(config, names, passes)
        if names is not before:
            before.stop()
        if passes_before and passes_before is not passes:
            passes_before.stop()

    def note_failed_reload(self) -> None:
        """Publish that the last reload has failed."""
        self._sampler.note_failed_reload()

    def _require_reloadable(self, config: Config) -> None:
        for key in FIXED:
            if getattr(config.kernel, key) != getattr(self._config.kernel, key):
                raise Unsupported(f"kernel.{key} cannot be changed by a reload: restart the exporter for that")
        if config.otlp != self._config.otlp:
            raise Unsupported("otlp cannot be changed by a reload: restart the exporter for that")

    def _make_passes(self, config: Config) -> Passes | None:
        asked = config.attribution
        return Passes(asked, config.export, self._paths, self._pod_of, self._on_failure) if asked else None

    def _stop_names(self) -> None:
        self._names.stop()

    def _stop_passes(self) -> None:
        if self._passes:
            self._passes.stop()

    def _pod_of(self, cgroup: str) -> Named:
        return self._names.pod_of(cgroup)
