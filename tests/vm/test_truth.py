"""What the exporter says about workloads of known truth, on real kernels."""

import itertools
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from damon_exporter.analysis import idle
from damon_exporter.analysis.snapshot import U64, Regions, Snapshot
from damon_exporter.sources.recording import Recording, read_recording

from .exporter import MIB, Metrics, defragment, exporter_in_pod, free_damon, tree
from .guest import Guest, GuestProcess

WORKLOADS = "/workloads"
PAGE = 4096

PROCESS_AND_NODE = """
kernel: {settle: 0s}
monitors:
- name: process
  operations: vaddr
  processes: {match: [{comm: hotcold}]}
  intervals: {sample: 10ms, aggregation: 200ms, update: 1s}
  regions: {min: 50, max: 1000}  # the smaller they are, the less far do the young ages of borders spread by merging
- name: node
  operations: paddr
  intervals: {sample: 10ms, aggregation: 200ms, update: 1s}
  regions: {min: 100, max: 1000}  # with the usual ten, a region of 150 MiB may hold the hot and the idle buffer
export: {idle_age: [1s, 5s, 1m]}
"""

BESIDE = "/tmp/beside.damon"
OBSERVE = ("--config.file", "/tmp/observe.yaml", "-o", BESIDE, "--duration", "8s")
RECORD = ("python", "-m", "damon_exporter", "record", *OBSERVE)

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

ZIGZAG_DWELL = 10
"""For how many seconds each of the two areas is hot, and the other sleeps."""

PAGE_FRAMES = """
import json, struct, sys
frames = {}
with open(f"/proc/{sys.argv[1]}/pagemap", "rb") as pagemap:
    for name, area in json.loads(sys.argv[2]).items():
        pagemap.seek(area["start"] // 4096 * 8)
        pages = (area["end"] - area["start"]) // 4096
        entries = struct.unpack(f"{pages}Q", pagemap.read(pages * 8))
        frames[name] = [entry & (1 << 55) - 1 for entry in entries if entry >> 63]
print(json.dumps(frames))
"""


@contextmanager
def workload(guest: Guest, name: str, *options: str) -> Iterator[GuestProcess]:
    """Run a workload under its name until the block ends."""
    with guest.spawn(["python", f"{WORKLOADS}/{name}.py", "--comm", name, *options]) as process:
        process.first_line()
        yield process


@dataclass(frozen=True, slots=True)
class HotAndCold:
    """What was seen of a process with 64 MiB hot and 128 MiB idle."""

    before: list[Metrics]
    """Scrapes from before it was there."""
    scrapes: list[Metrics]
    """Twenty seconds of scrapes."""
    areas: dict[str, dict[str, int]]
    """Where the process says that its buffers are, ``hot`` and ``idle``."""
    frames: dict[str, list[int]]
    """The page frames that they lie in."""
    recording: Recording
    """Eight seconds, recorded beside the exporter meanwhile."""
    found: str
    """DAMON's tree and the trace instances, from before the exporter's start."""
    left: str
    """The same after its end."""


@pytest.fixture
def hot_and_cold(show: Callable[..., HotAndCold]) -> HotAndCold:
    return show(_watch_hot_and_cold)


def _watch_hot_and_cold(guest: Guest) -> HotAndCold:
    free_damon(guest)
    defragment(guest)
    found = tree(guest)
    with exporter_in_pod(guest, PROCESS_AND_NODE) as watching:
        watching.wait_for(lambda m: m.get("damon_working_set_bytes", monitor="node"), "node is watched")
        before = watching.watch(3)
        with workload(guest, "hotcold", "--hot", "64MiB", "--idle", "128MiB") as process:
            areas = json.loads(process.first_line())
            # DAMON needs some tens of aggregations to find the borders of the buffers.
            watching.wait_for(
                lambda m: (m.get("damon_snapshots_total", monitor="process") or 0) > 50,
                "the process is found by its comm",
            )
            guest.put("/tmp/observe.yaml", b"kernel: {control: never}")
            with guest.spawn(RECORD, uid0_nocaps=True) as recorder:
                scrapes = watching.watch(20)
                assert recorder.wait(90.0) == 0, recorder.stderr()
            frames = json.loads(guest.python(PAGE_FRAMES, str(process.pid), json.dumps(areas)).stdout)
    return HotAndCold(before, scrapes, areas, frames, _fetched(guest, BESIDE), found, tree(guest))


def _fetched(guest: Guest, path: str) -> Recording:
    with tempfile.NamedTemporaryFile() as copy:
        copy.write(guest.get(path))
        copy.flush()
        return read_recording(Path(copy.name))


def _median(scrapes: list[Metrics], name: str, **labels: str) -> float:
    return statistics.median(scrape.value(name, **labels) for scrape in scrapes)


def test_the_working_set_of_a_process_is_what_it_touches(hot_and_cold: HotAndCold) -> None:
    working_set = _median(hot_and_cold.scrapes, "damon_working_set_bytes", monitor="process", target="hotcold")
    assert 61 * MIB <= working_set <= 68 * MIB


def test_physical_memory_shows_the_same_hot_bytes(hot_and_cold: HotAndCold) -> None:
    with_it = _median(hot_and_cold.scrapes, "damon_working_set_bytes", monitor="node", target="physical")
    without = _median(hot_and_cold.before, "damon_working_set_bytes", monitor="node", target="physical")
    assert with_it >= 61 * MIB
    # Its pages do not all lie together, regions have borders beside them, and the recorder uses memory, too.
    assert with_it - without <= 128 * MIB


def test_bands_sum_to_the_monitored_bytes_exactly(hot_and_cold: HotAndCold) -> None:
    for scrape in hot_and_cold.scrapes:
        for monitor, target in (("process", "hotcold"), ("node", "physical")):
            bands = scrape.all("damon_access_band_bytes", monitor=monitor, target=target)
            assert len(bands) == 4
            assert sum(bands.values()) == scrape.value("damon_monitored_bytes", monitor=monitor, target=target)


def test_the_idle_buffer_is_idle_and_the_hot_one_is_not(hot_and_cold: HotAndCold) -> None:
    hot, cold = (_pages(**hot_and_cold.areas[name]) for name in ("hot", "idle"))
    assert _share_idle(hot_and_cold.recording, "vaddr", cold) >= 0.9
    assert _share_idle(hot_and_cold.recording, "vaddr", hot) <= 0.1


def test_the_pages_of_the_hot_buffer_are_hot_in_physical_memory_too(hot_and_cold: HotAndCold) -> None:
    hot, cold = (np.array(hot_and_cold.frames[name], np.uint64) * np.uint64(PAGE) for name in ("hot", "idle"))
    assert len(hot) * PAGE == 64 * MIB
    assert _share_idle(hot_and_cold.recording, "paddr", hot) <= 0.1
    # At any one time the borders are off by what DAMON has just split at random.
    latest = _of_monitor(hot_and_cold.recording, "paddr")[-20:]
    assert statistics.median(_share_accessed(snapshot, hot) for snapshot in latest) >= 0.9
    assert statistics.median(_share_accessed(snapshot, cold) for snapshot in latest) <= 0.25


@pytest.fixture
def patterns(show: Callable[..., list[Metrics]]) -> list[Metrics]:
    return show(_watch_patterns)


def _watch_patterns(guest: Guest) -> list[Metrics]:
    """Scrapes of zigzag and stairs, side by side, once DAMON has found the borders of their areas."""
    free_damon(guest)
    stairs = ("--areas", "5", "--area", "20MiB", "--dwell", "4")
    with (
        workload(guest, "zigzag", "--dwell", str(ZIGZAG_DWELL)),
        workload(guest, "stairs", *stairs),
        exporter_in_pod(guest, PATTERNS) as watching,
    ):
        watching.wait_for(lambda m: (m.get("damon_snapshots_total", monitor="stairs") or 0) > 20, "snapshots")
        return watching.watch(26, every=1.5)


def test_the_zigzag_percentiles_show_one_area(patterns: list[Metrics]) -> None:
    for percentile in ("25", "50"):
        shown = patterns[-1].value("damon_working_set_percentile_bytes", target="zigzag", percentile=percentile)
        assert shown / MIB == pytest.approx(95.4, rel=0.06)


def test_what_wakes_is_the_zigzag_area_that_has_slept_while_the_other_was_hot(patterns: list[Metrics]) -> None:
    def grown(name: str, **labels: str) -> float:
        first, last = (scrape.value(name, monitor="zigzag", **labels) for scrape in (patterns[0], patterns[-1]))
        return last - first

    turns = int(grown("damon_observed_seconds_total") // ZIGZAG_DWELL)
    up_to = {le: grown("damon_reaccess_idle_age_seconds_bucket", le=le) for le in ("5.0", "15.0", "+Inf")}
    # One turn more may have been seen, and of the first area to wake the sleep may have begun before anybody looked.
    # Where a region crosses a border, a part of the area is said to be hot all along.
    assert 0.6 * (turns - 1) <= (up_to["15.0"] - up_to["5.0"]) / MIB / 95.4 <= 1.2 * (turns + 1)
    assert turns >= 2
    assert up_to["+Inf"] - up_to["15.0"] <= 0.1 * up_to["15.0"]


def test_the_hot_step_of_the_stairs_moves_through_the_heatmap(patterns: list[Metrics]) -> None:
    hottest = _hottest_bins(patterns, "stairs")
    steps = [after - before for before, after in itertools.pairwise(hottest) if after != before]
    assert len(set(hottest)) >= 4, hottest
    # One area after the other, and from the last back to the first.
    assert sum(step > 0 for step in steps) >= 3, hottest
    assert sum(step < 0 for step in steps) >= 1, hottest


def _hottest_bins(scrapes: list[Metrics], monitor: str) -> list[int]:
    """The bin that was hottest between each two scrapes, beyond what it is usually: the interpreter's always is hot."""
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
    usual = {number: statistics.mean(rise[number] for rise in rises) for number in rises[0]}
    return [int(max(rise, key=lambda number: rise[number] - usual[number])) for rise in rises if max(rise.values()) > 0]


def _pages(start: int, end: int) -> U64:
    return np.arange(start, end, PAGE, dtype=np.uint64)


def _of_monitor(recording: Recording, operations: str) -> list[Snapshot]:
    kdamond = next(number for number, monitor in recording.monitors.items() if monitor.operations == operations)
    return [snapshot for snapshot in recording if snapshot.kdamond == kdamond]


def _share_accessed(snapshot: Snapshot, pages: U64) -> float:
    """Which share of the pages lies in regions with accesses?"""
    return float(np.mean(snapshot.regions.nr_accesses[_containing(snapshot.regions, pages)] > 0))


def _share_idle(recording: Recording, operations: str, pages: U64) -> float:
    """Which share of the pages has been idle for more than five seconds at the end of a monitor's recording?"""
    pieces = idle.NO_PIECES
    for snapshot in _of_monitor(recording, operations):
        assert snapshot.age_unit_us is not None
        ages, pieces = idle.carry(pieces, snapshot.regions, snapshot.age_unit_us, snapshot.age_unit_us)
    idle_us = ages.region_us[_containing(snapshot.regions, pages)]
    for start, end, younger_us in zip(ages.patches.start, ages.patches.end, ages.patches.idle_us, strict=True):
        idle_us[(start <= pages) & (pages < end)] = younger_us
    return float(np.mean(idle_us > 5e6))


def _containing(regions: Regions, pages: U64) -> NDArray[np.intp]:
    """The region that each page lies in."""
    region = np.searchsorted(regions.end, pages, side="right")
    assert (regions.start[region] <= pages).all(), "some of them are not monitored"
    return region


def test_a_recording_ends_in_a_file_that_can_be_read(hot_and_cold: HotAndCold) -> None:
    assert hot_and_cold.recording.damage is None
    assert len(hot_and_cold.recording) > 30


def test_the_kernel_is_as_it_was_when_the_pod_has_ended(hot_and_cold: HotAndCold) -> None:
    assert hot_and_cold.left == hot_and_cold.found
