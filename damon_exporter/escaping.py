"""Text that anybody may have chosen, made fit for a label, a log line and a page."""

import re


def printable(text: str) -> str:
    r"""Return the text with every byte that is part of no printable character written as ``\xNN``.

    Any user may name a process or a cgroup with newlines, terminal codes or bytes that are no UTF-8 (which Python reads
    as lone surrogates). What is printable, a backslash too, stays as it is. UTF-8 can encode the result of any text.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in _decoded(text))


def _decoded(text: str) -> str:
    """Join what surrogates stand for to characters where it is valid UTF-8 after all."""
    return re.sub("[\udc80-\udcff]+", lambda run: _bytes(run[0]).decode("utf-8", "surrogateescape"), text)


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in _bytes(character))


def _bytes(text: str) -> bytes:
    """Surrogates that stand for no byte, which nothing that was read has, come as UTF-8 would have them."""
    errors = "surrogatepass" if re.search("[\ud800-\udc7f\udd00-\udfff]", text) else "surrogateescape"
    return text.encode("utf-8", errors)
