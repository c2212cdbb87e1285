"""What several commands have in common: flags, and what these choose."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import click

from damon_exporter import units
from damon_exporter.config import Config, load

Command = Callable[..., Any]


def _folder(name: str, default: str, what: str) -> Callable[[Command], Command]:
    """A root of the kernel's; what of it is missing or forbidden is told where it is needed."""
    kind = click.Path(path_type=Path, readable=False)
    return click.option(f"--path.{name}", name, type=kind, default=default, show_default=True, help=what)


def options(*several: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return one decorator that adds several options."""

    def add(command: Command) -> Command:
        for option in reversed(several):
            command = option(command)
        return command

    return add


log_flags = options(
    click.option("--log.level", "log_level", type=click.Choice(["debug", "info", "warn", "error"]), default="info"),
    click.option("--log.format", "log_format", type=click.Choice(["logfmt", "json"]), default="logfmt"),
)
config_flags = options(
    click.option(
        "--config.file", "config_file", type=click.Path(path_type=Path), help="The configuration; none is valid."
    ),
    _folder("sysfs", "/sys", "Where sysfs is mounted."),
    _folder("procfs", "/proc", "Where procfs is mounted."),
    _folder("tracefs", "/sys/kernel/tracing", "Where tracefs is mounted."),
    _folder("rootfs", "/", "Where the host's root is mounted; names of pods are read below its /var/log."),
)


def loaded(config_file: Path | None) -> Config:
    """Return the configuration, unless it is only to be checked: then the command, whichever it is, ends here."""
    config = load(config_file)
    if only_checks():
        click.echo("the configuration is good")
        click.get_current_context().exit()
    return config


def only_checks() -> bool:
    """Is the configuration only to be checked (`--config.check`)?"""
    return bool(click.get_current_context().find_root().params["check_only"])


def what_to_record(
    config: Config, pid: int | None, monitor: str | None, command: tuple[str, ...]
) -> tuple[Config, str | None]:
    """Return the configuration to run with and the monitor to record, None for all of it."""
    if sum(given is not None and given != () for given in (pid, monitor, command)) > 1:
        raise click.UsageError("give one of --pid, --monitor and a command")
    if command and not command[0]:
        raise click.UsageError("the command is empty: name a program")
    from damon_exporter import recorder

    if pid is not None:
        return recorder.only(config, processes={"match": [{"pid": pid}]}), recorder.RECORDED
    if command:
        return recorder.only(config, command=list(command)), recorder.RECORDED
    return (recorder.chosen(config, monitor) if monitor else config), monitor


def seconds_of(text: str) -> float:
    """Return how long --duration says; raises UsageError."""
    try:
        microseconds = units.parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"--duration: {error}") from error
    if microseconds == 0:
        raise click.UsageError(f"--duration: {text} leaves no time to record; write for example 90s")
    return microseconds / 1e6


class Progress:
    """A line on stderr that says how far something has come, if that is a terminal; leaving the context clears it."""

    EVERY_SECONDS = 0.1

    def __init__(self) -> None:
        self._seen = sys.stderr.isatty()
        self._due = 0.0

    def __call__(self, text: str) -> None:
        """Show how far it is now."""
        if self._seen and (now := time.monotonic()) >= self._due:
            click.echo(f"\r{text}", nl=False, err=True)
            self._due = now + self.EVERY_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._seen:
            click.echo("\r\033[K", nl=False, err=True)
