"""Listen addresses as Prometheus' tools write them, and the sockets bound to them."""

import errno
import re
import socket
from dataclasses import dataclass

BACKLOG = 1024

_FORMS = "write :10555, 127.0.0.1:10555, [::1]:10555 or host:10555"
_ADDRESS = re.compile(r"(?:\[(?P<bracketed>[^\[\]]*)\]|(?P<host>[^\[\]:\s]*)):(?P<port>[0-9]{1,5})")

_CURES = {
    errno.EADDRINUSE: "the port is in use; end the program that has it (see `ss -ltnp`) or choose another",
    errno.EACCES: "ports below 1024 need the capability CAP_NET_BIND_SERVICE; choose one from 1024 on",
    errno.EADDRNOTAVAIL: "this host has no such address; `ip addr` shows those it has",
}


class ListenError(OSError):
    """An address cannot be listened on; the message names the cause and the cure."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen. An empty ``host`` is every address of this host, port 0 one of the kernel's choice."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "ListenAddress":
        """The address of ``HOST:PORT``, ``[IPV6]:PORT`` or ``:PORT``; ValueError with cause and cure."""
        parts = _ADDRESS.fullmatch(text)
        if parts is None:
            raise ValueError(f"{text!r} is no address to listen on: {_FORMS}")
        port = int(parts["port"])
        if port > 65535:
            raise ValueError(f"{text!r}: there is no port {port}; ports end at 65535")
        return cls(parts["bracketed"] or parts["host"] or "", port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def bind(address: ListenAddress) -> socket.socket:
    """A listening socket. ``:PORT`` and ``[::]:PORT`` take IPv4 and IPv6; ListenError if it cannot be had."""
    try:
        candidates = _candidates(address)
    except (socket.gaierror, UnicodeError) as error:  # the latter where a name is too long for DNS
        raise ListenError(f"cannot listen on {address}: no host has this name ({error})") from error
    for family, where in candidates[:-1]:
        try:
            return _bind(family, where)
        except OSError:  # a name may have addresses of a family that is switched off
            continue
    try:
        return _bind(*candidates[-1])
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {_cause(error)}") from error


def _candidates(address: ListenAddress) -> list[tuple[int, tuple[str, int]]]:
    if address.host in ("", "::") and socket.has_dualstack_ipv6():
        return [(socket.AF_INET6, ("::", address.port))]
    host = address.host or "0.0.0.0"  # noqa: S104  # `:PORT` asks for every address
    found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [(family, (str(where[0]), address.port)) for family, _, _, _, where in found]


def _bind(family: int, where: tuple[str, int]) -> socket.socket:
    dual = where[0] == "::" and socket.has_dualstack_ipv6()
    return socket.create_server(where, family=family, backlog=BACKLOG, dualstack_ipv6=dual)


def _cause(error: OSError) -> str:
    return _CURES.get(error.errno or 0) or error.strerror or str(error)
