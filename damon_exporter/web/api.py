"""The published state as JSON, for pages and scripts: ``/api/v1/state``, described in docs/api.md."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from damon_exporter import __version__
from damon_exporter.state import Histogram, MonitorState, NodeState, SchemeState, TargetState

VERSION = 1
"""Of the format: fields are added to it; if one changes its meaning there is another version under another path."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Whose details are asked for; without a name, everybody's."""

    monitor: str | None = None
    target: str | None = None

    def has(self, monitor: str, target: str) -> bool:
        """Is this target asked for?"""
        return self.monitor in (None, monitor) and self.target in (None, target)


def state_json(state: NodeState, chosen: Chosen) -> bytes:
    """Return it in ASCII; lone surrogates in names are escaped as JSON has it.

    What is not known is null. Heat and idle ages, which are long, are there only of the targets that are chosen.
    """
    told = {
        "version": VERSION,
        "exporter": __version__,
        "time": time.time(),
        "recording": state.recording,
        "ready": state.ready,
        "reasons": state.reasons,
        "kernel": state.kernel_release,
        "monitors": [_monitor(monitor, chosen) for monitor in state.monitors],
    }
    return json.dumps(told, separators=(",", ":")).encode("ascii")


def _monitor(monitor: MonitorState, chosen: Chosen) -> Json:
    intervals = monitor.intervals
    return {
        "name": monitor.name,
        "operations": monitor.operations,
        "source": monitor.source,
        "owner": monitor.owner,
        "up": monitor.up,
        "reason": monitor.reason,
        "restarts": monitor.restarts,
        "sample_interval_seconds": intervals.sample_us / 1e6 if intervals else None,
        "aggregation_interval_seconds": intervals.aggregation_us / 1e6 if intervals else None,
        "last_snapshot_age_seconds": monitor.last_snapshot_age_seconds,
        "kdamond_cpu_seconds_total": monitor.cpu_seconds,
        "targets": [_target(target, chosen.has(monitor.name, target.name)) for target in monitor.targets],
        "schemes": [_scheme(scheme) for scheme in monitor.schemes],
    }


def _target(target: TargetState, in_detail: bool) -> Json:
    told: Json = {
        "name": target.name,
        "monitored_bytes": target.monitored_bytes,
        "resident_bytes": target.resident_bytes,
        "regions": target.regions,
        "working_set_bytes": target.working_set_bytes,
        "working_set_percentiles": target.working_set_percentiles,
        "snapshots_total": target.snapshots,
        "observed_seconds_total": target.observed_seconds,
        "last_snapshot_timestamp_seconds": target.last_snapshot_timestamp,
        "bands": [{"name": band.name, "bytes": band.bytes} for band in target.bands or ()],
    }
    if in_detail:
        heatmap = target.heatmap
        told["idle_age"] = _histogram(target.idle_age)
        told["reaccess_idle_age"] = _histogram(target.reaccess_idle_age)
        told["heatmap"] = heatmap and {
            "bin_bytes": heatmap.bin_bytes,
            "access_seconds_total": heatmap.access_seconds,
        }
    return told


def _histogram(histogram: Histogram | None) -> Json | None:
    """Bytes per bucket, not cumulative; the last has no bound."""
    return histogram and {"bounds": histogram.bounds, "bytes": histogram.counts}


def _scheme(scheme: SchemeState) -> Json:
    return {
        "name": scheme.name,
        "action": scheme.action,
        "active": scheme.active,
        "counters": scheme.counters,
        "effective_quota_bytes": scheme.effective_quota_bytes,
        "goals": [{"metric": metric, "target_value": value} for metric, value in scheme.goals],
    }


def chosen_by(query: dict[str, list[str]]) -> Chosen:
    """Return what ``?monitor=…&target=…`` asks for."""

    def first(values: Sequence[str] | None) -> str | None:
        return values[0] if values else None

    return Chosen(first(query.get("monitor")), first(query.get("target")))
