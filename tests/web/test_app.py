import builtins
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus

import pytest
from example_state import HOSTILE_NAME, RECORDING, STATE
from prometheus_client.parser import text_string_to_metric_families

from damon_exporter.state import NodeState
from damon_exporter.web.app import make_app
from damon_exporter.web.messages import App, Request

NOT_READY = replace(STATE, ready=False, reasons=("kdamond 4711 of monitor node has been silent for 40 s",))
PAGES = ("/", "/metrics", "/live", "/live.js", "/api/v1/state", "/-/healthy", "/-/ready")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


def ask(app: App, path: str, method: str = "GET", query: str = "", **headers: str) -> Answer:
    """What the application answers to a request; names of headers are given with underscores."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    response = app(Request(path, method, query, names))
    headers = {"Content-Type": response.content_type, **dict(response.headers)}
    return Answer(response.status, headers, response.body.decode())


def serving(state: NodeState = STATE) -> App:
    return make_app(lambda: state)


def test_metrics_are_served_at_the_telemetry_path() -> None:
    answer = ask(make_app(lambda: STATE, "/damon"), "/damon")

    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "damon_monitored_bytes{" in answer.text


def test_metrics_at_the_root_leave_no_landing_page() -> None:
    assert ask(make_app(lambda: STATE, "/"), "/").text.startswith("# HELP damon_")


@pytest.mark.parametrize("path", ["metrics", *PAGES[2:], "/métrique", ""])
def test_a_telemetry_path_that_cannot_be_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"--web\.telemetry-path .*: choose a path that begins with /"):
        make_app(lambda: STATE, path)


def test_openmetrics_is_negotiated() -> None:
    answer = ask(serving(), "/metrics", accept="application/openmetrics-text; version=1.0.0")

    assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.text.endswith("# EOF\n")


def test_caches_are_told_what_the_answer_depends_on() -> None:
    answer = ask(serving(), "/metrics")

    assert (answer.headers["Vary"], answer.headers["Cache-Control"]) == ("Accept, Accept-Encoding", "no-store")


def test_no_cache_keeps_a_state() -> None:
    assert ask(serving(), "/api/v1/state").headers["Cache-Control"] == "no-store"


def test_only_the_named_series_are_served() -> None:
    answer = ask(serving(), "/metrics", query="name[]=damon_regions&name%5B%5D=damon_targets")

    served = {family.name for family in text_string_to_metric_families(answer.text)}
    assert served == {"damon_regions", "damon_targets"}


def test_healthy_is_200_whatever_the_kdamonds_do() -> None:
    assert ask(serving(NOT_READY), "/-/healthy").status == 200


def test_ready_is_200_with_the_reasons_for_what_is_not_watched() -> None:
    answer = ask(serving(), "/-/ready")

    assert (answer.status, answer.text) == (200, "ready\n" + STATE.reasons[0] + "\n")


def test_not_ready_is_503_with_the_reasons() -> None:
    answer = ask(serving(NOT_READY), "/-/ready")

    assert (answer.status, answer.text) == (503, "not ready\n" + NOT_READY.reasons[0] + "\n")


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "//", "/-/quit", "/../etc/passwd", "/\xff"])
def test_everything_else_is_404(path: str) -> None:
    assert ask(serving(), path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", PAGES)
def test_other_methods_are_405_with_those_that_are_allowed(path: str, method: str) -> None:
    answer = ask(serving(), path, method)

    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/-/healthy", "/-/ready", "/nothing"])
def test_every_page_says_that_it_shows_a_recording(path: str) -> None:
    answer = ask(serving(RECORDING), path)

    assert "recording, not this host" in answer.text


def test_metrics_say_that_they_come_from_a_recording() -> None:
    assert 'owner="recording",source="recording"} 1.0' in ask(serving(RECORDING), "/metrics").text


def test_no_page_speaks_of_a_recording_without_one() -> None:
    assert not [path for path in PAGES if path != "/live.js" and "recording, not" in ask(serving(), path).text]


def test_the_landing_page_links_to_every_endpoint() -> None:
    page = ask(make_app(lambda: STATE, "/damon"), "/").text

    paths = ("/damon", "/live", "/api/v1/state", "/-/healthy", "/-/ready")
    assert all(f'<a href=".{path}">{path}</a>' in page for path in paths)


@pytest.mark.parametrize("path", ["/", "/live", "/live.js"])
def test_pages_name_each_other_relative_to_themselves_as_they_may_stand_below_another_path(path: str) -> None:
    page = ask(serving(), path).text

    assert not re.findall(r"""(?:href|src)=["']?/|fetch\(["'`]/""", page)


def test_the_landing_page_says_who_owns_a_monitor_and_why_one_is_down() -> None:
    page = ask(serving(), "/").text

    assert "<h3>damon_stat <span" in page
    assert "<dd>module</dd>" in page
    assert "no process is called &lt;masim&gt;; start it or change processes.match" in page


def test_the_landing_page_escapes_what_processes_call_themselves() -> None:
    page = ask(serving(), "/").text

    assert HOSTILE_NAME not in page
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;\\udcff" in page


def test_the_landing_page_of_a_host_without_damon_is_whole() -> None:
    page = ask(serving(NodeState(ready=True, reasons=("this kernel has no DAMON",))), "/").text

    assert "No kdamond is watched." in page
    assert "this kernel has no DAMON" in page
    assert "$" not in page


def test_the_landing_page_lets_no_script_run() -> None:
    policy = ask(serving(), "/").headers["Content-Security-Policy"]

    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_the_live_page_runs_its_own_script_alone_and_makes_no_html_from_text() -> None:
    policy = ask(serving(), "/live").headers["Content-Security-Policy"]

    assert re.sub("sha256-[A-Za-z0-9+/=]{44}", "sha256", policy).split("; ") == [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "style-src 'sha256'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The files that are opened while the test runs, by whatever function."""
    paths: list[str] = []
    for module, name in ((builtins, "open"), (os, "open"), (os, "listdir"), (socket, "socket")):
        real = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda path, *a, real=real, **k: paths.append(os.fspath(path)) or real(path, *a, **k)
        )
    yield paths
    monkeypatch.undo()


@pytest.mark.parametrize("path", PAGES)
def test_a_scrape_looks_at_nothing_but_the_published_state_and_its_own_process(path: str, opened: list[str]) -> None:
    looks: list[NodeState] = []
    app = make_app(lambda: looks.append(STATE) or STATE)
    opened.clear()  # making the application may read files

    ask(app, path)

    assert looks == [STATE]
    assert [name for name in opened if not name.startswith("/proc/self/")] == []


# Reloads


def test_reloads_are_forbidden_unless_they_are_enabled() -> None:
    answer = ask(serving(), "/-/reload", "POST")
    assert answer.status == 403
    assert "--web.enable-lifecycle" in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_reload_answers_how_it_went(method: str) -> None:
    app = make_app(lambda: STATE, reload=lambda: (HTTPStatus.CONFLICT, "monitors[0]: why"))
    answer = ask(app, "/-/reload", method)
    assert (answer.status, answer.text) == (409, "monitors[0]: why\n")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_only_a_request_that_changes_something_reloads(method: str) -> None:
    def must_not_happen() -> tuple[HTTPStatus, str]:
        raise AssertionError

    answer = ask(make_app(lambda: STATE, reload=must_not_happen), "/-/reload", method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "POST, PUT"


def test_metrics_cannot_be_served_where_reloads_are_asked_for() -> None:
    with pytest.raises(ValueError, match="is none of"):
        make_app(lambda: STATE, "/-/reload")


def test_the_landing_page_lists_what_schemes_do() -> None:
    page = ask(serving(), "/").text
    assert "<th scope=row>proactive-reclaim</th><td>pageout</td><td>held back by its watermarks</td>" in page
    assert "<td>12 GiB</td><td>10 GiB</td>" in page
    assert "<th scope=row>cold &lt;1&gt;</th><td>stat</td><td>counts only</td><td>unknown</td>" in page
