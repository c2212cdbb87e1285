"""What a panel's query answers, of series that are made up: promtool is both Prometheus and judge."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from debian_tools import debian_program

from boards.grafana import filled, queries


@dataclass(frozen=True)
class Expected:
    """A query, by its panel, and by its column or legend where it has one; and its values by their labels."""

    board: str
    query: str
    values: dict[str, float]

    def expr(self, chosen: dict[str, str]) -> str:
        """What Grafana would ask, without what binary fractions add."""
        (found,) = (query for query in queries(self.board) if str(query) == self.query)
        return f"round({filled(found.expr, chosen)}, 0.001)"


@dataclass(frozen=True)
class Evidence:
    """Series by promtool's notation, how far their values are apart, and the rules that record what is made of them."""

    series: dict[str, str]
    interval: str
    rules: Sequence[Path] = ()

    def objections(self, folder: Path, expected: Sequence[Expected], chosen: dict[str, str], at: str) -> str:
        """What promtool has to say against what is expected at a time; nothing if all is as expected."""
        test = {
            "interval": self.interval,
            "input_series": [{"series": name, "values": values} for name, values in self.series.items()],
            "promql_expr_test": [
                {
                    "expr": each.expr(chosen),
                    "eval_time": at,
                    "exp_samples": [{"labels": labels, "value": value} for labels, value in each.values.items()],
                }
                for each in expected
            ],
        }
        path = folder / "values.test.yml"
        whole = {"rule_files": [str(rule) for rule in self.rules], "evaluation_interval": "1m", "tests": [test]}
        path.write_text(json.dumps(whole))  # JSON is YAML
        program = debian_program("promtool", "/usr/bin/promtool")
        told = subprocess.run([program, "test", "rules", path], capture_output=True, text=True, check=False)
        return "" if told.returncode == 0 else told.stdout + told.stderr
