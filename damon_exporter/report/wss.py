"""How large the working set of each target was, by percentiles over its snapshots: `damo report wss --per_target`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from damon_exporter.analysis.workingset import percentile_bytes, working_set_of_all
from damon_exporter.escaping import printable
from damon_exporter.report import spelling
from damon_exporter.report.subjects import Subject

BAR_COLUMNS = 59


@dataclass(frozen=True, slots=True)
class Choice:
    """Which percentiles, of which snapshots, and in which order these are ranked.

    The first ``exclude_samples`` are left out, as borders of regions are still being found then.
    """

    percentiles: Sequence[int]
    exclude_samples: int
    by_time: bool


@dataclass(frozen=True, slots=True)
class WorkingSets:
    """Bytes by percentile of one target; no ``percentiles`` if all its snapshots were left out."""

    subject: Subject
    snapshots: int
    average: float
    percentiles: dict[int, int]

    def lines(self, raw: bool) -> list[str]:
        """As damo prints them, to the byte; but why there is nothing only we say."""
        lines = [f"# target_id\t{self.subject.target}", "# <percentile> <wss>"]
        if not self.snapshots:
            return [*lines, f"# no snapshot{self._reason()}"]
        most = max(self.percentiles.values())
        rows = [
            f"{percentile:3d} {spelling.size(value, raw):>15} |{_bar(value, most)}|"
            for percentile, value in self.percentiles.items()
        ]
        return [*lines, f"# avr:\t{spelling.size(self.average, raw)}", *rows]

    def _reason(self) -> str:
        count = len(self.subject.snapshots)
        return f": all {count} are left out, give --exclude-samples 0" if count else ""

    def json(self) -> dict[str, object]:
        """What `report wss --json` holds of one target."""
        return {
            **self.subject.identity(),
            "snapshots": self.snapshots,
            "average_bytes": self.average if self.snapshots else None,
            "percentiles": [{"percentile": each, "bytes": value} for each, value in self.percentiles.items()],
        }


def working_sets(subject: Subject, choice: Choice) -> WorkingSets:
    """Return a target's working sets."""
    taken = subject.snapshots[max(choice.exclude_samples - subject.earlier, 0) :]
    sizes = np.array([working_set_of_all(snapshot.regions) for snapshot in taken], np.int64)
    if not len(sizes):
        return WorkingSets(subject, 0, 0.0, {})
    ranked = sizes if choice.by_time else np.sort(sizes)
    found = {percentile: percentile_bytes(ranked, percentile) for percentile in choice.percentiles}
    return WorkingSets(subject, len(sizes), int(sizes.sum()) / len(sizes), found)


def lines(sections: Sequence[WorkingSets], raw: bool) -> Iterator[str]:
    """Yield what damo prints; where it would take monitors for one, as it tells only targets apart, each is named."""
    several = len({section.subject.kdamond for section in sections}) > 1
    named = None
    for section in sections:
        if several and section.subject.kdamond != named:
            named = section.subject.kdamond
            yield f"# monitor\t{printable(section.subject.monitor)}"
        yield from section.lines(raw)


def _bar(value: int, most: int) -> str:
    return ("*" * int(value / (most / BAR_COLUMNS)) if most else "").ljust(BAR_COLUMNS)
