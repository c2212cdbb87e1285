"""The command line. Exit codes: 0 stopped on request, 1 failed while running, 2 bad usage or configuration."""

import json
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import resources
from pathlib import Path
from typing import Any

import click

from damon_exporter import __version__, logs
from damon_exporter.config import ConfigError, schema
from damon_exporter.config.processes import HIGHEST_PID
from damon_exporter.flags import (
    config_flags,
    duration_flag,
    loaded,
    log_flags,
    only_checks,
    only_one_of,
    options,
)
from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.progress import Progress
from damon_exporter.report.commands import report
from damon_exporter.sources.recording import Origin, RecordingError
from damon_exporter.stopping import Failed, StopSignal
from damon_exporter.terminal import PrintError, print_text
from damon_exporter.web.app import checked_telemetry_path
from damon_exporter.web.listen import ListenAddress, ListenError
from damon_exporter.web.security import SecurityNow, no_security

FAILED, MISUSED = 1, 2


def _checked(check: Callable[[str], object]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return a callback that refuses a text, or one of several, for which ``check`` raises ValueError."""

    def callback(_: click.Context, __: click.Parameter, value: Any) -> Any:
        try:
            for text in value if isinstance(value, tuple) else (value,):
                check(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
        return value

    return callback


serving_flags = options(
    click.option(
        "--web.listen-address",
        "addresses",
        multiple=True,
        default=[":10555"],
        show_default=True,
        callback=_checked(ListenAddress.parse),
        help="Where to listen; may be repeated.",
    ),
    click.option(
        "--web.telemetry-path",
        "telemetry_path",
        default="/metrics",
        show_default=True,
        callback=_checked(checked_telemetry_path),
        help="Path of the metrics.",
    ),
    click.option(
        "--web.config.file",
        "web_file",
        type=click.Path(path_type=Path),
        help="TLS, passwords and headers, in the format of Prometheus' exporters; read again when it changes.",
    ),
)
lifecycle_flag = click.option(
    "--web.enable-lifecycle", "lifecycle", is_flag=True, help="Let POST /-/reload reload the configuration."
)


def _security(web_file: Path | None) -> AbstractContextManager[SecurityNow]:
    """Return what the file of --web.config.file asks for, read anew while entered; raises ConfigError."""
    if web_file is None:
        return nullcontext(no_security)
    from damon_exporter.securing import SecurityFromFile

    return SecurityFromFile(web_file)


def main() -> None:
    """Run the command line; what a user can do wrong ends in a sentence, not in a traceback."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(0)
    except click.ClickException as error:
        error.show()
        sys.exit(MISUSED)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(MISUSED)
    except (RecordingError, ListenError, KernelError, Failed, PrintError) as error:
        click.echo(f"damon-exporter: {error}", err=True)
        sys.exit(FAILED)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@config_flags
@click.option(
    "--config.check", "check_only", is_flag=True, help="Check the configuration, print all problems, and exit."
)
@click.option(
    "--dry-run", "dry_run", is_flag=True, help="Print what would be written to the kernel, file by file, and exit."
)
@serving_flags
@lifecycle_flag
@log_flags
@click.version_option(__version__, prog_name="damon-exporter")
@click.pass_context
def cli(
    context: click.Context,
    /,
    config_file: Path | None,
    addresses: tuple[str, ...],
    telemetry_path: str,
    web_file: Path | None,
    log_level: str,
    log_format: str,
    check_only: bool,
    dry_run: bool,
    lifecycle: bool,
    **roots: Path,
) -> None:
    """How much of this memory is really used? Linux DAMON as Prometheus metrics.

    Without a command: observe every kdamond of this host, run monitors of its own where DAMON is free, and serve.
    """
    logs.set_up(log_level, log_format)
    if context.invoked_subcommand is not None:
        context.default_map = {context.invoked_subcommand: context.params}
        return
    security = _security(web_file)
    config = loaded(config_file)
    if dry_run:
        from damon_exporter.dry_run import rehearse

        for line in rehearse(config, KernelPaths(**roots)):
            print_text(line)
        return
    from damon_exporter import serving

    with security as security_now:
        web = serving.WebFlags(addresses, telemetry_path, lifecycle, security_now)
        serving.serve(config, config_file, KernelPaths(**roots), web)


@cli.command()
@click.argument("recording", type=click.Path(path_type=Path), required=False)
@click.option(
    "--config.file", "config_file", type=click.Path(path_type=Path), help="For its `export` and `otlp` parts."
)
@serving_flags
@log_flags
def demo(
    recording: Path | None,
    config_file: Path | None,
    addresses: tuple[str, ...],
    telemetry_path: str,
    web_file: Path | None,
    log_level: str,
    log_format: str,
) -> None:
    """Serve a recording of a real kernel's DAMON, in a loop, clearly marked as a recording."""
    from damon_exporter import serving
    from damon_exporter.sources.recording import read_recording

    logs.set_up(log_level, log_format)
    security = _security(web_file)
    config = loaded(config_file)
    with resources.as_file(resources.files("damon_exporter") / "recordings/demo.damon") as shipped:
        played = read_recording(recording or shipped)
    with security as security_now:
        serving.serve_recording(played, config, serving.WebFlags(addresses, telemetry_path, security=security_now))


@cli.command()
@config_flags
def doctor(config_file: Path | None, **roots: Path) -> None:
    """Say what this kernel, these permissions and this configuration allow, with the cure for each "no"."""
    from damon_exporter.doctor import examine

    for finding in examine(loaded(config_file), KernelPaths(**roots)):
        print_text(str(finding))


@cli.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The file to write.")
@click.option("--pid", type=click.IntRange(1, HIGHEST_PID), help="Record this process, until it ends.")
@click.option("--monitor", help="Record this monitor: a configured name, or one that runs (damon_stat, sysfs0 …).")
@duration_flag("How long from the first snapshot on, for example 90s.")
@click.option("--workload", default="", help="What was going on, for people; stands in the file.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@config_flags
@log_flags
def record(
    output: Path,
    pid: int | None,
    monitor: str | None,
    duration: float | None,
    workload: str,
    command: tuple[str, ...],
    config_file: Path | None,
    log_level: str,
    log_format: str,
    **roots: Path,
) -> None:
    """Write a recording that damo can read: of a process, of a monitor, or of a COMMAND given after --.

    Without any of them, everything is recorded: the configured monitors, and the kdamonds of others. It ends after
    --duration, with the process or COMMAND, or when interrupted. Beside an exporter that serves, its kdamonds are
    called sysfs0, sysfs1 and so on, by their slots: at first in the order of its monitors.
    """
    from damon_exporter import recorder

    logs.set_up(log_level, log_format)
    only_one_of(pid, monitor, command)
    config, name = recorder.wanted(loaded(config_file), pid, monitor, command)
    origin = Origin(command=shlex.join(["damon-exporter", *sys.argv[1:]]), workload=workload)
    take = recorder.Take(config, name, duration, origin, pid)
    stop = StopSignal()
    with Progress() as progress:
        count = recorder.record(take, KernelPaths(**roots), output, lambda: stop.wait(0), stop.fail, progress.snapshots)
    click.echo(f"{count} snapshots in {output}", err=True)


@cli.command("config-schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    if only_checks():
        raise click.UsageError("config-schema reads no configuration: leave out --config.check, or the command")
    print_text(json.dumps(schema(), indent=2))


cli.add_command(report)
