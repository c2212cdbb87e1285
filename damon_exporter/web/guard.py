"""What stands before every page but the probes: the rate limit, and who is asking."""

from http import HTTPStatus

from damon_exporter.web.messages import Request, Response
from damon_exporter.web.passwords import Verdict
from damon_exporter.web.security import Security

_CHALLENGE = ("WWW-Authenticate", 'Basic realm="damon-exporter", charset="UTF-8"')


async def refusal(security: Security, request: Request) -> Response | None:
    """What somebody is told who may not see a page, or not now; None if he may."""
    if security.rate_limit and not security.rate_limit.allows():
        return Response.of_lines(
            HTTPStatus.TOO_MANY_REQUESTS, "more requests than rate_limit of the web configuration allows"
        )
    if security.passwords is None:
        return None
    verdict = await security.passwords.check(request.headers.get("authorization", ""), request.client)
    if verdict is Verdict.RIGHT:
        return None
    if verdict is Verdict.WRONG:
        asked = Response.of_lines(HTTPStatus.UNAUTHORIZED, "give a user of basic_auth_users and the right password")
        return asked.with_headers(_CHALLENGE)
    busy = Response.of_lines(HTTPStatus.SERVICE_UNAVAILABLE, "too many passwords are being checked")
    return busy.with_headers(("Retry-After", "1"))
