"""Log lines that programs can read: logfmt or JSON, whatever stands in a message."""

import json
import logging
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_exporter import logs
from damon_exporter.logs import StructuredFormatter

LINE = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^ "=]*)(?: |$)')


def record(message: str, *arguments: object, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("damon_exporter.kernel.claim", level, __file__, 1, message, arguments, None)


def fields_of(line: str) -> dict[str, str]:
    """Read a logfmt line, strictly."""
    assert "".join(match[0] for match in LINE.finditer(line)) == line
    return {key: json.loads(value) if value.startswith('"') else value for key, value in LINE.findall(line)}


def test_a_line_says_when_how_bad_where_and_what() -> None:
    line = StructuredFormatter(as_json=False).format(record("kdamond %d started", 42))
    assert re.fullmatch(
        r'time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 level=info component=kernel.claim msg=".*"', line
    )
    assert fields_of(line)["msg"] == "kdamond 42 started"


@given(st.text())
def test_any_message_is_one_line_of_logfmt_and_read_back_as_it_was(message: str) -> None:
    line = StructuredFormatter(as_json=False).format(record("%s", message))
    assert len(line.splitlines()) == 1
    assert fields_of(line)["msg"] == message


@given(st.text())
def test_any_message_is_one_line_of_json_and_read_back_as_it_was(message: str) -> None:
    line = StructuredFormatter(as_json=True).format(record("%s", message))
    assert len(line.splitlines()) == 1
    assert json.loads(line)["msg"] == message


@pytest.mark.parametrize(
    ("message", "written"),
    [
        ("free", "free"),
        ("two words", '"two words"'),
        ('say "no"', r'"say \"no\""'),
        ("a=b", '"a=b"'),
        ("", '""'),
        ("new\nline", r'"new\nline"'),
        ("byte \udcff", r'"byte \udcff"'),
    ],
)
def test_what_is_no_single_word_is_quoted(message: str, written: str) -> None:
    assert StructuredFormatter(as_json=False).format(record("%s", message)).endswith(f" msg={written}")


@pytest.mark.parametrize("as_json", [False, True])
def test_an_exception_stays_on_the_line(as_json: bool) -> None:
    try:
        raise ValueError("no such region")
    except ValueError:
        failed = record("reading failed", level=logging.ERROR)
        failed.exc_info = sys.exc_info()
    line = StructuredFormatter(as_json).format(failed)
    assert len(line.splitlines()) == 1
    told = json.loads(line) if as_json else fields_of(line)
    assert "ValueError: no such region" in told["exception"]


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1)])
def test_only_what_is_bad_enough_is_shown(capsys: pytest.CaptureFixture[str], level: str, shown: int) -> None:
    logs.set_up(level, "logfmt")
    log = logging.getLogger("damon_exporter.test")
    for say in (log.debug, log.info, log.warning, log.error):
        say("something")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == shown
    assert fields_of(lines[-1])["level"] == "error"


def test_a_warning_is_called_warn_as_prometheus_does(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info", "json")
    logging.getLogger("damon_exporter.test").warning("beware")
    assert json.loads(capsys.readouterr().err)["level"] == "warn"
