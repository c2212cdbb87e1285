"""From the records of single targets to the snapshots of whole kdamonds."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from damon_exporter.analysis.snapshot import Regions, Snapshot
from damon_exporter.sources.recording.model import RecordedMonitor
from damon_exporter.sources.recording.record import Part, Record

LEAST_POINTER = 2**32
"""Greater target ids are kernel pointers (Linux up to 5.16); what they stand for is their order."""

LARGEST_KDAMONDS_FILE = 2**20

TargetParts = list[tuple[int, Part]]
"""Parts of one kdamond, each with its target index."""

Group = dict[int, Part]
"""What all targets of a kdamond show of one aggregation, by target index."""

NEVER_NS, FOREVER_NS = -1, 2**63


def join_records(records: Iterable[Record], path: Path) -> tuple[tuple[Snapshot, ...], dict[int, RecordedMonitor], int]:
    """Return the whole snapshots of all kdamonds in time order, what is told of each kdamond, how many lack targets.

    Kdamonds are numbered in the order in which the file names them. Records of the same target are one
    behind the other, as `damo record --snapshot` writes one record per snapshot.
    """
    kdamonds: dict[tuple[int, int, int | None], list[Record]] = {}
    for record in records:
        if record.parts or record.cut_off:
            kdamonds.setdefault(record.kdamond, []).append(record)
    operations = _operations_beside(path)
    monitors = {}
    snapshots: list[Snapshot] = []
    incomplete = 0
    for number, (key, own) in enumerate(kdamonds.items()):
        targets = _target_indexes(own)
        parts = [(target, part) for record, target in zip(own, targets, strict=True) for part in record.parts]
        groups = list(_groups(parts))
        until_ns = _whole_until_ns(own, targets)
        whole = [group for group in groups if min(part.end_ns for part in group.values()) <= until_ns]
        incomplete += len(groups) - len(whole)
        if whole:
            monitors[number] = _monitor(own, targets, operations.get(key[:2], ""))
        snapshots += [_snapshot(group, number) for group in whole]
    snapshots.sort(key=lambda snapshot: snapshot.end_ns)
    return tuple(snapshots), monitors, incomplete


def _whole_until_ns(records: list[Record], targets: list[int]) -> int:
    """Return the time up to which nothing is missing of a kdamond's targets, as far as the file tells.

    One target stands behind the other, so a file that ends early has all of the first and none of the last.
    """
    if set(records[0].own.targets) - set(targets):
        return NEVER_NS
    if records[-1].whole:
        return FOREVER_NS
    of_last = (record for record, target in zip(records, targets, strict=True) if target == targets[-1])
    return max((part.end_ns for record in of_last for part in record.parts), default=NEVER_NS)


def _target_indexes(records: list[Record]) -> list[int]:
    """Return the target index of each record: its target id, unless that is a pointer or was not known."""
    ids = [record.fields.get("target_id") or 0 for record in records]
    if all(0 <= each < LEAST_POINTER for each in ids):
        return ids
    order = {each: index for index, each in enumerate(dict.fromkeys(ids))}
    return [order[each] for each in ids]


def _monitor(records: list[Record], targets: list[int], operations: str) -> RecordedMonitor:
    names = {target: record.own.target for record, target in zip(records, targets, strict=True)}
    first = records[0]
    if first.fields.get("data_source") == "damon_stat":
        return RecordedMonitor("damon_stat", "paddr", {})
    return RecordedMonitor(
        name=first.own.monitor,
        operations=first.own.operations or operations,
        targets={target: name for target, name in sorted(names.items()) if name},
    )


def _groups(parts: TargetParts) -> Iterator[Group]:
    """Put the targets of each aggregation together: DAMON traces them one right after the other."""
    parts.sort(key=lambda pair: pair[1].end_ns)
    group: Group = {}
    latest_end = 0
    for target, part in parts:
        if group and (target in group or part.end_ns > latest_end):
            yield group
            group = {}
        if not group:
            latest_end = part.end_ns + _half_aggregation_ns(part)
        group[target] = part
    if group:
        yield group


def _half_aggregation_ns(part: Part) -> int:
    if part.intervals:
        return part.intervals.aggregation_us * 1000 // 2
    return (part.end_ns - part.start_ns) // 2


def _snapshot(group: Group, kdamond: int) -> Snapshot:
    parts = [group[target] for target in sorted(group)]
    target = np.repeat(np.array(sorted(group), np.uint32), [len(part.start) for part in parts])
    regions = Regions(
        target=target,
        start=np.concatenate([part.start for part in parts]),
        end=np.concatenate([part.end for part in parts]),
        nr_accesses=np.concatenate([part.nr_accesses for part in parts]),
        age=np.concatenate([part.age for part in parts]),
    )
    end_ns = max(part.end_ns for part in parts)
    without_regions = tuple(target for target in sorted(group) if not len(group[target].start))
    return Snapshot(kdamond, end_ns, regions, parts[0].intervals, parts[0].age_unit_us, without_regions)


def _operations_beside(path: Path) -> dict[tuple[int, int], str]:
    """Return the operations per kdamond and context from the ``.kdamonds`` file that damo writes beside."""
    try:
        with path.with_name(f"{path.name}.kdamonds").open("rb") as file:
            kdamonds = json.loads(file.read(LARGEST_KDAMONDS_FILE))
        return {
            (k, c): str(context["ops"])
            for k, kdamond in enumerate(kdamonds)
            for c, context in enumerate(kdamond["contexts"])
        }
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}  # A recording can do without.
