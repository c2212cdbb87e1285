import re
from pathlib import Path

import pytest

from damon_exporter.metrics.catalog import METRICS
from damon_exporter.metrics.reference import reference

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
QUERIES = re.findall(r"```promql\n(.*?)\n```", DOCUMENT.read_text(), re.DOTALL)
SUFFIXES = ("_bucket", "_sum", "_count", "_gsum", "_gcount")


def test_the_document_is_what_the_catalogue_gives() -> None:
    assert DOCUMENT.read_text() == reference(), "run: python -m damon_exporter.metrics.reference"


def test_the_document_names_every_metric() -> None:
    assert [metric.name for metric in METRICS if f"| `{metric.name}` |" not in reference()] == []


@pytest.mark.parametrize("query", QUERIES)
def test_documented_queries_use_only_metrics_that_exist(query: str) -> None:
    known = {metric.name + suffix for metric in METRICS for suffix in ("", *SUFFIXES)}

    assert set(re.findall(r"\bdamon_\w+", query)) <= known
