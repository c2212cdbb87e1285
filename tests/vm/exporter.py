"""The exporter in a guest: started as uid 0 without any capability, asked over HTTP, stopped by a signal."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from . import daemonset
from .channel import GuestError
from .guest import Guest, GuestProcess

PORT = 10555
CONFIG = "/tmp/config.yaml"
ADMIN = "/sys/kernel/mm/damon/admin"
SIZE_FILE = f"{ADMIN}/kdamonds/nr_kdamonds"
DAMON_STAT = "/sys/module/damon_stat/parameters/enabled"
INSTANCES = "/sys/kernel/tracing/instances"
START_SECONDS = 60.0

MIB = float(1 << 20)


@dataclass(frozen=True, slots=True)
class Metrics:
    """One scrape."""

    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    @classmethod
    def parse(cls, text: str) -> "Metrics":
        """Parse the text format."""
        return cls(
            {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
        )

    def get(self, name: str, **labels: str) -> float | None:
        """The value of the one series with these labels, others allowed; None if there is none."""
        found = self.all(name, **labels)
        assert len(found) <= 1, f"{name}{labels} is not one series: {found}"
        return next(iter(found.values()), None)

    def value(self, name: str, **labels: str) -> float:
        """The value of the one series with these labels."""
        found = self.get(name, **labels)
        assert found is not None, f"no {name}{labels} among {sorted({n for n, _ in self.samples})}"
        return found

    def all(self, name: str, **labels: str) -> dict[frozenset[tuple[str, str]], float]:
        """All series with these labels."""
        wanted = set(labels.items())
        return {has: value for (found, has), value in self.samples.items() if found == name and wanted <= has}


@dataclass(frozen=True, slots=True)
class Exporter:
    """A running exporter."""

    guest: Guest
    process: GuestProcess
    port: int

    def fetch(self, path: str) -> str:
        """The body of a page; raises if it is no success."""
        status, body = self.guest.fetch(self.port, path)
        assert status == 200, (path, status, body)
        return body

    def metrics(self) -> Metrics:
        """Scrape it."""
        return Metrics.parse(self.fetch("/metrics"))

    def wait_for(self, condition: Callable[[Metrics], object], what: str, timeout: float = 90.0) -> Metrics:
        """Scrape until the condition holds."""
        deadline = self.guest.clock() + timeout
        while True:
            metrics = self.metrics()
            if condition(metrics):
                return metrics
            assert self.process.poll() is None, f"the exporter has ended: {self.process.stderr()}"
            assert self.guest.clock() < deadline, f"{what}: not within {timeout:g} s\n{self.process.stderr()}"
            self.guest.sleep(0.5)

    def watch(self, seconds: float, every: float = 1.0) -> list[Metrics]:
        """Scrape for a while."""
        end = self.guest.clock() + seconds
        scrapes = []
        while self.guest.clock() < end:
            scrapes.append(self.metrics())
            self.guest.sleep(every)
        return scrapes

    def reload(self, config: str) -> None:
        """Have it go over to another configuration, which it must take."""
        taken = "damon_exporter_config_last_reload_success_timestamp_seconds"
        before = self.metrics().value(taken)
        _put_config(self.guest, config, self.port)
        self.process.kill(signal.SIGHUP)
        self.wait_for(lambda metrics: metrics.value(taken) > before, "the reload")

    def terminate(self) -> None:
        """Stop it as a service manager does; it must end with 0."""
        self.process.kill(signal.SIGTERM)
        returncode = self.process.wait(30.0)
        assert returncode == 0, self.process.stderr()


@contextmanager
def exporter(guest: Guest, config: str = "", *arguments: str, port: int = PORT) -> Iterator[Exporter]:
    """Run the exporter while the block runs, then stop it as a service manager does, if it has not ended."""
    with _until_stopped(start(guest, config, *arguments, port=port)) as running:
        yield running


@contextmanager
def exporter_in_pod(guest: Guest, config: str, variant: str = "base") -> Iterator[Exporter]:
    """The same with the mounts and the rights that this variant of the DaemonSet has."""
    process = guest.spawn(daemonset.in_pod(guest, variant, config, daemonset.exporter(variant)))
    with _until_stopped(_answering(guest, process, PORT)) as running:
        yield running


@contextmanager
def _until_stopped(running: Exporter) -> Iterator[Exporter]:
    try:
        yield running
        if running.process.poll() is None:
            running.terminate()
    finally:
        running.process.stop()


def start(guest: Guest, config: str = "", *arguments: str, port: int = PORT) -> Exporter:
    """Start the exporter and return when it answers."""
    process = guest.spawn(command(guest, config, *arguments, port=port), uid0_nocaps=True)
    return _answering(guest, process, port)


def _answering(guest: Guest, process: GuestProcess, port: int) -> Exporter:
    try:
        deadline = guest.clock() + START_SECONDS
        while guest.fetch(port, "/-/healthy")[0] != 200 and process.poll() is None:
            assert guest.clock() < deadline, f"the exporter does not answer: {process.stderr()}"
            guest.sleep(0.2)
        assert process.poll() is None, f"the exporter did not start: {process.stderr()}"
    except (AssertionError, GuestError):
        process.stop()  # or its port would be taken for every later scenario
        raise
    return Exporter(guest, process, port)


def command(guest: Guest, config: str, *arguments: str, port: int = PORT) -> Sequence[str]:
    """The command line that runs the exporter with this configuration; ``""`` is none at all."""
    flags = ["--web.listen-address", f"127.0.0.1:{port}"]
    if config:
        flags += ["--config.file", _put_config(guest, config, port)]
    return ["python", "-m", "damon_exporter", *flags, *arguments]


def _put_config(guest: Guest, config: str, port: int) -> str:
    path = f"{CONFIG}.{port}"
    guest.put(path, config.encode())
    return path


def tree(guest: Guest) -> str:
    """Everything that DAMON's control tree and the trace instances show, as text.

    ``state`` stays as it is while nobody writes, and paths of cgroups must not be read beside writers.
    """
    files = guest.get_all(ADMIN, but="path")
    shown = [f"{path} {content.decode()}" for path, content in sorted(files.items())]
    return "".join([*shown, guest.run(f"ls {INSTANCES}").stdout])


def free_damon(guest: Guest) -> None:
    """Free DAMON of DAMON_STAT, which runs from boot on newer kernels, and of what a test that failed has left."""
    guest.run(
        f"test ! -e {DAMON_STAT} || echo N > {DAMON_STAT}; cd {ADMIN}/kdamonds; "
        "for state in */state; do ! grep -qs on $state || echo off > $state; done; echo 0 > nr_kdamonds"
    )


def defragment(guest: Guest) -> None:
    """Let what is free lie together again.

    Pages that were freed here and there would be handed out here and there, and no region could tell them apart.
    """
    guest.run("echo 3 > /proc/sys/vm/drop_caches; echo 1 > /proc/sys/vm/compact_memory")
