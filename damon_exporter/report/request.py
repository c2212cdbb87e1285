"""What every report is asked for, and how it comes to an answer."""

import functools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from damon_exporter import logs
from damon_exporter.config import Config
from damon_exporter.config.processes import HIGHEST_PID
from damon_exporter.escaping import printable
from damon_exporter.flags import Command, config_flags, duration_flag, loaded, log_flags, only_one_of, options
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.progress import Progress
from damon_exporter.report.subjects import Heard, Subject, subjects
from damon_exporter.sources.recording import read_recording
from damon_exporter.stopping import StopSignal
from damon_exporter.terminal import CLEAR_SCREEN, print_text, understands_codes

JSON_VERSION = 1
"""Of what --json prints: raised when a key goes or changes its meaning, not when one is added."""

LIVE_SECONDS = 5.0


class Section(Protocol):
    """What a report has for one target."""

    def json(self) -> dict[str, object]:
        """The same for programs: bytes and seconds, as numbers."""


SectionT = TypeVar("SectionT", bound=Section)

Hear = Callable[[Progress], Heard]


@dataclass(frozen=True, slots=True)
class Request:
    """What all reports are asked for: of what, and in which form."""

    recording: Path | None
    pid: int | None
    monitor: str | None
    duration: float | None
    watch: bool
    color: str
    as_json: bool
    raw_number: bool
    config_file: Path | None
    log_level: str
    log_format: str
    sysfs: Path
    procfs: Path
    tracefs: Path
    rootfs: Path

    def _check(self) -> None:
        """Refuse what makes no sense together."""
        live = {"--pid": self.pid, "--duration": self.duration, "--watch": self.watch or None}
        given = [flag for flag, value in live.items() if value is not None]
        if self.recording and given:
            raise click.UsageError(f"{given[0]} is for what runs now: leave it out, or --input")
        only_one_of(self.pid, self.monitor, ())

    def show(
        self,
        report: str,
        make: Callable[[Iterable[Subject]], Sequence[SectionT]],
        lines: Callable[[Sequence[SectionT]], Iterable[str]],
    ) -> None:
        """Make sections of all that is asked for and print them."""
        self._check()
        config = loaded(self.config_file)
        clear = CLEAR_SCREEN if self.watch and not self.as_json and understands_codes(sys.stdout) else ""

        def print_report(hear: Hear) -> None:
            with Progress() as progress:
                heard = hear(progress)
                # What is heard now is heard of the right monitor, whatever it is called.
                found = subjects(heard, self.monitor if self.recording else None)
                sections = make(progress.through(found, "target"))
                text = _json(report, sections) if self.as_json else "\n".join(lines(sections))
            print_text(clear + text)

        if self.recording:
            print_report(functools.partial(_read, self.recording))
        else:
            self._listen(config, print_report)

    def _listen(self, config: Config, print_report: Callable[[Hear], None]) -> None:
        """Print what is reported now: once, or again and again."""
        from damon_exporter.recorder import Take, wanted
        from damon_exporter.report import live

        logs.set_up(self.log_level, self.log_format)
        chosen, monitor = wanted(config, self.pid, self.monitor, ())
        seconds = self.duration or LIVE_SECONDS
        take = Take(chosen, monitor, None if self.watch else seconds, pid=self.pid)
        paths = KernelPaths(self.sysfs, self.procfs, self.tracefs, self.rootfs)
        stop = StopSignal()
        if self.watch:
            live.hear_on(take, seconds, paths, stop, lambda heard: print_report(lambda _: heard))
        else:
            print_report(lambda progress: live.hear_once(take, paths, stop, progress.snapshots))


def _json(report: str, sections: Sequence[Section]) -> str:
    targets = [section.json() for section in sections]
    return json.dumps({"version": JSON_VERSION, "report": report, "targets": targets})


def _read(file: Path, progress: Progress) -> Heard:
    recording = read_recording(file, say=progress)
    if recording.damage:
        progress.clear()
        click.echo(f"damon-exporter: {printable(recording.damage)}", err=True)
    return Heard(recording.snapshots, recording.monitors, str(recording.path))


def asks(command: Command) -> Command:
    """Give a command the options that all reports have, and hand them over as a `Request`."""

    @functools.wraps(command)
    def with_request(**given: Any) -> None:
        request = Request(**{field.name: given.pop(field.name) for field in fields(Request)})
        command(request, **given)

    return _common_options(with_request)


_common_options = options(
    click.option("-i", "--input", "recording", type=click.Path(path_type=Path), help="A recording, ours or damo's."),
    click.option("--pid", type=click.IntRange(1, HIGHEST_PID), help="Watch this process now."),
    click.option("--monitor", help="Only this monitor: a name in the recording or the configuration, or damon_stat …"),
    duration_flag("How long to watch from the first snapshot on, for example 10s.  [default: 5s]"),
    click.option("--watch", is_flag=True, help="Report again after every --duration, of what came in it."),
    click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        show_default=True,
        help="auto: on a terminal, unless NO_COLOR is set.",
    ),
    click.option("--json", "as_json", is_flag=True, help="One line of JSON, in bytes and seconds."),
    click.option(
        "--raw-number", is_flag=True, help="No units and separators: bytes, microseconds, and of guides nanoseconds."
    ),
    config_flags,
    log_flags,
)
