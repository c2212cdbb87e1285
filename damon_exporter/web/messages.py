"""One HTTP request and its response as values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """What pages look at: ``query`` is what follows the ``?``, still encoded; names of headers are in lower case.

    ``client`` is the address that it comes from.
    """

    path: str
    method: str = "GET"
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    client: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """Status, body and headers. Those of how it is sent, such as Content-Length, come when it is."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: tuple[Header, ...] = (("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"))

    @classmethod
    def of_text(cls, status: HTTPStatus, text: str, content_type: str) -> "Response":
        """A text in UTF-8; lone surrogates, which it has no bytes for, are written out as escapes."""
        return cls(status, f"{content_type}; charset=utf-8", text.encode("utf-8", "backslashreplace"))

    @classmethod
    def of_lines(cls, status: HTTPStatus, *lines: str) -> "Response":
        """Plain text."""
        return cls.of_text(status, "".join(f"{line}\n" for line in lines), "text/plain")

    def with_headers(self, *headers: Header) -> "Response":
        """The same response with more headers."""
        return replace(self, headers=(*self.headers, *headers))


App = Callable[[Request], Response]
"""Called in any of several threads. To HEAD it may answer as to GET: the body is not sent then."""
