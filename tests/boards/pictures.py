"""Draws panels of the dashboards for their documentation: ``python -m boards.pictures`` (make dashboard-pictures).

Grafana is not needed: the same queries are asked of a Prometheus that has watched the demo and a small cluster.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator, PercentFormatter
from prometheus_server import PrometheusServer, Series

from boards.grafana import ALL, Json, filled, panels
from boards.observatory import observatory

FOLDER = Path(__file__).parents[2] / "docs/images"
SECONDS = 190
"""Nearly as long as the demo, which begins anew then."""
COLOURS = {"Turbo": "turbo", "Blues": "Blues"}
"""Grafana's schemes by the names that matplotlib has for them."""
RATE = {"__rate_interval": "4s"}
"""Short, for a recording of three minutes."""


@dataclass(frozen=True)
class Picture:
    """Some panels of a dashboard, one below the other, and what is chosen on it for each."""

    board: str
    panels: dict[str, dict[str, str]]


NODE = {
    "job": "damon-exporter",
    "instance": "n1",
    "monitor": "node",
    "target": "physical",
    "cluster": "test",
    "__rate_interval": "10s",
}
CART = {**NODE, "monitor": "databases", "target": "cart"}
DEMO = {"job": "demo", "instance": "demo", "cluster": ALL}
DEMO_NODE = {**DEMO, "monitor": "node", "target": "physical"}
DEMO_PROCESS = {**DEMO, "monitor": "processes", "target": "service"}
PICTURES = (
    Picture("damon-node", {"Heat by address": DEMO_NODE, "Memory by idle age": DEMO_NODE}),
    Picture(
        "damon-target",
        {"Heat by address": DEMO_PROCESS, "Memory by idle age": DEMO_PROCESS, "Working set, usage and limit": CART},
    ),
    Picture("damon-schemes", dict.fromkeys(("Tried", "Applied", "Efficiency"), NODE)),
    Picture(
        "damon-fleet", dict.fromkeys(("Most cold memory", "Most idle memory", "Distribution of working sets"), NODE)
    ),
)


def draw(server: PrometheusServer, picture: Picture, end: float) -> Figure:
    """Return the picture of the last `SECONDS`."""
    by_title = {panel["title"]: panel for panel in panels(picture.board)}
    figure = Figure(figsize=(8, 2.4 * len(picture.panels)), layout="constrained")
    drawn = figure.subplots(len(picture.panels), 1, squeeze=False)[:, 0]
    for axes, (title, chosen) in zip(drawn, picture.panels.items(), strict=True):
        panel = by_title[title]
        axes.set_title(title, loc="left", fontsize="medium")
        DRAW[panel["type"]](axes, panel, [_ask(server, target, chosen, end) for target in panel["targets"]])
    return figure


def _ask(server: PrometheusServer, target: Json, chosen: dict[str, str], end: float) -> Series:
    expr = filled(target["expr"], {**RATE, **chosen})
    if target["instant"]:
        return server.query(expr)
    return [{**each, "row": _row(each, end)} for each in server.query_range(expr, end - SECONDS, end, 1)]


def _heatmap(axes: Axes, panel: Json, answers: list[Series]) -> None:
    """Rows by number, as Grafana sorts them; cumulative ones less the row below."""
    cumulative = panel["targets"][0]["format"] == "heatmap"
    label = "le" if cumulative else "bin"
    rows = sorted(answers[0], key=lambda row: float(row["metric"][label]))
    heat = np.array([row["row"] for row in rows])
    if cumulative:
        heat = np.diff(heat, axis=0, prepend=0)
    options = panel["options"]["color"]
    norm = mpl.colors.PowerNorm(0.5, options.get("min", 0), options.get("max"))
    edges = np.arange(heat.shape[1] + 1)
    mesh = axes.pcolormesh(edges, np.arange(len(rows) + 1), heat, norm=norm, cmap=COLOURS[options["scheme"]])
    axes.figure.colorbar(mesh, format=_ticks(panel["fieldConfig"]["defaults"]["unit"]))
    axes.set_xlabel("seconds")
    axes.set_ylabel("idle for at most, s" if cumulative else "bin")
    if cumulative:
        axes.set_yticks(
            np.arange(len(rows)) + 0.5, [row["metric"]["le"].removesuffix(".0") for row in rows], fontsize=7
        )


def _row(series: Json, end: float) -> np.ndarray:
    """One value a second, up to the end; NaN where there is none."""
    values = np.full(SECONDS + 1, np.nan)
    ago = np.array([end - moment for moment, _ in series["values"]])
    values[SECONDS - np.rint(ago).astype(int)] = [float(value) for _, value in series["values"]]
    return values


def _lines(axes: Axes, panel: Json, answers: list[Series]) -> None:
    for target, answer in zip(panel["targets"], answers, strict=True):
        for series in answer:
            axes.plot(series["row"], label=_legend(target["legendFormat"], series["metric"]), linewidth=1)
    axes.set_ylim(0, 1.4 * axes.get_ylim()[1])  # room for the legend
    _scale(axes.yaxis, panel)
    axes.set_xlabel("seconds")
    axes.legend(fontsize="x-small", loc="upper center", ncols=4)


def _bars(axes: Axes, panel: Json, answers: list[Series]) -> None:
    longest_last = sorted(answers[0], key=lambda series: float(series["value"][1]))
    names = [_legend(panel["targets"][0]["legendFormat"], series["metric"]) for series in longest_last]
    axes.barh(names, [float(series["value"][1]) for series in longest_last])
    _scale(axes.xaxis, panel)


def _legend(template: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        template = template.replace(f"{{{{{name}}}}}", value)
    return " ".join(word for word in template.split() if "{{" not in word)


def _scale(axis: Axis, panel: Json) -> None:
    """Five ticks at most, of bytes at powers of two."""
    axis.set_major_formatter(_ticks(panel["fieldConfig"]["defaults"]["unit"]))
    if panel["fieldConfig"]["defaults"]["unit"] != "percentunit":
        axis.set_major_locator(MultipleLocator(2 ** np.ceil(np.log2(axis.get_view_interval()[1] / 5))))


def _ticks(unit: str) -> FuncFormatter | PercentFormatter:
    if unit == "percentunit":
        return PercentFormatter(1)
    return FuncFormatter(lambda value, _: f"{_binary(value)}{'/s' if unit == 'Bps' else ''}")


def _binary(value: float) -> str:
    power = min(int(max(value, 1)).bit_length() - 1, 40) // 10
    return f"{value / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


DRAW = {"heatmap": _heatmap, "timeseries": _lines, "bargauge": _bars}


def main() -> None:
    """Watch, ask, draw."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, observatory(Path(folder)) as server:
        time.sleep(SECONDS)
        end = float(int(time.time()))
        for picture in PICTURES:
            draw(server, picture, end).savefig(FOLDER / f"{picture.board}.png", dpi=90, metadata={"Software": None})


if __name__ == "__main__":
    main()
