import gzip
import http.client
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http import HTTPStatus

import pytest
from example_state import STATE
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from damon_exporter.web.app import make_app
from damon_exporter.web.limits import Limits
from damon_exporter.web.listen import ListenError
from damon_exporter.web.messages import Request, Response
from damon_exporter.web.server import Server

SHORT = Limits(threads=2, idle_seconds=5, request_seconds=1)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server that all tests of this file share."""
    with Server(["127.0.0.1:0"], make_app(lambda: STATE)) as server:
        yield server.bound[0].port


def get(
    port: int, path: str = "/metrics", method: str = "GET", host: str = "127.0.0.1", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    with closing(http.client.HTTPConnection(host, port, timeout=5)) as connection:
        connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return response, response.read()


@contextmanager
def sent(port: int, data: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(data)
        yield client


def status_of(port: int, request: bytes) -> int:
    """The status that a request as raw bytes gets."""
    with sent(port, request) as client:
        response = http.client.HTTPResponse(client)
        response.begin()
        return response.status


def received(port: int, method: str, path: str) -> tuple[list[str], bytes]:
    """The status line and headers of a response but for the date, and all that follows them."""
    with sent(port, f"{method} {path} HTTP/1.0\r\n\r\n".encode()) as client, client.makefile("rb") as answer:
        head, _, body = answer.read().partition(b"\r\n\r\n")
    return [line for line in head.decode().split("\r\n") if not line.startswith("date:")], body


@contextmanager
def serving(limits: Limits = SHORT) -> Iterator[int]:
    with Server(["127.0.0.1:0"], make_app(lambda: STATE), limits) as server:
        yield server.bound[0].port


def test_it_serves_metrics(port: int) -> None:
    response, body = get(port)

    assert response.status == 200
    assert b"\ndamon_monitored_bytes{" in body


def test_openmetrics_is_served_to_those_who_read_it(port: int) -> None:
    _, body = get(port, Accept="application/openmetrics-text; version=1.0.0")

    assert list(text_string_to_metric_families(body.decode()))


def test_gzip_is_served_to_those_who_read_it(port: int) -> None:
    response, body = get(port, Accept_Encoding="gzip")

    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body).startswith(b"# HELP damon_")


@pytest.mark.parametrize("path", ["/", "/live", "/-/healthy", "/nothing", "/-/reload"])
def test_head_has_the_headers_of_get_and_no_body(port: int, path: str) -> None:
    (get_headers, body), (head_headers, nothing) = (received(port, method, path) for method in ("GET", "HEAD"))

    assert (head_headers, nothing) == (get_headers, b"")
    assert f"content-length: {len(body)}" in get_headers


def test_an_unknown_path_is_404(port: int) -> None:
    assert get(port, "/nothing")[0].status == 404


def test_a_path_with_escapes_is_the_path_that_it_stands_for(port: int) -> None:
    assert get(port, "/%6detrics")[0].status == 200


def test_another_method_is_405(port: int) -> None:
    response, _ = get(port, method="DELETE")

    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


def test_the_server_does_not_tell_its_version(port: int) -> None:
    assert get(port)[0].headers["Server"] == "damon-exporter"


def test_a_connection_serves_several_requests(port: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        for _ in range(3):
            connection.request("GET", "/-/healthy")
            connection.getresponse().read()
            assert connection.sock is not None


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\n" + b"X: x\r\n" * 200 + b"\r\n", 431),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", 413),
        (b"GET /metrics HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /metrics HTTP/3.0\r\n\r\n", 505),
    ],
    ids=["huge header", "many headers", "huge path", "huge body", "no header", "no request", "unknown version"],
)
def test_a_bad_request_is_refused(port: int, request_bytes: bytes, status: int) -> None:
    assert status_of(port, request_bytes) == status


def test_what_follows_a_chunked_body_is_no_second_request(port: int) -> None:
    smuggled = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n"
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(smuggled), smuggled)

    with sent(port, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk) as client:
        answer = b""
        while data := client.recv(65536):
            answer += data

    assert answer.count(b"HTTP/1.1 ") == 1


def test_scrapes_at_the_same_time_all_get_the_same(port: int) -> None:
    with ThreadPoolExecutor(16) as scrapers:
        bodies = set(scrapers.map(lambda _: get(port)[1], range(64)))

    assert len(bodies) == 1


@contextmanager
def busy(limits: Limits, clients: int, *paths: str) -> Iterator[int]:
    """The port of a server of which so many ask for pages that take as long as this context."""
    done = threading.Event()
    began = threading.Semaphore(0)

    def app(request: Request) -> Response:
        if f"{request.path}?{request.query}".rstrip("?") in paths:
            began.release()
            done.wait()
        return Response(HTTPStatus.OK, "text/plain", b"")

    with (
        Server(["127.0.0.1:0"], app, limits, probes={"/probe"}, scrapes={"/metrics"}) as server,
        ThreadPoolExecutor(clients) as asking,
    ):
        port = server.bound[0].port
        for number in range(clients):
            asking.submit(get, port, paths[number % len(paths)])
        for _ in range(min(limits.shared_threads, clients)):
            assert began.acquire(timeout=5)
        try:
            yield port
        finally:
            done.set()


def test_a_probe_is_answered_whatever_the_threads_have_to_do() -> None:
    with busy(Limits(threads=1, shared_threads=1), 2, "/slow") as port:
        assert get(port, "/probe")[0].status == 200


def test_who_asks_for_other_pages_keeps_no_scrape_waiting_however_many_pages_there_are() -> None:
    with busy(Limits(threads=3, shared_threads=2), 12, "/slow", "/slow?x", "/metrics?name", "/other") as port:
        assert get(port, "/metrics")[0].status == 200


def test_more_requests_than_may_wait_are_told_so_at_once() -> None:
    with busy(Limits(threads=2, shared_threads=1, waiting=1), 1, "/slow") as port:
        assert get(port, "/slow")[0].status == 503


def test_a_page_that_takes_long_to_make_is_waited_for() -> None:
    """It may be a reload; a client's time is for reading alone."""

    def slow(_: Request) -> Response:
        time.sleep(1)
        return Response(HTTPStatus.OK, "text/plain", b"reloaded")

    with Server(["127.0.0.1:0"], slow, Limits(request_seconds=0.2, idle_seconds=0.5)) as server:
        assert get(server.bound[0].port)[1] == b"reloaded"


def test_the_process_hears_of_it_when_serving_ends_by_itself() -> None:
    ended = threading.Event()
    server = Server(["127.0.0.1:0"], make_app(lambda: STATE), on_failure=ended.set)
    server._listening[0].close()  # accepting from it raises what is no OSError of a client

    server.start()

    assert ended.wait(5)
    server.stop()


def test_clients_that_send_nothing_hold_no_thread() -> None:
    with serving(Limits(threads=2)) as port, sent(port, b""), sent(port, b""), sent(port, b""):
        assert get(port)[0].status == 200


def test_a_client_that_stops_in_the_middle_does_not_hold_up_another() -> None:
    with serving() as port, sent(port, b"GET /met"):
        assert get(port)[0].status == 200


def seconds_until_cut_off(client: socket.socket, send: bytes = b"") -> float:
    """How long a client that sends the same again and again, and hardly reads, is put up with."""
    began = time.monotonic()
    client.settimeout(0.1)
    while time.monotonic() - began < 10:
        try:
            client.sendall(send)
            if not client.recv(1):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - began


@pytest.mark.parametrize("begun", [b"", b"G", b"GET /metrics HTTP/1.1\r\nX: "], ids=["nothing", "line", "header"])
def test_a_request_that_comes_byte_by_byte_is_cut_off(begun: bytes) -> None:
    with serving(Limits(idle_seconds=0.5)) as port, sent(port, begun) as client:
        assert 0.4 < seconds_until_cut_off(client, b"x" if begun else b"") < 3


def test_a_connection_that_is_kept_for_nothing_is_cut_off() -> None:
    with serving(Limits(idle_seconds=0.5)) as port, sent(port, b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n") as client:
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert 0.4 < seconds_until_cut_off(client, b"G") < 3


def test_a_response_that_is_not_read_is_cut_off() -> None:
    def large(_: Request) -> Response:
        return Response(HTTPStatus.OK, "text/plain", b"x" * (16 << 20))

    with (
        Server(["127.0.0.1:0"], large, Limits(request_seconds=0.5)) as server,
        sent(server.bound[0].port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") as client,
    ):
        time.sleep(1)
        client.settimeout(5)
        received = 0
        while data := client.recv(1 << 20):
            received += len(data)

    assert received < 16 << 20


def test_whoever_waits_for_nothing_makes_room_for_the_next() -> None:
    with serving(Limits(connections=2)) as port, sent(port, b"") as first, sent(port, b"") as second:
        assert get(port)[0].status == 200

        assert first.recv(1) == b""
        second.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
        assert second.recv(100).startswith(b"HTTP/1.1 200")


def test_many_connections_of_one_address_cost_another_none() -> None:
    with (
        serving(Limits(connections=4)) as port,
        socket.create_connection(("127.0.0.1", port), 5, ("127.0.0.2", 0)) as one,
    ):
        assert get(port)[0].status == 200  # so the one is the first to have come, and to have been served

        crowd = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(8)]
        assert get(port)[0].status == 200

        one.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
        assert one.recv(100).startswith(b"HTTP/1.1 200")
        for client in crowd:
            client.close()


def test_clients_that_go_away_in_the_middle_are_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    large = Response(HTTPStatus.OK, "text/plain", b"x" * (4 << 20))
    with Server(["127.0.0.1:0"], lambda _: large) as server:
        for _ in range(20):
            with sent(server.bound[0].port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") as client:
                client.recv(1 << 20)
        assert get(server.bound[0].port)[0].status == 200

    assert caplog.text == ""


def test_whoever_does_not_wait_for_the_answer_gets_no_second_one(port: int) -> None:
    with sent(port, b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n" * 3) as client:
        answer = b""
        while data := client.recv(65536):
            answer += data

    assert answer.count(b"HTTP/1.1 200") == 1


def test_an_error_in_a_page_is_500_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Request) -> Response:
        raise RuntimeError("no state")

    with Server(["127.0.0.1:0"], broken) as server:
        response, _ = get(server.bound[0].port)

    assert response.status == 500
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "no state" in caplog.text


def test_it_listens_on_several_addresses() -> None:
    with Server(["127.0.0.1:0", "127.0.0.2:0"], make_app(lambda: STATE)) as server:
        assert [get(at.port, host=at.host)[0].status for at in server.bound] == [200, 200]


def test_a_port_in_use_is_refused_with_the_cure(port: int) -> None:
    with pytest.raises(ListenError, match=rf"cannot listen on 127\.0\.0\.1:{port}: the port is in use; end the"):
        Server([f"127.0.0.1:{port}"], make_app(lambda: STATE))


def test_an_address_that_fails_frees_those_before_it(port: int) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        free = probe.getsockname()[1]

    with pytest.raises(ListenError):
        Server([f"127.0.0.1:{free}", f"127.0.0.1:{port}"], make_app(lambda: STATE))

    with closing(socket.create_server(("127.0.0.1", free))):
        pass


def test_a_stopped_server_frees_its_port_and_its_threads() -> None:
    before = set(threading.enumerate())
    with serving() as port:
        get(port)

    with closing(socket.create_server(("127.0.0.1", port))):
        assert set(threading.enumerate()) <= before


def test_a_server_can_be_stopped_without_having_been_started() -> None:
    server = Server(["127.0.0.1:0"], make_app(lambda: STATE))
    (address,) = server.bound

    server.stop()

    with closing(socket.create_server(("127.0.0.1", address.port))):
        pass
