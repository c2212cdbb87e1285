import gzip
import os
import platform
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from debian_tools import debian_program
from example_state import NODE, PHYSICAL, STATE
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from damon_exporter import __version__
from damon_exporter.escaping import printable
from damon_exporter.metrics import collected
from damon_exporter.metrics.exposition import MOST_SELECTIONS, Exposition, Format, negotiate
from damon_exporter.metrics.prometheus import families
from damon_exporter.state import NodeState

FIXTURES = Path(__file__).parent.parent / "fixtures"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


class OnlyState:
    """A collector of the state alone: the process metrics differ with every run."""

    def collect(self) -> list[Metric]:
        return families(STATE)


def without_versions(rendered: bytes) -> str:
    text = rendered.decode()
    return text.replace(f'version="{__version__}"', 'version="VERSION"').replace(
        f'python="{platform.python_version()}"', 'python="PYTHON"'
    )


def rendered(state: NodeState = STATE, accept: str = "", **options: object) -> str:
    return Exposition().render(state, accept, **options).body.decode()


@pytest.mark.parametrize(
    ("name", "encode"), [("metrics.txt", generate_latest), ("metrics.openmetrics.txt", generate_openmetrics)]
)
def test_the_whole_output_is_as_it_was(name: str, encode: Callable[[OnlyState], bytes]) -> None:
    golden, output = FIXTURES / name, without_versions(encode(OnlyState()))
    if os.environ.get("UPDATE_GOLDEN") == "1":
        golden.write_text(output)

    assert output == golden.read_text(), "if this is meant: UPDATE_GOLDEN=1 make test, and read the diff"


@pytest.mark.parametrize("state", [STATE, replace(STATE, max_series=150)], ids=["whole", "limited"])
def test_promtool_finds_nothing_to_complain_about(state: NodeState) -> None:
    promtool = debian_program("promtool", "/usr/bin/promtool")

    checked = subprocess.run(
        [promtool, "check", "metrics"], input=rendered(state), capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_text_format_parses_back_to_the_same_samples() -> None:
    parsed = {(s.name, *sorted(s.labels.items())): s.value for f in parse_text(rendered()) for s in f.samples}

    assert expected_samples().items() <= parsed.items()


def test_openmetrics_parses_back_to_the_same_samples() -> None:
    parsed = {
        (s.name, *sorted(s.labels.items())): s.value
        for f in parse_openmetrics(rendered(accept=OPENMETRICS))
        for s in f.samples
    }

    assert expected_samples().items() <= parsed.items()


def expected_samples() -> dict[tuple[object, ...], float]:
    return {(s.name, *sorted(s.labels.items())): s.value for f in families(STATE) for s in f.samples}


@given(st.text(st.characters(exclude_categories=())))
def test_any_name_of_a_target_survives_both_formats(name: str) -> None:
    state = replace(STATE, monitors=(replace(NODE, targets=(replace(PHYSICAL, name=name),), attribution=None),))
    for parse, accept in ((parse_text, ""), (parse_openmetrics, OPENMETRICS)):
        read = {s.labels["target"] for f in parse(rendered(state, accept)) for s in f.samples if "target" in s.labels}
        assert read == {printable(name)}


def test_openmetrics_tells_what_classic_text_cannot() -> None:
    output = rendered(accept=OPENMETRICS)

    assert "# TYPE damon_idle_age_seconds gaugehistogram\n# UNIT damon_idle_age_seconds seconds\n" in output
    assert "# TYPE damon_monitor info\n" in output
    assert output.endswith("# EOF\n")


def test_the_process_itself_is_shown() -> None:
    assert "\nprocess_resident_memory_bytes " in rendered()


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Format.TEXT),
        ("*/*", Format.TEXT),
        ("text/html,application/xhtml+xml", Format.TEXT),
        ("text/plain;version=0.0.4", Format.TEXT),
        ("application/openmetrics-text", Format.OPENMETRICS),
        ("application/openmetrics-text;version=0.0.1,text/plain", Format.TEXT),
        (PROMETHEUS_3, Format.OPENMETRICS),
        ("application/openmetrics-text;version=x", Format.TEXT),
    ],
)
def test_the_client_gets_the_best_format_that_it_reads(accept: str, expected: Format) -> None:
    assert negotiate(accept) is expected


@given(st.text() | st.text("aplictonexms-/;=,.0123456789 version").map("application/openmetrics-text;version=".__add__))
def test_no_accept_header_breaks_negotiation(accept: str) -> None:
    assert negotiate(accept) in Format


def test_compressed_output_is_the_same_output() -> None:
    shared = Exposition()

    packed = shared.render(STATE, accept_encoding="deflate, gzip;q=0.5")

    assert packed.content_encoding == "gzip"
    assert gzip.decompress(packed.body) == shared.render(STATE).body


def test_only_the_named_series_are_shown() -> None:
    lines = rendered(names=["damon_regions", "damon_snapshots_total"]).splitlines()

    assert {line.split("{")[0] for line in lines if not line.startswith("#")} == {
        "damon_regions",
        "damon_snapshots_total",
    }


def test_scrapes_at_the_same_time_share_the_families_of_a_state(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[NodeState] = []
    monkeypatch.setattr(collected, "families", lambda state: built.append(state) or families(state))
    shared = Exposition()
    scrapes = [
        threading.Thread(target=shared.render, args=(STATE, a, e)) for a in ("", OPENMETRICS) for e in ("", "gzip") * 25
    ]

    for scrape in scrapes:
        scrape.start()
    for scrape in scrapes:
        scrape.join()

    assert len(built) == 1


def test_scrapes_around_a_publication_share_a_rendering_of_each_state(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[NodeState] = []
    monkeypatch.setattr(collected, "families", lambda state: built.append(state) or families(state))
    shared, before, after = Exposition(), STATE, replace(STATE)

    for state in (before, after, before, after, before):
        shared.render(state)
        shared.render(state, OPENMETRICS)

    assert len(built) == 2


def test_who_names_the_same_series_shares_a_rendering_and_only_so_many_are_kept() -> None:
    shared, names = Exposition(), ["damon_regions", "damon_snapshots_total"]
    first = shared.render(STATE, names=names)

    assert shared.render(STATE, names=names[::-1]).body is first.body
    assert shared.render(STATE, OPENMETRICS, names=names).body != first.body
    for number in range(MOST_SELECTIONS):
        shared.render(STATE, names=[f"x{number}"])
    assert shared.render(STATE, names=names).body is not first.body


def test_a_new_state_is_rendered_anew() -> None:
    shared = Exposition()
    before = shared.render(STATE).body

    after = shared.render(replace(STATE, snapshots_incomplete=99)).body

    assert b"damon_exporter_snapshots_incomplete_total 2.0\n" in before
    assert b"damon_exporter_snapshots_incomplete_total 99.0\n" in after
