"""What stands before every page but the probes: the rate limit, and who is asking."""

from collections.abc import Container
from http import HTTPStatus

from damon_exporter.web.messages import App, Request, Response
from damon_exporter.web.passwords import Verdict
from damon_exporter.web.security import Security, SecurityNow

_CHALLENGE = ("WWW-Authenticate", 'Basic realm="damon-exporter", charset="UTF-8"')


def guarded(app: App, security: SecurityNow, unguarded: Container[str]) -> App:
    """The application for those who may see it; the paths in ``unguarded`` are everybody's."""

    def guard(request: Request) -> Response:
        refusal = None if request.path in unguarded else _refusal(security(), request)
        return refusal or app(request)

    return guard


def _refusal(security: Security, request: Request) -> Response | None:
    if security.rate_limit and not security.rate_limit.allows():
        return Response.of_lines(
            HTTPStatus.TOO_MANY_REQUESTS, "more requests than rate_limit of the web configuration allows"
        )
    if security.passwords is None:
        return None
    verdict = security.passwords.check(request.headers.get("authorization", ""))
    if verdict is Verdict.RIGHT:
        return None
    if verdict is Verdict.WRONG:
        asked = Response.of_lines(HTTPStatus.UNAUTHORIZED, "give a user of basic_auth_users and the right password")
        return asked.with_headers(_CHALLENGE)
    busy = Response.of_lines(HTTPStatus.SERVICE_UNAVAILABLE, "too many passwords are being checked")
    return busy.with_headers(("Retry-After", "1"))
