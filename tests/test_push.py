"""Pushing to receivers of OTLP that are as receivers are: away, slow, busy, or something else altogether."""

import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from driving import everything, wait_for
from example_state import STATE
from otlp_receiver import AUTHORITY, TAKE, Answer, Receiver, dripping, receiver, rejecting, slow, status
from prometheus_server import free_address
from running import COMMAND, QUICK, ConfigFlag, Running, path_flags, run

from damon_exporter.config import ConfigError, Otlp
from damon_exporter.config.loading import check
from damon_exporter.config.reading import parse
from damon_exporter.doctor import examine
from damon_exporter.metrics.collected import Collected
from damon_exporter.published import Published
from damon_exporter.push import Push
from damon_exporter.pushing import check_push
from damon_exporter.state import Pushed
from damon_exporter.testing.fake_kernel import FakeKernel
from damon_exporter.web.app import make_app
from damon_exporter.web.server import Server

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
"""Where TLS is broken off a socket may be left to the garbage collector; in other tests that would be an error."""

DEMO = (*COMMAND, "demo")
OFTEN = 0.1
PUSHING = [f"*/{code}*" for code in ("opentelemetry/", "requests/", "urllib3/")]
PUSHING += [f"*/damon_exporter/{name}.py" for name in ("deadline", "metrics/otlp", "push", "receiver")]
"""Whose memory a push is."""
AT_ONCE = 1.0
"""How long (s) a scrape may take."""


class Pushing:
    """What pushes, and what it says of itself."""

    def __init__(self, endpoint: str, interval: float) -> None:
        self.published = Published(replace(STATE, pushed=None))
        self.collected = Collected()
        self.push = Push(endpoint, interval, self.published, self.collected, lambda: os._exit(1))

    @property
    def pushed(self) -> Pushed:
        assert self.collected.pushed is not None
        return self.collected.pushed


@contextmanager
def pushing(endpoint: str, interval: float = OFTEN) -> Iterator[Pushing]:
    run = Pushing(endpoint, interval)
    with run.push:
        yield run


@pytest.fixture
def played() -> Iterator[Receiver]:
    with receiver() as played:
        yield played


def points_of(played: Receiver) -> int:
    """How many points its last push had."""
    return sum(
        len((metric.gauge if metric.HasField("gauge") else metric.sum).data_points)
        for resource in played.last.resource_metrics
        for metric in resource.scope_metrics[0].metrics
    )


def names_of(played: Receiver) -> set[str]:
    """What its last push told of."""
    return {m.name for r in played.last.resource_metrics for m in r.scope_metrics[0].metrics}


def scraped(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=AT_ONCE) as answer:
        return answer.read().decode()


# What receivers do


BAD: dict[str, tuple[Answer, str]] = {
    "hangs": (slow(0.5, TAKE), "it takes too long"),
    "drips a body": (dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"), "it takes too long"),
    "drips until it closes": (dripping(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"), "it takes too long"),
    "drips headers": (dripping(b"HTTP/1.1 200 OK\r\nX: "), "it takes too long"),
    "drips nothing": (dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "it takes too long"),
    "goes on and on": (status(102), "it answers 102: see its log"),
    "asks for a rest until no such year": (
        status(503, Retry_After="Fri, 31 Dec 99999 23:59:59 GMT"),
        "it answers 503: see its log",
    ),
    "is busy": (status(429, Retry_After="0"), "it answers 429: push more rarely"),
    "is unavailable": (status(503), "it answers 503: see its log"),
    "redirects": (status(301, Location="/elsewhere"), "it redirects (301), which is not followed"),
    "redirects to nowhere": (status(304), "it redirects (304)"),
    "is a web page": (status(200, b"<html>", Content_Type="text/html"), "it answers 200 with something else than OTLP"),
    "is garbage": (
        status(200, b"\xff" * 99, Content_Type="application/x-protobuf"),
        "it answers 200 with something else than OTLP",
    ),
    "is endless": (
        status(200, b"\0" * 1_000_000, Content_Type="application/x-protobuf"),
        "it answers 200 with something else than OTLP",
    ),
    "is no receiver": (status(404), "it answers 404: give the whole URL"),
    "knows no such status": (status(599), "it answers 599: see its log"),
    "wants credentials": (status(401), "it answers 401: give credentials in OTEL_EXPORTER_OTLP_HEADERS"),
}


@pytest.mark.parametrize(("answer", "cause"), BAD.values(), ids=BAD)
def test_what_a_bad_receiver_does_not_take_is_counted_until_it_recovers(
    answer: Answer, cause: str, played: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    played.answer = answer
    with pushing(played.endpoint) as run:
        wait_for(lambda: run.pushed.dropped_points > 2 * points_of(played) > 0)
        assert run.pushed.dropped_points % points_of(played) == 0
        assert run.pushed.last_success_timestamp == 0
        played.answer = TAKE
        wait_for(lambda: run.pushed.last_success_timestamp)
    first, *others = [record.getMessage() for record in caplog.records]
    assert f"pushing to {played.endpoint} fails: {cause}" in first
    assert others == [f"pushing to {played.endpoint} every 0.1 s"]


def test_points_that_are_rejected_are_counted_and_the_cause_is_told(
    played: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    times = iter(range(1_000_000))

    def answer(request: BaseHTTPRequestHandler) -> None:
        rejecting(7, f"too old by {next(times)} s")(request)

    played.answer = answer
    with pushing(played.endpoint) as run:
        wait_for(lambda: run.pushed.dropped_points >= 14)
        assert run.pushed.dropped_points % 7 == 0
        assert run.pushed.last_success_timestamp == 0
    (record,) = caplog.records
    assert "it rejects data points: too old by 0 s" in record.getMessage()


@pytest.mark.parametrize("points", [-5, 0])
def test_a_push_of_which_nothing_is_rejected_is_taken(points: int, played: Receiver) -> None:
    played.answer = rejecting(points, "as far as it knows")
    with pushing(played.endpoint) as run:
        wait_for(lambda: run.pushed.last_success_timestamp)
        assert run.pushed.dropped_points == 0


def test_no_more_points_count_as_rejected_than_were_pushed(played: Receiver) -> None:
    played.answer = rejecting(2**62, "all, and more")
    with pushing(played.endpoint) as run:
        wait_for(lambda: run.pushed.dropped_points)
        assert run.pushed.dropped_points % points_of(played) == 0
        assert run.pushed.dropped_points < 2**60


def test_each_cause_is_told_once_until_it_goes_on(played: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        status(401 if len(played.tries) % 2 else 404)(request)

    played.answer = answer
    with pushing(played.endpoint):
        wait_for(lambda: len(played.tries) >= 6)
    assert [("401" in line, "404" in line) for line in caplog.messages] == [(True, False), (False, True)]


def test_an_answer_without_a_body_is_one(played: Receiver) -> None:
    played.answer = status(200)
    with pushing(played.endpoint) as run:
        wait_for(lambda: run.pushed.last_success_timestamp)
        assert run.pushed.dropped_points == 0


def test_a_receiver_that_comes_back_gets_the_newest_values(caplog: pytest.LogCaptureFixture) -> None:
    address = free_address()
    with pushing(f"http://{address}/v1/metrics") as run:
        wait_for(lambda: run.pushed.dropped_points)
        run.published.replace(replace(STATE, snapshots_incomplete=99))
        with receiver(address) as played:
            wait_for(lambda: run.pushed.last_success_timestamp)
            values = {
                metric.name: metric.sum.data_points[0].as_double
                for metric in played.last.resource_metrics[0].scope_metrics[0].metrics
                if metric.sum.data_points
            }
    assert values["damon.exporter_snapshots_incomplete"] == 99
    assert "connection refused: see whether it runs" in caplog.text


def test_a_push_is_tried_again_before_it_is_given_up(played: Receiver) -> None:
    answers = iter([status(503), TAKE])

    def answer(request: BaseHTTPRequestHandler) -> None:
        next(answers)(request)

    played.answer = answer
    with pushing(played.endpoint, interval=30) as run:
        wait_for(lambda: run.pushed.last_success_timestamp)
        assert len(played.tries) == 2
        assert run.pushed.dropped_points == 0


def test_a_receiver_is_left_alone_for_as_long_as_it_asks(played: Receiver) -> None:
    played.answer = status(429, Retry_After="1")
    with pushing(played.endpoint):
        wait_for(lambda: len(played.tries) >= 2)
    assert played.tries[1] - played.tries[0] >= 0.9


def test_points_count_as_dropped_while_a_receiver_asks_to_be_left_alone(played: Receiver) -> None:
    played.answer = status(503, Retry_After="60")
    with pushing(played.endpoint) as run:
        wait_for(lambda: run.pushed.dropped_points > 3 * points_of(played) > 0)
        assert len(played.tries) == 1


def test_who_takes_a_push_gets_the_next_in_time_whatever_he_asks_for(played: Receiver) -> None:
    played.answer = status(200, Retry_After="60")
    with pushing(played.endpoint):
        wait_for(lambda: len(played.tries) >= 3)


def test_scrapes_go_on_and_show_how_pushing_goes_while_a_receiver_hangs(played: Receiver) -> None:
    played.answer = slow(3, TAKE)
    with (
        pushing(played.endpoint) as run,
        Server(["127.0.0.1:0"], make_app(run.published, collected=run.collected)) as web,
    ):
        wait_for(lambda: run.pushed.dropped_points)
        run.published.replace(replace(STATE))
        for _ in range(20):
            text = scraped(str(web.bound[0]))
    lines = dict(line.split(" ") for line in text.splitlines() if line.startswith("damon_exporter_otlp"))
    assert float(lines["damon_exporter_otlp_dropped_points_total"]) > 0
    assert float(lines["damon_exporter_otlp_last_success_timestamp_seconds"]) == 0


def test_memory_and_threads_do_not_grow_while_a_receiver_is_away() -> None:
    """Two minutes with the default interval are eight pushes."""

    def settled(run: Pushing, pushes: int) -> int:
        points = sum(len(family.samples) for family in run.collected(run.published()))
        enough = run.pushed.dropped_points + pushes * points
        wait_for(lambda: run.pushed.dropped_points >= enough)
        gc.collect()
        snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, of) for of in PUSHING])
        return sum(statistic.size for statistic in snapshot.statistics("filename"))

    def threads() -> int:
        """Other tests in this process may have servers, whose threads are made as they are needed."""
        return sum(not thread.name.startswith("http") for thread in threading.enumerate())

    tracemalloc.start()
    try:
        with pushing(f"http://{free_address()}/v1/metrics", interval=0.01) as run:
            before, threads_before = settled(run, 10), threads()
            after = settled(run, 80)
            wait_for(lambda: threads() <= threads_before)  # a try has one that ends with it
    finally:
        tracemalloc.stop()
    assert after - before < 500_000  # a push is larger


def test_what_hangs_is_left_behind_at_the_end(played: Receiver) -> None:
    played.answer = slow(20, TAKE)
    with pushing(played.endpoint, interval=10):
        wait_for(lambda: played.tries)
        begun = time.monotonic()
    assert time.monotonic() - begun < 1


# What the environment says


def test_the_standard_variables_are_honoured(played: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20YTpi,x-tenant=one")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    with pushing(played.endpoint) as run:
        wait_for(lambda: run.pushed.last_success_timestamp)
    attributes = {one.key: one.value.string_value for one in played.last.resource_metrics[0].resource.attributes}
    assert played.headers["authorization"] == "Basic YTpi"
    assert played.headers["x-tenant"] == "one"
    assert played.headers["Content-Encoding"] == "gzip"
    assert attributes["deployment.environment.name"] == "test"
    assert attributes["service.name"] == "damon-exporter"


def test_a_push_is_tried_for_as_long_as_the_environment_says(played: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    played.answer = slow(5, TAKE)
    with pushing(played.endpoint, interval=30) as run:
        wait_for(lambda: run.pushed.dropped_points, seconds=4)


def test_a_password_in_netrc_does_not_take_the_place_of_the_headers(
    played: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login a password b")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token")
    with pushing(played.endpoint) as run:
        wait_for(lambda: run.pushed.last_success_timestamp)
    assert played.headers["authorization"] == "Bearer token"


def test_a_certificate_is_trusted_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with receiver(tls=True) as played:
        with pushing(played.endpoint, interval=1) as run:
            wait_for(lambda: run.pushed.dropped_points)
        assert "its certificate is not trusted (unable to get local issuer certificate)" in caplog.text
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(AUTHORITY))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")  # for everybody else
        with pushing(played.endpoint, interval=1) as run:
            wait_for(lambda: run.pushed.last_success_timestamp)


def test_a_receiver_that_drips_within_tls_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(AUTHORITY))
    with receiver(tls=True) as played:
        played.answer = dripping(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        with pushing(played.endpoint, interval=1) as run:
            wait_for(lambda: run.pushed.dropped_points, seconds=4)
    assert "it takes too long" in caplog.text


def test_a_receiver_without_tls_is_told(played: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    with pushing(played.endpoint.replace("http", "https"), interval=1) as run:
        wait_for(lambda: run.pushed.dropped_points)
    assert "there is no TLS with it" in caplog.text


# As a process


def test_sigterm_ends_the_process_while_a_receiver_hangs(played: Receiver, config: ConfigFlag) -> None:
    played.answer = slow(20, TAKE)
    with Running(config(f"otlp: {{endpoint: '{played.endpoint}'}}"), command=DEMO) as running:
        running.wait_for(lambda: played.tries)
        begun = time.monotonic()
        assert running.stop(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 2
    assert "Traceback" not in running.ended_with


def test_an_exporter_pushes_and_leaves_the_kernel_as_it_was_while_a_receiver_hangs(
    played: Receiver, kernel: FakeKernel, config: ConfigFlag
) -> None:
    before = everything(kernel)
    flag = config(QUICK + f"otlp: {{endpoint: '{played.endpoint}', interval: 1s}}")
    with Running(*path_flags(kernel.paths), flag) as running:
        running.wait_for(lambda: "damon.working_set" in names_of(played))
        played.answer = slow(20, TAKE)
        tries = len(played.tries)
        running.wait_for(lambda: len(played.tries) > tries)
        begun = time.monotonic()
        assert running.stop(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 3
    assert everything(kernel) == before


@pytest.mark.parametrize("configured", [False, True])
def test_opentelemetry_is_imported_only_where_it_is_configured(
    configured: bool, played: Receiver, config: ConfigFlag
) -> None:
    flags = [config(f"otlp: {{endpoint: '{played.endpoint}'}}")] if configured else []
    command = (sys.executable, "-X", "importtime", "-m", "damon_exporter", "demo")
    with Running(*flags, command=command) as running:
        pushed = running.value("damon_exporter_otlp_dropped_points_total")
        assert running.stop() == 0
    assert (pushed is not None) == configured
    assert ("opentelemetry" in running.ended_with) == configured


ELSEWHERE = "otlp: {endpoint: 'http://localhost:4318/v1/metrics'}"


def without_the_extra(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = "import sys; sys.modules['opentelemetry'] = None; from damon_exporter import cli; cli.main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=20
    )


@pytest.mark.parametrize(
    "how", [("--config.check",), ("demo", "--web.listen-address=127.0.0.1:0")], ids=["check", "start"]
)
def test_without_the_extra_it_is_said_what_to_install(how: tuple[str, ...], config: ConfigFlag) -> None:
    ended = without_the_extra(*how, config(ELSEWHERE))
    assert ended.returncode == 2
    assert ended.stderr == "otlp: opentelemetry.util is not installed; pip install 'damon-exporter[otlp]'\n"


def test_a_doctor_says_what_to_install(kernel: FakeKernel, config: ConfigFlag) -> None:
    told = without_the_extra("doctor", *path_flags(kernel.paths), config(ELSEWHERE)).stdout
    assert "[NO ] push: otlp: opentelemetry.util is not installed; pip install 'damon-exporter[otlp]'" in told


def test_a_doctor_says_where_is_pushed_to_and_no_secret(kernel: FakeKernel) -> None:
    asked = check(parse("otlp: {endpoint: 'http://localhost:4318/v1/metrics?token=hidden'}"))
    (found,) = (one for one in examine(asked, kernel.paths) if one.subject == "push")
    assert found.ok
    assert found.detail == "every 15 s to http://localhost:4318/v1/metrics; the log says whether it takes them"


# What cannot be pushed with


NO_HEADER = "has no name=value in its header 1; write for example authorization=Bearer%20TOKEN"
NO_SIGN = "has a sign in its header 2 that none may have"
WRONG: list[tuple[str, str, str]] = [
    ("OTEL_EXPORTER_OTLP_HEADERS", "Bearer hidden", NO_HEADER),
    ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "Bearer hidden", NO_HEADER),
    ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,authorization=Bearer%20hidden%0AX", NO_SIGN),
    ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,authorization=hidden%E2%82%AC", NO_SIGN),
    ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,x%0Ahidden=c", NO_SIGN),
    *(
        ("OTEL_EXPORTER_OTLP_TIMEOUT", value, "is no time; write seconds without a unit, more than 0 and up to 300")
        for value in ("10s", "0", "-1", "nan", "1e400", "10000")
    ),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "is not to be had; write gzip, deflate or none"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/not/there.pem", "(no such file or directory); name a file in PEM"),
    (
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        __file__,
        "names no certificates that could be read (no certificate or crl found)",
    ),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/not/there.pem", "(no such file or directory); name files in PEM"),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(AUTHORITY), "names no certificate with its key"),
    *(
        ("HTTPS_PROXY", proxy, "is no URL of a proxy; write for example http://proxy:3128")
        for proxy in ("http://user:hidden@:99999", "http://user:hidden@bad host:1/", "foo://user:hidden@x")
    ),
]


@pytest.mark.parametrize(("variable", "value", "problem"), WRONG)
def test_what_no_push_could_be_made_with_is_told_without_secrets(
    variable: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as error:
        check_push(Otlp(endpoint="https://localhost:4318/v1/metrics"))
    (told,) = error.value.problems
    assert told.startswith("otlp: ")
    assert variable in told
    assert problem in told
    assert "hidden" not in told + caplog.text


def test_every_problem_with_the_environment_is_told_at_once(
    config: ConfigFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Bearer hidden")
    ended = run("--config.check", config(ELSEWHERE))
    assert ended.returncode == 2
    assert [line.split()[1] for line in ended.stderr.splitlines()] == [
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_HEADERS",
    ]


GOOD = {
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20TOKEN, x-tenant=one two,,",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "GZIP",
    "OTEL_EXPORTER_OTLP_CERTIFICATE": str(AUTHORITY),
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(AUTHORITY.with_name("kubelet.crt")),
    "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(AUTHORITY.with_name("kubelet.key")),
    "HTTPS_PROXY": "user:password@proxy:3128",
}


@pytest.mark.parametrize(("variable", "value"), GOOD.items(), ids=GOOD)
def test_what_makes_sense_is_no_problem(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if variable.endswith("CLIENT_CERTIFICATE"):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", GOOD["OTEL_EXPORTER_OTLP_CLIENT_KEY"])
    monkeypatch.setenv(variable, value)
    check_push(Otlp(endpoint="https://localhost:4318/v1/metrics"))


@pytest.mark.parametrize(
    "proxy", ["http://user:hidden@:99999", "http://user:hidden@127.0.0.1:1", "foo://user:hidden@x"]
)
def test_the_log_holds_no_credentials_of_a_proxy(
    proxy: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "")
    with pushing("http://nowhere.invalid/v1/metrics?token=hidden") as run:
        wait_for(lambda: run.pushed.dropped_points)
    assert "fails: " in caplog.text
    assert "hidden" not in caplog.text
