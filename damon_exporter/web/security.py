"""Who may see what, how it is encrypted, and what is said to browsers: one value, replaced as a whole."""

import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from damon_exporter.web.messages import Header
from damon_exporter.web.passwords import Passwords
from damon_exporter.web.rate_limit import RateLimit


@dataclass(frozen=True, slots=True)
class Encryption:
    """TLS as new connections get it. Of ``allowed_names``, clients' certificates must have one as alternative name."""

    context: ssl.SSLContext
    allowed_names: frozenset[str] | None = None

    def allows(self, certificate: Any) -> bool:
        """Does a client's ``certificate``, as the ssl module tells it, have one of the allowed names?

        Without a certificate everybody is let in: whether there must be one is for the TLS context to say.
        """
        if self.allowed_names is None or not certificate:
            return True
        names = {_as_go_writes(kind, name) for kind, name in certificate.get("subjectAltName", ())}
        return not names.isdisjoint(self.allowed_names)


def _as_go_writes(kind: str, name: str) -> str:
    """OpenSSL spells out the zeros of IPv6, and what is no address it calls ``<invalid>``."""
    with suppress(ValueError):
        return str(ip_address(name.strip())) if kind == "IP Address" else name
    return ""


@dataclass(frozen=True, slots=True)
class Security:
    """What one reading of the web configuration asks for; without any, everybody may read everything."""

    encryption: Encryption | None = None
    passwords: Passwords | None = None
    rate_limit: RateLimit | None = None
    headers: Sequence[Header] = ()


SecurityNow = Callable[[], Security]
"""Called for every connection and every request, from any thread; must not wait."""


def no_security() -> Security:
    """Return what holds without a web configuration."""
    return Security()
