"""Everything that is shown of the published state, made once for all who ask: scrapes in either format, and OTLP."""

import threading
from collections.abc import Sequence
from dataclasses import replace

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.process_collector import ProcessCollector

from damon_exporter.metrics.prometheus import families
from damon_exporter.metrics.recent import Recent
from damon_exporter.state import NodeState, Pushed


class Collected:
    """The families of a state, and ``process_*``.

    ``process_*`` comes from this process' own /proc, whatever procfs the exporter watches, and is read when somebody
    first asks for a state. ``pushed`` is replaced by who pushes; None if nobody does.
    """

    def __init__(self) -> None:
        self.pushed: Pushed | None = None
        self._process = ProcessCollector(registry=None)
        self._lock = threading.Lock()
        self._families = Recent(self._collect)

    def __call__(self, state: NodeState) -> Sequence[Family]:
        """Return the families of a state, which nobody changes."""
        with self._lock:
            return self._families(state)

    def _collect(self, state: NodeState) -> Sequence[Family]:
        shown = replace(state, pushed=self.pushed) if self.pushed else state
        return (*families(shown), *self._process.collect())
