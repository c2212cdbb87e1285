"""Where metrics are pushed, beside being scraped."""

from typing import Annotated

from pydantic import Field

from damon_exporter.config.fields import Section, Written, as_written, printable_text, seconds
from damon_exporter.config.urls import LONGEST_URL, from_environment, names_user, split_whole
from damon_exporter.units import shown

EXAMPLE = "http://localhost:4318/v1/metrics"


def _endpoint(value: object) -> str:
    """The URL with what the environment says in the place of ``${NAME}``.

    It may hold a query, which some receivers take labels from; shown without, as that may be a secret.
    """
    url = printable_text(from_environment(printable_text(value, LONGEST_URL)), LONGEST_URL)
    if names_user(url):
        raise ValueError("holds a user name; leave it out, and give credentials in OTEL_EXPORTER_OTLP_HEADERS")
    parts = split_whole(url, ("http", "https"))
    if parts is None:
        raise ValueError(f"{shown(url.partition('?')[0])} is not the URL of a receiver; write for example {EXAMPLE}")
    if parts.fragment:
        raise ValueError(f"{shown(url.partition('?')[0])} has a #; leave out what begins with it")
    if parts.path in ("", "/"):
        raise ValueError(
            f"{shown(url.partition('?')[0])} has no path; write the whole URL, of a Collector {EXAMPLE}, "
            "of Prometheus http://localhost:9090/api/v1/otlp/v1/metrics"
        )
    return url


ENDPOINT = Written(_endpoint, {"type": "string", "pattern": "^https?://[^#@/]+/[^#]+$", "maxLength": LONGEST_URL})


class Otlp(Section):
    """Push by OTLP over HTTP; all else is told by the standard variables of OpenTelemetry."""

    endpoint: Annotated[str, ENDPOINT] = Field(
        description=f"The whole URL of the receiver of metrics, for example {EXAMPLE}; ${{NAME}} is of the environment."
    )
    interval: Annotated[float, seconds("1s", "1m")] = Field(
        default=as_written("15s"), description="How often what was published last is pushed."
    )
