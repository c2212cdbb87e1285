"""Two hundred clients that take their time, and a hundred that scrape, beside one who wants an answer."""

import http.client
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from crowd import crowd

from damon_exporter.web.tls import TlsFiles

TESTS = Path(__file__).parents[1]
LARGE_PAGE = Path(__file__).with_name("large_page.py")
SLOW, SCRAPES = 200, 100
ROUNDS = 3
"""Of which the fastest counts: others use the machine, too. Each has a crowd of its own, so that who waits for a slow
client waits in every one of them."""


@contextmanager
def server(*arguments: str) -> Iterator[int]:
    """The port of a server in a process of its own, which does not wait for the clients' interpreter."""
    path = os.pathsep.join((str(TESTS), str(TESTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])))
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, str(LARGE_PAGE), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline())
        finally:
            process.kill()


def scraped(port: int, tls: ssl.SSLContext | None) -> tuple[int, float]:
    """The status of a scrape over a new connection, and how long it took."""
    began = time.monotonic()
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=tls)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    )
    with closing(connection):
        connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
        response = connection.getresponse()
        response.read()
    return response.status, time.monotonic() - began


def scraped_among(scraping: ThreadPoolExecutor, port: int, tls: ssl.SSLContext | None) -> tuple[int, float]:
    """The same while others scrape, who all get their answers too."""
    others = [scraping.submit(scraped, port, tls) for _ in range(SCRAPES)]
    found = scraped(port, tls)
    assert {other.result()[0] for other in others} == {200}
    return found


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_slow_clients_and_many_scrapes_do_not_stop_a_fast_one(
    encrypted: bool, server_files: TlsFiles, tmp_path: Path
) -> None:
    tls = ssl.create_default_context(cafile=server_files.client_authorities) if encrypted else None
    file = tmp_path / "web.yml"
    file.write_text(f"tls_server_config: {{cert_file: {server_files.certificate}, key_file: {server_files.key}}}")

    beside_the_slow, beside_all = [], []
    with server(*([str(file)] if encrypted else [])) as port, ThreadPoolExecutor(SCRAPES) as scraping:
        for _ in range(ROUNDS):
            with crowd(port, SLOW, tls) as connected:
                beside_the_slow.append(scraped(port, tls))
                beside_all.append(scraped_among(scraping, port, tls))
                assert connected() == SLOW

    assert {status for status, _ in beside_the_slow + beside_all} == {200}
    assert min(seconds for _, seconds in beside_the_slow) < 1
    assert min(seconds for _, seconds in beside_all) < 1
