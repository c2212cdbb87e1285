"""Writes docs/metrics.md from the catalogue: ``python -m damon_exporter.metrics.reference`` in the checkout."""

from importlib.resources import files
from pathlib import Path

from damon_exporter.metrics.catalog import SECTIONS, Metric, Section


def reference() -> str:
    """The whole of docs/metrics.md."""
    introduction = files(__package__).joinpath("reference_intro.md").read_text("utf-8")
    return "\n".join([introduction, *map(_section, SECTIONS)])


def _section(section: Section) -> str:
    rows = "\n".join(map(_row, section.metrics))
    return f"## {section.title}\n\n| metric | type | labels | meaning | from |\n|---|---|---|---|---|\n{rows}\n"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    cells = (f"`{metric.name}`", metric.kind.value, labels, metric.help, metric.source)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    Path("docs/metrics.md").write_text(reference(), "utf-8")
