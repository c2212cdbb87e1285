"""What the standard variables of OpenTelemetry say, looked at before anything is pushed.

The library ignores most of what it does not understand, or fails at each push; its words about it hold credentials.
"""

import logging
import os
import re
import ssl
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from opentelemetry.util.re import parse_env_headers
from requests.utils import get_environ_proxies, select_proxy
from urllib3.util import parse_url

LONGEST_TIMEOUT = 300.0
"""The most (s) that a push may be tried: other libraries take milliseconds, and 10000 would be hours."""

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")

logging.getLogger("opentelemetry.util.re").setLevel(logging.CRITICAL)  # it would log headers; they are told of here


def problems(endpoint: str) -> Iterator[str]:
    """Yield what is wrong with the variables for pushing to ``endpoint``, with its cure, and without any value that
    may be secret."""
    yield from _each("TIMEOUT", _timeout)
    yield from _each("COMPRESSION", _compression)
    yield from _each("HEADERS", _headers)
    if endpoint.startswith("https:"):
        yield from _each("CERTIFICATE", _authorities)
    yield from _each("CLIENT_CERTIFICATE", _client_certificate)
    yield from _proxy(endpoint)


def _said(what: str) -> tuple[str, str] | None:
    """Return the variable that holds, that for metrics before that for all, and what it says."""
    names = (f"OTEL_EXPORTER_OTLP_METRICS_{what}", f"OTEL_EXPORTER_OTLP_{what}")
    return next(((name, os.environ[name]) for name in names if os.environ.get(name)), None)


def _each(what: str, check: Callable[[str], Iterable[str]]) -> Iterator[str]:
    if said := _said(what):
        name, value = said
        yield from (f"{name} {problem}" for problem in check(value))


def _timeout(value: str) -> Iterator[str]:
    try:
        good = 0 < float(value) <= LONGEST_TIMEOUT
    except ValueError:
        good = False
    if not good:
        yield f"is no time; write seconds without a unit, more than 0 and up to {LONGEST_TIMEOUT:g}"


def _compression(value: str) -> Iterator[str]:
    if value.strip().lower() not in ("none", "gzip", "deflate"):
        yield "is not to be had; write gzip, deflate or none"


def _headers(value: str) -> Iterator[str]:
    for number, item in enumerate(value.split(","), 1):
        header = parse_env_headers(item, liberal=True)
        if item.strip() and not header:
            yield f"has no name=value in its header {number}; write for example authorization=Bearer%20TOKEN"
        elif not all(NAME.fullmatch(name) and VALUE.fullmatch(value) for name, value in header.items()):
            yield f"has a sign in its header {number} that none may have; leave out %0A and other control characters"


def _authorities(value: str) -> Iterator[str]:
    try:
        if not Path(value).is_dir():
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(value)
    except OSError as error:
        yield f"names no certificates that could be read ({_cause(error)}); name a file in PEM"


def _client_certificate(value: str) -> Iterator[str]:
    key = _said("CLIENT_KEY")
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(value, key and key[1], password=lambda: b"")
    except OSError as error:
        yield (
            f"or …_CLIENT_KEY names no certificate with its key that could be read ({_cause(error)}); "
            "name files in PEM, the key without a password"
        )


def _cause(error: OSError) -> str:
    said = error.reason.replace("_", " ") if isinstance(error, ssl.SSLError) and error.reason else error.strerror
    return (said or "not PEM").lower()


def _proxy(endpoint: str) -> Iterator[str]:
    proxy = select_proxy(endpoint, get_environ_proxies(endpoint, no_proxy=None))
    if not proxy:
        return
    try:
        url = parse_url(proxy if "://" in proxy else f"http://{proxy}")
        good = bool(url.host) and url.scheme in PROXY_SCHEMES
    except ValueError:
        good = False
    if not good:
        yield "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY is no URL of a proxy; write for example http://proxy:3128"
