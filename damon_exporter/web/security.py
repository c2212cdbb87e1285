"""Who may see what, how it is encrypted, and what is said to browsers: one value, replaced as a whole."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from damon_exporter.web.messages import Header
from damon_exporter.web.passwords import Passwords
from damon_exporter.web.rate_limit import RateLimit


@dataclass(frozen=True, slots=True)
class Encryption:
    """TLS as new connections get it. Of ``allowed_names``, clients' certificates must have one as alternative name."""

    context: ssl.SSLContext
    allowed_names: frozenset[str] | None = None


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
