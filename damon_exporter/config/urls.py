"""URLs as the configuration takes them: whole ones, of hosts that can be looked up."""

import os
import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import SplitResult, urlsplit

LONGEST_URL = 2048

_VARIABLE = r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}"

_HOST = r"(?!.{254})(?:(?!-)[a-z0-9_-]{1,63}(?<!-)\.)*(?!-)[a-z0-9_-]{1,63}(?<!-)\.?"


def from_environment(url: str) -> str:
    """Put the values of variables in the place of ``${NAME}``: every node of a cluster reads the same file.

    An IPv6 address is put into brackets. Raises ValueError for a variable that is not set.
    """
    return re.sub(_VARIABLE, _value, url)


def _value(variable: re.Match[str]) -> str:
    value = os.environ.get(variable[1], "")
    if not value:
        raise ValueError(f"takes {variable[0]} from the environment, where it is not set; set it, or write it out")
    return f"[{value}]" if ":" in value else value


def names_user(url: str) -> bool:
    """Is there a user in it, and maybe a password, which no message may show?"""
    return "@" in url.partition("://")[2].partition("/")[0]


def split_whole(url: str, schemes: Collection[str]) -> SplitResult | None:
    """Return the parts of a URL of one of these schemes, with a host; None if it is none."""
    try:
        parts = urlsplit(url)
        has_host = _is_host(parts.hostname or "", bracketed="[" in parts.netloc) and parts.port != 0
    except ValueError:  # brackets without an IPv6 address, a port that is no number
        return None
    return parts if has_host and url.isascii() and " " not in url and parts.scheme in schemes else None


def _is_host(host: str, bracketed: bool) -> bool:
    """Is it an address, or a name that could be looked up? Brackets are for IPv6 alone; raises ValueError otherwise."""
    if bracketed:
        return bool(IPv6Address(host))
    return bool(IPv4Address(host)) if re.fullmatch(r"[0-9.]+", host) else bool(re.fullmatch(_HOST, host))
