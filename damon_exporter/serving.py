"""From a command line to a process that serves: threads started in order, stopped in the opposite one."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from damon_exporter.config import Config
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.metrics.collected import Collected
from damon_exporter.observation import Observation
from damon_exporter.player import Player
from damon_exporter.published import Published
from damon_exporter.pushing import make_push
from damon_exporter.reloading import Hangups, Reloader
from damon_exporter.sd_notify import Notifier
from damon_exporter.sources.recording import Recording
from damon_exporter.state import NodeState
from damon_exporter.stopping import StopSignal
from damon_exporter.web.app import PROBES, make_app
from damon_exporter.web.messages import App
from damon_exporter.web.security import SecurityNow, no_security
from damon_exporter.web.server import Server

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WebFlags:
    """Where to serve what, to whom. ``lifecycle`` lets requests reload the configuration."""

    addresses: Sequence[str]
    telemetry_path: str
    lifecycle: bool = False
    security: SecurityNow = no_security

    def server(self, app: App, on_failure: Callable[[], None]) -> Server:
        """Return a server of the application, bound."""
        return Server(
            self.addresses,
            app,
            security=self.security,
            probes=PROBES,
            scrapes={self.telemetry_path},
            on_failure=on_failure,
        )

    def log_addresses(self, server: Server) -> None:
        """Log the addresses of a server."""
        scheme = "https" if self.security().encryption else "http"
        for address in server.bound:
            log.info("serving %s://%s:%d%s", scheme, address.host or "localhost", address.port, self.telemetry_path)


def serve(config: Config, config_file: Path | None, paths: KernelPaths, web: WebFlags) -> None:
    """Serve this host's numbers until told to stop; raises `Failed` if a thread ends before.

    The port is bound first: if it cannot be, nothing in the kernel has been touched. SIGHUP reloads ``config_file``.
    """
    notifier = Notifier.from_environment()
    reloader = Reloader(config_file)

    def reload() -> None:
        with notifier.reloading():
            reloader.on_signal()

    def ask_for_reload() -> None:
        hangups.ask()

    stop = StopSignal(ask_for_reload)
    hangups = Hangups(reload, stop.fail)
    published = Published(NodeState(ready=True, reasons=("starting",)))
    collected = Collected()
    push = make_push(config.otlp, published, collected, stop.fail)
    app = make_app(published, web.telemetry_path, reloader.answer if web.lifecycle else None, collected)
    with web.server(app, stop.fail) as server, push:
        web.log_addresses(server)
        observation = Observation(config, paths, published, stop.fail)
        with hangups, observation, reloader.reloading(observation), notifier.started():
            _wait(stop, notifier, published)
            observation.cease()
            log.info("stopping")


def serve_recording(recording: Recording, config: Config, web: WebFlags) -> None:
    """Serve a recording's numbers until told to stop; raises `Failed` if the thread that pushes ends before."""
    stop = StopSignal()
    if recording.damage:
        log.error("%s", recording.damage)
    player = Player(recording, config.export)
    collected = Collected()
    push = make_push(config.otlp, player.published, collected, stop.fail)
    app = make_app(player.published, web.telemetry_path, collected=collected)
    with web.server(app, stop.fail) as server, push:
        web.log_addresses(server)
        player.start()
        try:
            stop.wait()
        finally:
            player.stop()


def _wait(stop: StopSignal, notifier: Notifier, published: Published) -> None:
    """Wait for the stop; the watchdog is put off as long as states are published, whatever they say of kdamonds."""
    last = published()
    while not stop.wait(notifier.beat_seconds):
        if (state := published()) is not last:
            last = state
            notifier.alive(_status(state))


def _status(state: NodeState) -> str:
    up = sum(monitor.up for monitor in state.monitors)
    return "; ".join((f"{up} of {len(state.monitors)} monitors report", *state.reasons))
