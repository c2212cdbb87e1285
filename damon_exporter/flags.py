"""The flags that several commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from damon_exporter import units
from damon_exporter.config import Config, load
from damon_exporter.pushing import check_push
from damon_exporter.terminal import print_text

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
        if config.otlp:
            check_push(config.otlp)
        print_text("the configuration is good")
        click.get_current_context().exit()
    return config


def only_checks() -> bool:
    """Is the configuration only to be checked (`--config.check`)?"""
    return bool(click.get_current_context().find_root().params["check_only"])


def only_one_of(pid: int | None, monitor: str | None, command: tuple[str, ...]) -> None:
    """Refuse more than one answer to the question what to look at; raises UsageError."""
    if sum(given is not None and given != () for given in (pid, monitor, command)) > 1:
        raise click.UsageError("give one of --pid, --monitor and a command")
    if command and not command[0]:
        raise click.UsageError("the command is empty: name a program")


def _seconds(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        microseconds = units.parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"--duration: {error}") from error
    if microseconds == 0:
        raise click.UsageError(f"--duration: {text} leaves no time to record; write for example 90s")
    return microseconds / 1e6


def duration_flag(what: str) -> Callable[[Command], Command]:
    """Return --duration, in seconds; None where it is not given."""
    return click.option("--duration", callback=_seconds, help=what)
