"""`/metrics` as bytes: the published state in the format and compression that a client asks for."""

import gzip
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from prometheus_client import CollectorRegistry
from prometheus_client import exposition as text
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from damon_exporter.metrics.collected import Collected
from damon_exporter.metrics.recent import Answers, Recent
from damon_exporter.state import NodeState

MOST_SELECTIONS = 8
"""Of series by name, whose renderings are kept of each state."""

_GZIP_LEVEL = 6  # level 9 takes three times as long and saves 1 % (20 000 series)


class Format(Enum):
    """The formats that are spoken; the value is the Content-Type."""

    TEXT = text.CONTENT_TYPE_PLAIN_0_0_4
    OPENMETRICS = openmetrics.CONTENT_TYPE_LATEST


_ENCODERS: dict[Format, Callable[[Collector], bytes]] = {
    Format.TEXT: text.generate_latest,
    Format.OPENMETRICS: openmetrics.generate_latest,
}


@dataclass(frozen=True, slots=True)
class Rendering:
    """A response body; ``content_encoding`` is ``gzip`` or None."""

    body: bytes
    content_type: str
    content_encoding: str | None


class Exposition:
    """Renders published states, each once per format, compression and selection for all scrapes together."""

    def __init__(self, collected: Collected | None = None) -> None:
        self._collected = collected or Collected()
        self._lock = threading.Lock()
        self._rendered: Recent[dict[tuple[Format, bool], bytes]] = Recent(lambda _: {})
        self._selected = Answers(MOST_SELECTIONS)

    def render(
        self, state: NodeState, accept: str = "", accept_encoding: str = "", names: Sequence[str] = ()
    ) -> Rendering:
        """The state as the two request headers ask for it, or of it only the series called ``names``."""
        output = negotiate(accept)
        compress = text.gzip_accepted(accept_encoding)
        encoding = "gzip" if compress else None
        if names:
            body = self._selected(
                state,
                (output, compress, tuple(sorted(names))),
                lambda: _packed(self._encode(state, output, names), compress),
            )
        else:
            body = self._shared(state, output, compress)
        return Rendering(body, output.value, encoding)

    def _shared(self, state: NodeState, output: Format, compress: bool) -> bytes:
        with self._lock:
            rendered = self._rendered(state)
            if (output, False) not in rendered:
                rendered[output, False] = self._encode(state, output)
            if (output, compress) not in rendered:
                rendered[output, compress] = _packed(rendered[output, False], compress)
            return rendered[output, compress]

    def _encode(self, state: NodeState, output: Format, names: Sequence[str] = ()) -> bytes:
        registry = CollectorRegistry(support_collectors_without_names=True)
        registry.register(_AlreadyCollected(self._collected(state)))
        return _ENCODERS[output](registry.restricted_registry(names) if names else registry)


class _AlreadyCollected(Collector):
    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def negotiate(accept: str) -> Format:
    """OpenMetrics for a client that can read it, the classic text format for everybody else."""
    try:
        _, content_type = text.choose_encoder(accept)
    except TypeError:  # the library compares the parts of `version=x` with numbers
        return Format.TEXT
    return Format.OPENMETRICS if content_type.startswith("application/openmetrics-text") else Format.TEXT


def _packed(body: bytes, compress: bool) -> bytes:
    return gzip.compress(body, _GZIP_LEVEL, mtime=0) if compress else body
