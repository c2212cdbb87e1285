"""One HTTP response as a value."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus
from wsgiref.types import StartResponse

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """Status, body and headers; Content-Length is added when it is sent."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: tuple[Header, ...] = ()

    @classmethod
    def of_text(cls, status: HTTPStatus, text: str, content_type: str) -> "Response":
        """A text in UTF-8; lone surrogates, which it has no bytes for, are written out as escapes."""
        return cls(status, f"{content_type}; charset=utf-8", text.encode("utf-8", "backslashreplace"))

    def with_headers(self, *headers: Header) -> "Response":
        """The same response with more headers."""
        return replace(self, headers=(*self.headers, *headers))

    def send(self, start_response: StartResponse, with_body: bool) -> Iterable[bytes]:
        """Hand the response to a WSGI server, to HEAD without its body."""
        start_response(
            f"{self.status.value} {self.status.phrase}",
            [
                ("Content-Type", self.content_type),
                ("Content-Length", str(len(self.body))),
                ("X-Content-Type-Options", "nosniff"),
                ("Cache-Control", "no-store"),
                *self.headers,
            ],
        )
        return [self.body] if with_body else []
