"""`damon-exporter report`: its commands and their options."""

from collections.abc import Iterable

import click

from damon_exporter.report import access as access_report
from damon_exporter.report import heatmap as heatmap_report
from damon_exporter.report import wss as wss_report
from damon_exporter.report.paint import paint_for
from damon_exporter.report.request import Request, asks
from damon_exporter.report.subjects import Subject
from damon_exporter.sources.recording import RecordingError

MOST_CELLS = 1000
"""Rows, or columns, of a heat map."""

UNSETTLED = 20
"""Snapshots in which the borders of regions are still being found, as damo counts them."""


@click.group()
@click.pass_context
def report(context: click.Context) -> None:
    """Show what DAMON saw: of a recording (--input), or of this host now."""
    context.default_map = {context.invoked_subcommand or "": context.default_map}  # flags given before the command


def _snapshot(_: click.Context, __: click.Parameter, text: str) -> int | None:
    """Return the position, None for all."""
    if text == "all":
        return None
    try:
        return int(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is neither a number, such as 0 or -1, nor all") from error


@report.command()
@click.option(
    "--snapshot",
    default="-1",
    show_default=True,
    callback=_snapshot,
    help="Which one: from 0 on, or -1, the last, -2 …, or all.",
)
@asks
def access(request: Request, snapshot: int | None) -> None:
    """Regions by address: size, access rate, age, and a line of heat."""
    paint = paint_for(request.color)
    if request.watch and snapshot not in (None, -1):
        raise click.UsageError("--watch shows what came last: leave out --snapshot, or give all")

    def make(found: Iterable[Subject]) -> list[access_report.Accesses]:
        sections: list[access_report.Accesses] = []
        most = 0
        for subject in found:
            most = max(most, len(subject.snapshots))
            positions = range(max(len(subject.snapshots), 1)) if snapshot is None else [snapshot]
            sections += filter(None, (access_report.accesses(subject, position) for position in positions))
        if not sections:
            raise RecordingError(f"there is no snapshot {snapshot}: give --snapshot 0 to {most - 1}")
        return sections

    request.show("access", make, lambda sections: _apart(each.lines(request.raw_number, paint) for each in sections))


def _percentiles(_: click.Context, __: click.Parameter, given: tuple[int, int, int]) -> range:
    start, stop, step = given
    if not (0 <= start < stop <= 101 and step > 0):
        raise click.BadParameter("START must be below STOP, both from 0 to 101, and STEP above 0: for example 0 101 25")
    return range(start, stop, step)


@report.command()
@click.option(
    "--range",
    "percentiles",
    type=int,
    nargs=3,
    default=(0, 101, 25),
    show_default=True,
    callback=_percentiles,
    metavar="START STOP STEP",
    help="Which percentiles; STOP is not one of them.",
)
@click.option(
    "--sort-by",
    type=click.Choice(["size", "time"]),
    default="size",
    show_default=True,
    help="How snapshots are ranked: percentiles of size, or in the course of time.",
)
@click.option(
    "--exclude-samples",
    type=click.IntRange(0),
    help=f"How many snapshots of each target are left out at the start.  [default: {UNSETTLED} of a recording, or 0]",
)
@asks
def wss(request: Request, percentiles: range, sort_by: str, exclude_samples: int | None) -> None:
    """Working sets: how many bytes were accessed in a snapshot, by percentiles over all of them."""
    if exclude_samples is None:
        exclude_samples = UNSETTLED if request.recording else 0
    choice = wss_report.Choice(percentiles, exclude_samples, sort_by == "time")

    def make(found: Iterable[Subject]) -> list[wss_report.WorkingSets]:
        return [wss_report.working_sets(subject, choice) for subject in found]

    request.show("wss", make, lambda sections: wss_report.lines(sections, request.raw_number))


@report.command()
@click.option(
    "--resolution",
    type=click.IntRange(1, MOST_CELLS),
    nargs=2,
    default=(40, 80),
    show_default=True,
    metavar="ROWS COLUMNS",
    help="Rows are time, columns are addresses.",
)
@click.option(
    "--ranges",
    type=click.Choice(["hottest", "all"]),
    default="hottest",
    show_default=True,
    help="Of the address ranges of each target: the one with most accesses per byte, or a map of each.",
)
@click.option("--guide", "guides", is_flag=True, help="Only say when and at which addresses there is something to see.")
@asks
def heatmap(request: Request, resolution: tuple[int, int], ranges: str, guides: bool) -> None:
    """Access frequency by time and address."""
    if request.raw_number and not guides:
        raise click.UsageError("--raw-number is for --guide: give --json for the heat of each cell as a number")

    def guides_of(found: Iterable[Subject]) -> list[heatmap_report.Guide]:
        return [heatmap_report.guide(subject) for subject in found]

    def maps_of(found: Iterable[Subject]) -> list[heatmap_report.Map]:
        return [each for guide in guides_of(found) for each in heatmap_report.maps(guide, *resolution, ranges == "all")]

    if guides:
        request.show("heatmap-guide", guides_of, lambda found: _apart(each.lines(request.raw_number) for each in found))
    else:
        paint = paint_for(request.color)
        request.show("heatmap", maps_of, lambda maps: _apart(each.lines(paint) for each in maps))


def _apart(sections: Iterable[Iterable[str]]) -> Iterable[str]:
    """Yield the lines of all sections, with an empty one between two."""
    for position, lines in enumerate(sections):
        if position:
            yield ""
        yield from lines
