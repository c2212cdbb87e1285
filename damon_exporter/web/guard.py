"""What stands before every page but the probes: the rate limit, and who is asking."""

from collections.abc import Container, Iterable
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from damon_exporter.web.passwords import Verdict
from damon_exporter.web.response import Response
from damon_exporter.web.security import Security, SecurityNow

_WHO = ("WWW-Authenticate", 'Basic realm="damon-exporter", charset="UTF-8"')
_LATER = ("Retry-After", "1")


def guarded(app: WSGIApplication, security: SecurityNow, unguarded: Container[str]) -> WSGIApplication:
    """The application for those who may see it; the paths in ``unguarded`` are everybody's."""

    def guard(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        refusal = None if environ["PATH_INFO"] in unguarded else _refusal(security(), environ)
        if refusal is None:
            return app(environ, start_response)
        return refusal.send(start_response, with_body=environ["REQUEST_METHOD"] != "HEAD")

    return guard


def _refusal(security: Security, environ: WSGIEnvironment) -> Response | None:
    if security.rate_limit and not security.rate_limit.allows():
        return _told(HTTPStatus.TOO_MANY_REQUESTS, "more requests than rate_limit of the web configuration allows")
    if security.passwords is None:
        return None
    verdict = security.passwords.check(environ.get("HTTP_AUTHORIZATION", ""))
    if verdict is Verdict.RIGHT:
        return None
    if verdict is Verdict.WRONG:
        return _told(HTTPStatus.UNAUTHORIZED, "give a user of basic_auth_users and the right password").with_headers(
            _WHO
        )
    return _told(HTTPStatus.SERVICE_UNAVAILABLE, "too many passwords are being checked").with_headers(_LATER)


def _told(status: HTTPStatus, text: str) -> Response:
    return Response.of_text(status, f"{text}\n", "text/plain")
