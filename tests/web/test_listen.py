import socket
from contextlib import closing

import pytest

from damon_exporter.web.listen import ListenAddress, ListenError, bind


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":10555", "", 10555),
        ("[::]:10555", "::", 10555),
        ("[::1]:0", "::1", 0),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("localhost:65535", "localhost", 65535),
    ],
)
def test_an_address_is_read_and_written_back(text: str, host: str, port: int) -> None:
    address = ListenAddress.parse(text)

    assert (address, str(address)) == (ListenAddress(host, port), text)


@pytest.mark.parametrize("text", ["", "10555", ":", "::1:10555", "[::1]", ":port", "a b:1", ":-1", "http://a:1"])
def test_what_is_no_address_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no address to listen on: write :10555, "):
        ListenAddress.parse(text)


def test_a_port_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no port 65536"):
        ListenAddress.parse(":65536")


def loopback_addresses() -> list[str]:
    """Those that this host has: IPv6 is switched off in many containers."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return ["127.0.0.1"]
    return ["127.0.0.1", "::1"]


@pytest.mark.parametrize("text", [":0", "[::]:0"])
def test_every_address_is_ipv4_and_ipv6(text: str) -> None:
    with closing(bind(ListenAddress.parse(text))) as listening:
        port = listening.getsockname()[1]
        for host in loopback_addresses():
            socket.create_connection((host, port), timeout=5).close()


def test_a_name_is_looked_up() -> None:
    with closing(bind(ListenAddress.parse("localhost:0"))) as listening:
        assert listening.getsockname()[0] in ("127.0.0.1", "::1")


def test_an_address_of_another_host_is_refused_with_the_cure() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 203\.0\.113\.1:0: this host has no such address; `ip"):
        bind(ListenAddress.parse("203.0.113.1:0"))


@pytest.mark.parametrize("host", ["[::g]", "x" * 64])
def test_a_name_of_no_host_is_refused(host: str) -> None:
    with pytest.raises(ListenError, match=r"cannot listen on .*:0: no host has this name"):
        bind(ListenAddress.parse(f"{host}:0"))
