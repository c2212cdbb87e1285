"""The thread that pushes what is published to a receiver of OTLP. It reads the published state, never the kernel.

Every value is the last one, or a sum of all before: of what could not be pushed nothing is kept, as the next push has
the newest. So a receiver may be away for as long as it likes, and costs no memory.
"""

import logging
import os
import time
from collections.abc import Callable
from typing import Self

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.environment_variables import OTEL_EXPORTER_OTLP_METRICS_TIMEOUT, OTEL_EXPORTER_OTLP_TIMEOUT
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData

from damon_exporter.metrics.collected import Collected
from damon_exporter.metrics.otlp import Adapter, number_of_points, resource
from damon_exporter.published import Published
from damon_exporter.receiver import ReceiverSession
from damon_exporter.repeating import Repeating
from damon_exporter.state import Pushed

log = logging.getLogger(__name__)

LONGEST_TRY = 10.0
"""How long (s) a push is tried at most, and never longer than the interval, unless the environment says how long."""

LONGEST_REST = 300.0
"""How long (s) a receiver is left alone at most, whatever it asks for."""

PATIENCE = 0.5
"""How long (s) a push that is under way is waited for on exit: a receiver that hangs shall not hold us."""


class Push:
    """Pushes to ``endpoint`` every ``interval`` (s) within a ``with`` block. ``on_failure`` is that of `Repeating`.

    A push that a receiver may take later is tried again, with pauses that double, until its time is over. Then its
    points count as dropped, as do those of pushes not made while the receiver asks to be left alone.
    """

    def __init__(
        self,
        endpoint: str,
        interval: float,
        published: Published,
        collected: Collected,
        on_failure: Callable[[], None],
    ) -> None:
        self._receiver = endpoint.partition("?")[0]  # a query may hold a secret
        self._interval = interval
        self._published = published
        self._collected = collected
        self._answers = ReceiverSession()
        self._exporter = OTLPMetricExporter(endpoint, session=self._answers, timeout=_longest_try(interval))
        logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)  # we say it, and only once
        self._adapter = Adapter(resource(), time.time())
        self._left_alone_until = 0.0
        self._told: set[str] | None = None
        self._ending = False
        self._thread = Repeating("otlp", self._work, on_failure, PATIENCE)
        collected.pushed = self._pushed = Pushed()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self._exporter.shutdown()  # ends its pauses
        self._thread.stop()

    def _work(self) -> float:
        begun = time.monotonic()
        data = self._adapter.metrics(self._collected(self._published()), time.time_ns())
        if begun < self._left_alone_until:
            self._note(number_of_points(data))
        else:
            self._push(data)
        return max(begun + self._interval - time.monotonic(), 0.0)

    def _push(self, data: MetricsData) -> None:
        self._answers.begin()
        taken = self._exporter.export(data) is MetricExportResult.SUCCESS
        if self._ending:
            return  # whatever became of it, nobody is to be told any more
        self._left_alone_until = time.monotonic() + min(self._answers.retry_after, LONGEST_REST)
        points = number_of_points(data)
        self._note(min(self._answers.rejected, points) if taken else points)
        self._tell(self._answers.problem)

    def _note(self, lost: int) -> None:
        before = self._pushed
        succeeded = before.last_success_timestamp if lost else time.time()
        self._collected.pushed = self._pushed = Pushed(succeeded, before.dropped_points + lost)

    def _tell(self, problem: str | None) -> None:
        """Log that it works, or each cause once until it does; what stands behind the colon may differ each time."""
        if problem is None:
            if self._told is None or self._told:
                log.info("pushing to %s every %g s", self._receiver, self._interval)
            self._told = set()
            return
        self._told = self._told or set()
        cause = problem.partition(":")[0]
        if cause not in self._told:
            self._told.add(cause)
            log.error("pushing to %s fails: %s; points are dropped until it goes on", self._receiver, problem)


def _longest_try(interval: float) -> float | None:
    """Return how long (s) a push is tried; None: as long as the environment says."""
    said = os.environ.get(OTEL_EXPORTER_OTLP_METRICS_TIMEOUT) or os.environ.get(OTEL_EXPORTER_OTLP_TIMEOUT)
    return None if said else min(LONGEST_TRY, interval)
