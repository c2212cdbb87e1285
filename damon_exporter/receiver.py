"""What a receiver of OTLP answers, which the exporter library keeps to itself, or takes for success."""

import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import requests
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from urllib3 import Retry

from damon_exporter.deadline import Deadline

CONTENT_TYPE = "application/x-protobuf"
MOST_BYTES = 1 << 16
"""More is no answer of a receiver, and is not read."""


class NotTaken(Exception):
    """A push has not been taken, and trying the same receiver again at once is of no use; the message says why."""


class ReceiverSession(requests.Session):
    """Sends pushes and looks at what comes back.

    ``problem`` is a sentence about the last try of a push, None if it was taken; ``rejected`` is how many of its points
    the receiver has rejected, and ``retry_after`` (s) how long it asks to be left alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth = _as_it_is  # .netrc would take the place of the headers that are configured
        self._deadline = Deadline()
        for scheme in ("http://", "https://"):
            self.mount(scheme, self._deadline)
        self.begin()

    def begin(self) -> None:
        """Forget the push before."""
        self.problem: str | None = UNSENT
        self.rejected = 0
        self.retry_after = 0.0

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        """Make one try, of ``timeout`` (s) in all; raises what `requests` does, and `NotTaken`."""
        if options["timeout"] <= 0:
            raise requests.Timeout  # the time was over during a pause: the problem is that of the try before
        with self._deadline.within(options["timeout"]):
            return self._try(*arguments, **options)

    def _try(self, *arguments: Any, **options: Any) -> requests.Response:
        before = self.problem
        try:
            # The certificate that is configured is not used where the environment names others for everybody, unless
            # it is asked for here.
            options = {**options, "verify": self.verify, "allow_redirects": False, "stream": True}
            answer = super().request(*arguments, **options)
            self._look_at(answer)
            if self._deadline.is_over:
                raise requests.Timeout  # headers that end in the middle are taken for whole ones
        except Exception as error:
            reason = TOO_LONG if self._deadline.is_over else _reason(error)
            # The last try has only the time that is left, which tells less than what has come of those before.
            self.problem = before if reason is TOO_LONG and before is not UNSENT else reason
            raise
        return answer

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere: what stands in the body of a redirect would be read to its end."""

    def _look_at(self, answer: requests.Response) -> None:
        with answer:
            self.problem, self.retry_after = None, _take_retry_after(answer)
            if HTTPStatus.OK <= answer.status_code < HTTPStatus.MULTIPLE_CHOICES:
                self._count_rejected(answer)
            elif HTTPStatus.MULTIPLE_CHOICES <= answer.status_code < HTTPStatus.BAD_REQUEST:
                raise NotTaken(
                    f"it redirects ({answer.status_code}), which is not followed: give the receiver's own URL"
                )
            else:
                self.problem = f"it answers {answer.status_code}: {REFUSALS.get(answer.status_code, OTHERWISE)}"

    def _count_rejected(self, answer: requests.Response) -> None:
        body = answer.raw.read(MOST_BYTES + 1, decode_content=True)
        if not body:
            return  # as Prometheus answers
        try:
            if len(body) > MOST_BYTES or not answer.headers.get("Content-Type", "").startswith(CONTENT_TYPE):
                raise DecodeError
            partial = ExportMetricsServiceResponse.FromString(body).partial_success
        except DecodeError:
            raise NotTaken(
                f"it answers {answer.status_code} with something else than OTLP: give the whole URL of the receiver"
            ) from None
        self.rejected = max(partial.rejected_data_points, 0)
        if self.rejected:
            self.problem = f"it rejects data points: {partial.error_message[:200] or 'it does not say why'}"


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


UNSENT = "it could not be encoded, or is larger than 64 MiB: lower export.max_series"
TOO_LONG = "it takes too long: see whether it is overloaded, and the URL right"
OTHERWISE = "see its log"
REFUSALS: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "give credentials in OTEL_EXPORTER_OTLP_HEADERS",
    HTTPStatus.FORBIDDEN: "give credentials in OTEL_EXPORTER_OTLP_HEADERS",
    HTTPStatus.NOT_FOUND: "give the whole URL; Prometheus needs --web.enable-otlp-receiver",
    HTTPStatus.METHOD_NOT_ALLOWED: "give the whole URL of a receiver of OTLP over HTTP",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "let it take larger requests, or lower export.max_series",
    HTTPStatus.TOO_MANY_REQUESTS: "push more rarely, or let it take more",
}


MAY_ASK_FOR_REST = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


def _take_retry_after(answer: requests.Response) -> float:
    """Return how long (s) to rest, and leave it in the answer as a number: the library fails on some dates."""
    asked = answer.headers.pop("Retry-After", None)
    if asked is None or answer.status_code not in MAY_ASK_FOR_REST:
        return 0.0
    try:
        rest = Retry().parse_retry_after(asked)
    except Exception:  # whatever comes of parsing a date that is none
        return 0.0
    answer.headers["Retry-After"] = str(rest)
    return rest


def _reason(error: BaseException) -> str:  # noqa: PLR0911 - a table of kinds
    """Say what lies beneath, as requests wraps it in several layers; their own words may hold URLs and credentials."""
    if isinstance(error, NotTaken):
        return str(error)
    if isinstance(error, ValueError):
        return f"it cannot be asked ({type(error).__name__}): see the proxies and OTEL_* variables in the environment"
    while beneath := error.__cause__ or error.__context__:
        error = beneath
    if isinstance(error, TimeoutError):
        return TOO_LONG
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}): see OTEL_EXPORTER_OTLP_CERTIFICATE"
    if isinstance(error, ssl.SSLError):
        return f"there is no TLS with it ({error.reason}): see the URL and OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.lower()}: see whether it runs, and the URL right"
    return f"no whole answer has come ({type(error).__name__})"
