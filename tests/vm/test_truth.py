"""What the exporter says about workloads of known truth, on real kernels."""

import itertools
import json
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from damon_exporter.analysis import idle
from damon_exporter.analysis.snapshot import Regions, Snapshot
from damon_exporter.sources.recording import Recording, read_recording

from .exporter import MIB, Metrics, exporter, free_damon
from .guest import Guest, GuestProcess

WORKLOADS = "/workloads"

PROCESS_AND_NODE = """
kernel: {settle: 0s}
monitors:
- name: process
  operations: vaddr
  processes: {match: [{comm: hotcold}]}
  intervals: {sample: 5ms, aggregation: 100ms, update: 1s}
  regions: {min: 20, max: 1000}
- name: node
  operations: paddr
  intervals: {sample: 5ms, aggregation: 100ms, update: 1s}
export: {idle_age: [1s, 5s, 1m]}
"""

PATTERNS = """
kernel: {settle: 0s}
monitors:
- name: zigzag
  operations: vaddr
  processes: {match: [{comm: zigzag}]}
  intervals: {sample: 5ms, aggregation: 100ms, update: 1s}
- name: stairs
  operations: vaddr
  processes: {match: [{comm: stairs}]}
  intervals: {sample: 5ms, aggregation: 100ms, update: 1s}
export: {heatmap: {processes: true}, working_set: {window: 15s}}
"""

PHYSICAL_PAGES = """
import json, struct, sys
area = json.loads(sys.argv[2])
with open(f"/proc/{sys.argv[1]}/pagemap", "rb") as pagemap:
    pagemap.seek(area["start"] // 4096 * 8)
    pages = (area["end"] - area["start"]) // 4096
    entries = struct.unpack(f"{pages}Q", pagemap.read(pages * 8))
print(json.dumps([entry & (1 << 55) - 1 for entry in entries if entry >> 63]))
"""


@contextmanager
def workload(guest: Guest, name: str, *options: str) -> Iterator[GuestProcess]:
    """Run a workload under its name until the block ends."""
    with guest.spawn(["python", f"{WORKLOADS}/{name}.py", "--comm", name, *options]) as process:
        process.first_line()
        yield process


@pytest.fixture(scope="module")
def hot_and_cold(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A process with 64 MiB hot and 128 MiB idle: twenty seconds of scrapes, then ten recorded beside the exporter."""
    free_damon(guest)
    with exporter(guest, PROCESS_AND_NODE) as watching:
        watching.wait_for(lambda m: m.get("damon_working_set_bytes", monitor="node"), "node is watched")
        before = watching.watch(3)
        with workload(guest, "hotcold", "--hot", "64MiB", "--idle", "128MiB") as process:
            areas = json.loads(process.first_line())
            # DAMON needs some tens of aggregations to find the borders of the buffers.
            watching.wait_for(
                lambda m: (m.get("damon_snapshots_total", monitor="process") or 0) > 80,
                "the process is found by its comm",
            )
            scrapes = watching.watch(20)
            guest.put("/tmp/observe.yaml", b"kernel: {control: never}")
            what = "--config.file /tmp/observe.yaml -o /tmp/beside.damon --duration 8s"
            guest.run(f"python -m damon_exporter record {what}", uid0_nocaps=True, timeout=90)
            hot_pages = json.loads(guest.python(PHYSICAL_PAGES, str(process.pid), json.dumps(areas["hot"])).stdout)
    path = tmp_path_factory.mktemp("recorded") / "beside.damon"
    path.write_bytes(guest.get("/tmp/beside.damon"))
    return {"before": before, "scrapes": scrapes, "areas": areas, "recording": path, "hot_pages": hot_pages}


def _median(scrapes: list[Metrics], name: str, **labels: str) -> float:
    return statistics.median(scrape.value(name, **labels) for scrape in scrapes)


def test_the_working_set_of_a_process_is_what_it_touches(hot_and_cold: dict[str, Any]) -> None:
    working_set = _median(hot_and_cold["scrapes"], "damon_working_set_bytes", monitor="process", target="hotcold")
    assert 61 * MIB <= working_set <= 68 * MIB


def test_physical_memory_shows_the_same_hot_bytes(hot_and_cold: dict[str, Any]) -> None:
    with_it = _median(hot_and_cold["scrapes"], "damon_working_set_bytes", monitor="node", target="physical")
    without = _median(hot_and_cold["before"], "damon_working_set_bytes", monitor="node", target="physical")
    assert with_it >= 61 * MIB
    assert with_it - without <= 96 * MIB  # its pages do not lie together, and regions have borders beside them


def test_the_pages_of_the_hot_buffer_are_hot_in_physical_memory_too(hot_and_cold: dict[str, Any]) -> None:
    recording = read_recording(hot_and_cold["recording"])
    node = next(number for number, monitor in recording.monitors.items() if monitor.operations == "paddr")
    addresses = np.asarray(hot_and_cold["hot_pages"], np.uint64) * np.uint64(4096)
    assert len(addresses) == 64 * 256
    latest = [snapshot.regions for snapshot in recording if snapshot.kdamond == node][-20:]
    assert statistics.median(_share_seen_accessed(regions, addresses) for regions in latest) >= 0.9


def _share_seen_accessed(regions: Regions, addresses: np.ndarray) -> float:
    """Which share of the addresses lies in regions with accesses?"""
    found = np.searchsorted(regions.end, addresses, side="right")
    inside = regions.start[found] <= addresses
    return float(np.mean(inside & (regions.nr_accesses[found] > 0)))


def test_bands_sum_to_the_monitored_bytes_exactly(hot_and_cold: dict[str, Any]) -> None:
    for scrape in hot_and_cold["scrapes"]:
        for monitor, target in (("process", "hotcold"), ("node", "physical")):
            bands = scrape.all("damon_access_band_bytes", monitor=monitor, target=target)
            assert len(bands) == 4
            assert sum(bands.values()) == scrape.value("damon_monitored_bytes", monitor=monitor, target=target)


def test_the_idle_buffer_is_idle_and_the_hot_one_is_not(hot_and_cold: dict[str, Any]) -> None:
    recording = read_recording(hot_and_cold["recording"])
    ages = _last_ages(recording)
    assert _share_older_than(ages, 5.0, **hot_and_cold["areas"]["idle"]) >= 0.9
    assert _share_older_than(ages, 5.0, **hot_and_cold["areas"]["hot"]) <= 0.1


@pytest.fixture(scope="module")
def patterns(guest: Guest) -> list[Metrics]:
    """Scrapes of zigzag and stairs, side by side, once DAMON has found the borders of their areas."""
    free_damon(guest)
    stairs = ("--areas", "5", "--area", "20MiB", "--dwell", "4")
    with (
        workload(guest, "zigzag", "--dwell", "10"),
        workload(guest, "stairs", *stairs),
        exporter(guest, PATTERNS) as watching,
    ):
        watching.wait_for(lambda m: (m.get("damon_snapshots_total", monitor="stairs") or 0) > 20, "snapshots")
        return watching.watch(26, every=1.5)


def test_the_zigzag_percentiles_show_one_area(patterns: list[Metrics]) -> None:
    for percentile in ("25", "50"):
        shown = patterns[-1].value("damon_working_set_percentile_bytes", target="zigzag", percentile=percentile)
        assert shown / MIB == pytest.approx(95.4, rel=0.06)


def test_the_hot_step_of_the_stairs_moves_through_the_heatmap(patterns: list[Metrics]) -> None:
    hottest = _hottest_bins(patterns, "stairs")
    steps = [after - before for before, after in itertools.pairwise(hottest) if after != before]
    assert len(set(hottest)) >= 4, hottest
    # One area after the other, and from the last back to the first.
    assert sum(step > 0 for step in steps) >= 3, hottest
    assert sum(step < 0 for step in steps) >= 1, hottest


def _hottest_bins(scrapes: list[Metrics], monitor: str) -> list[int]:
    """The bin that was hottest between each two scrapes."""
    heats = [
        {
            dict(labels)["bin"]: value
            for labels, value in scrape.all("damon_heatmap_access_seconds_total", monitor=monitor).items()
        }
        for scrape in scrapes
    ]
    rises = [
        {number: after[number] - before[number] for number in after} for before, after in itertools.pairwise(heats)
    ]
    return [int(max(rise, key=lambda number: rise[number])) for rise in rises if max(rise.values()) > 0]


def _last_ages(recording: Recording) -> tuple[Snapshot, idle.IdleAges]:
    pieces = idle.NO_PIECES
    process = next(number for number, monitor in recording.monitors.items() if monitor.operations == "vaddr")
    for snapshot in (snapshot for snapshot in recording if snapshot.kdamond == process):
        assert snapshot.age_unit_us is not None
        ages, pieces = idle.carry(pieces, snapshot.regions, snapshot.age_unit_us, snapshot.age_unit_us)
    return snapshot, ages


def _share_older_than(found: tuple[Snapshot, idle.IdleAges], seconds: float, start: int, end: int) -> float:
    """Which share of the bytes between two addresses has been idle for longer?"""
    snapshot, ages = found
    regions = snapshot.regions
    older = _overlap(regions.start, regions.end, start, end)[ages.region_us > seconds * 1e6].sum()
    patches = ages.patches
    recent = (patches.idle_us <= seconds * 1e6) & (ages.region_us[ages.patch_region] > seconds * 1e6)
    older -= _overlap(patches.start, patches.end, start, end)[recent].sum()
    return float(older) / (end - start)


def _overlap(starts: np.ndarray, ends: np.ndarray, start: int, end: int) -> np.ndarray:
    low, high = np.maximum(starts, start).astype(np.int64), np.minimum(ends, end).astype(np.int64)
    return np.maximum(high - low, 0)


def test_a_recording_ends_in_a_file_that_can_be_read(hot_and_cold: dict[str, Any]) -> None:
    assert isinstance(hot_and_cold["recording"], Path)
    recording = read_recording(hot_and_cold["recording"])
    assert recording.damage is None
    assert len(recording) > 100
