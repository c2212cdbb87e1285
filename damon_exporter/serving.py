"""From a configuration to a running process: threads started in order, stopped in the opposite one."""

import logging
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from damon_exporter.config import Config, Export
from damon_exporter.feeds import open_feed
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.naming import container_names
from damon_exporter.passes import Passes
from damon_exporter.player import Player
from damon_exporter.published import Published
from damon_exporter.sampler import Sampler
from damon_exporter.sources.recording import Recording
from damon_exporter.state import NodeState
from damon_exporter.stopping import StopSignal
from damon_exporter.supervisor import Supervisor
from damon_exporter.web.app import make_app
from damon_exporter.web.server import Server

log = logging.getLogger(__name__)


MOST_FILES = 65_536


def allow_many_files() -> None:
    """Allow ourselves as many open files as we may: each watched process takes one or two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if 0 <= soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class _Thread(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


@contextmanager
def observing(
    config: Config, paths: KernelPaths, published: Published, on_failure: Callable[[], None]
) -> Iterator[None]:
    """Observe and control this host's DAMON while the block runs; afterwards the kernel is as it was."""
    allow_many_files()
    names = container_names(config, paths, on_failure)
    feed = open_feed(config, paths, lambda: supervisor.writer)
    supervisor = Supervisor(config, paths, feed.name == "sysfs", on_failure, names.pod_of, lambda: names.asked)
    asked = config.attribution
    passes = Passes(asked, config.export, paths, names.pod_of, on_failure) if asked else None
    sampler = Sampler(config, paths, feed, supervisor, names, passes, published, on_failure)
    with ExitStack() as stack:
        stack.callback(feed.close)
        threads: list[_Thread] = [names, supervisor, *([passes] if passes else []), sampler]
        for thread in threads:
            thread.start()
            stack.callback(thread.stop)
        yield


def serve(config: Config, paths: KernelPaths, addresses: Sequence[str], telemetry_path: str) -> None:
    """Serve this host's numbers until told to stop; raises `Failed` if a thread ends before.

    The port is bound first: if it cannot be, nothing in the kernel has been touched.
    """
    stop = StopSignal()
    published = Published(NodeState(ready=True, reasons=("starting",)))
    with Server(addresses, make_app(published, telemetry_path)) as server:
        _say_where(server, telemetry_path)
        with observing(config, paths, published, stop.fail):
            stop.wait()
            log.info("stopping")


def serve_recording(recording: Recording, export: Export, addresses: Sequence[str], telemetry_path: str) -> None:
    """Serve a recording's numbers until told to stop."""
    stop = StopSignal()
    if recording.damage:
        log.error("%s", recording.damage)
    player = Player(recording, export)
    with Server(addresses, make_app(player.published, telemetry_path)) as server:
        _say_where(server, telemetry_path)
        player.start()
        try:
            stop.wait()
        finally:
            player.stop()


def _say_where(server: Server, telemetry_path: str) -> None:
    for address in server.bound:
        log.info("serving http://%s:%d%s", address.host or "localhost", address.port, telemetry_path)
