"""Regions of our own kdamonds through sysfs, on fake kernels and on folders that were made by hand."""

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from driving import Driven
from written import WriteLog

from damon_exporter.analysis.snapshot import Intervals, Regions, Snapshot
from damon_exporter.config.loading import check
from damon_exporter.config.reading import parse
from damon_exporter.feeds import SysfsFeed
from damon_exporter.kernel.damon_sysfs import DamonTree
from damon_exporter.kernel.errors import KernelError, NotOurs, Unsupported
from damon_exporter.sources.sysfs import COLUMNS, Incomplete, TriedRegions, read_regions
from damon_exporter.testing.fake_kernel import FakeKernel

MIB = 1 << 20
GIB = 1 << 30
PHYSICAL = """
kernel: {settle: 0s}
monitors:
- {name: node, operations: paddr, ranges: [[1GiB, 2GiB]], intervals: {sample: 2ms, aggregation: 40ms}}
"""
TUNED = """
kernel: {settle: 0s}
monitors:
- {name: node, operations: paddr, ranges: [[1GiB, 2GiB]], intervals: {autotune: {}}}
"""
PROCESSES = """
kernel: {settle: 0s}
monitors:
- name: db
  operations: vaddr
  intervals: {sample: 2ms, aggregation: 40ms}
  processes: {match: [{comm: postgres}], group_by: "{pid}"}
"""


@pytest.fixture(params=["6.12", "7.3"])
def kernel(request: pytest.FixtureRequest, fake_kernel: Callable[..., FakeKernel]) -> FakeKernel:
    return fake_kernel(kernel=request.param)


Sampling = Callable[..., tuple[Driven, TriedRegions]]


@pytest.fixture
def sampling(kernel: FakeKernel) -> Iterator[Sampling]:
    """Starts our monitor and a reader of its regions."""
    running = []

    def start(configuration: str = PHYSICAL) -> tuple[Driven, TriedRegions]:
        driven = Driven(kernel.paths, configuration, sysfs_source=True)
        running.append(driven)
        (watched,) = driven.look().watched
        writer = driven.supervisor.writer
        assert writer
        slot = DamonTree(kernel.paths.damon_admin).slot(0)
        return driven, TriedRegions(slot, watched.pid, writer, watched.tuned, shortest_period=0.05)

    yield start
    for driven in running:
        driven.supervisor.end()


def next_snapshot(reader: TriedRegions) -> Snapshot:
    deadline = time.monotonic() + 10
    while not (found := reader.poll(time.monotonic())):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


def spans(regions: Regions, target: int = 0) -> list[tuple[int, int]]:
    mine = regions.target == target
    return list(zip(regions.start[mine].tolist(), regions.end[mine].tolist(), strict=True))


# A kernel


def test_the_regions_are_those_of_the_kernel(kernel: FakeKernel, sampling: Sampling) -> None:
    kernel.set_physical_heat([(GIB, GIB + 256 * MIB, 1.0)])
    driven, reader = sampling()
    before = time.monotonic_ns()
    found = next_snapshot(reader)
    hot = found.regions.nr_accesses > 0
    assert int(found.regions.sizes.sum()) == GIB
    assert int(found.regions.sizes[hot].sum()) == 256 * MIB
    assert set(found.regions.nr_accesses[hot].tolist()) == {20}
    assert found.intervals == Intervals(2_000, 40_000)
    assert found.kdamond == driven.own["node"].pid
    assert before < found.end_ns < time.monotonic_ns()


def test_regions_are_sorted_whatever_the_order_of_their_folders(kernel: FakeKernel, sampling: Sampling) -> None:
    _, reader = sampling()
    starts = next_snapshot(reader).regions.start
    assert np.all(np.diff(starts.astype(np.int64)) > 0)


def test_ages_grow_from_snapshot_to_snapshot(kernel: FakeKernel, sampling: Sampling) -> None:
    _, reader = sampling()
    first = next_snapshot(reader)
    second = next_snapshot(reader)
    assert second.end_ns > first.end_ns
    assert int(second.regions.age.max()) > int(first.regions.age.max())


def test_each_process_has_its_own_regions(kernel: FakeKernel, sampling: Sampling) -> None:
    for pid, start in ((42, 64 * MIB), (43, 640 * MIB)):
        kernel.add_process(
            pid, "postgres", memory=[(start, start + 16 * MIB, 1.0), (start + 16 * MIB, start + 64 * MIB, 0.0)]
        )
    driven, reader = sampling(PROCESSES)
    assert list(driven.own["db"].names) == ["42", "43"]
    regions = next_snapshot(reader).regions
    for target, start in ((0, 64 * MIB), (1, 640 * MIB)):
        mine = spans(regions, target)
        assert (mine[0][0], mine[-1][1]) == (start, start + 64 * MIB)
        hot = (regions.target == target) & (regions.nr_accesses > 0)
        assert int(regions.sizes[hot].sum()) == 16 * MIB


def test_tuned_intervals_are_those_in_force(fake_kernel: Callable[..., FakeKernel]) -> None:
    kernel = fake_kernel(kernel="7.3")
    kernel.set_physical_heat([])  # so that tuning makes them longer
    with Driven(kernel.paths, TUNED, sysfs_source=True) as driven:
        (watched,) = driven.look().watched
        assert watched.tuned
        assert driven.supervisor.writer
        slot = DamonTree(kernel.paths.damon_admin).slot(0)
        reader = TriedRegions(slot, watched.pid, driven.supervisor.writer, watched.tuned, shortest_period=0.05)
        time.sleep(0.5)
        try:
            found = next_snapshot(reader)
        except Incomplete:
            found = next_snapshot(reader)
        assert found.intervals
        assert found.intervals.aggregation_us > 100_000
        assert found.intervals.aggregation_us == 20 * found.intervals.sample_us


def test_the_next_reading_is_asked_for_only_after_a_pause(kernel: FakeKernel, sampling: Sampling) -> None:
    driven, _ = sampling()
    assert driven.supervisor.writer
    slot = DamonTree(kernel.paths.damon_admin).slot(0)
    patient = TriedRegions(slot, driven.own["node"].pid, driven.supervisor.writer, False, shortest_period=3600.0)
    next_snapshot(patient)
    kernel.fail("*/state", "write", errno.EIO)
    assert patient.poll(time.monotonic() + 3599) is None
    assert patient.poll(time.monotonic() + 3601) is None  # asked now
    with pytest.raises(KernelError):
        wait_for_answer(patient)


def test_a_reading_that_had_to_wait_is_followed_by_no_longer_pause(kernel: FakeKernel, sampling: Sampling) -> None:
    _, reader = sampling()
    kernel.delay("*/schemes/0/tried_regions/total_bytes", "read", 0.5, count=1)
    next_snapshot(reader)
    kernel.fail("*/state", "write", errno.EIO)
    assert reader.poll(time.monotonic() + 20) is None  # asked now
    with pytest.raises(KernelError):
        wait_for_answer(reader)


def wait_for_answer(reader: TriedRegions) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        reader.poll(0.0)
        time.sleep(0.005)


# Trouble


def test_no_command_goes_to_a_slot_that_is_not_ours_any_more(
    kernel: FakeKernel, sampling: Sampling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, reader = sampling()
    kernel.write("0/contexts/nr_contexts", 1)
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    with pytest.raises(NotOurs):
        next_snapshot(reader)
    assert log.writes == []


def test_no_command_goes_to_a_kdamond_that_somebody_has_started(kernel: FakeKernel, sampling: Sampling) -> None:
    _, reader = sampling()
    kernel.write("0/state", "off")
    kernel.write("0/state", "on")
    with pytest.raises(NotOurs):
        next_snapshot(reader)


def test_after_an_error_it_waits_before_it_asks_again(kernel: FakeKernel, sampling: Sampling) -> None:
    _, reader = sampling()
    kernel.write("0/contexts/nr_contexts", 1)
    with pytest.raises(NotOurs):
        next_snapshot(reader)
    assert reader.poll(reader.due - 0.01) is None
    assert not reader.asked
    with pytest.raises(NotOurs):
        next_snapshot(reader)


@pytest.mark.parametrize(
    ("name", "problem"), [("7.3", pytest.raises(KernelError, match="has ended")), ("6.12", pytest.raises(Incomplete))]
)
def test_a_kdamond_that_ends_while_it_is_asked_is_told(
    fake_kernel: Callable[..., FakeKernel], name: str, problem: AbstractContextManager[object]
) -> None:
    """Kernels before 6.14 answer with success, and with nothing."""
    kernel = fake_kernel(kernel=name)
    slow = PHYSICAL.replace("40ms", "20s")
    with Driven(kernel.paths, slow, sysfs_source=True) as driven:
        (watched,) = driven.look().watched
        assert driven.supervisor.writer
        slot = DamonTree(kernel.paths.damon_admin).slot(0)
        reader = TriedRegions(slot, watched.pid, driven.supervisor.writer, False, shortest_period=0.05)
        reader.poll(time.monotonic())
        time.sleep(0.3)
        kernel.kill_kdamond()
        with problem:
            wait_for_answer(reader)


def test_folders_that_vanish_while_they_are_read_are_no_crash(kernel: FakeKernel, sampling: Sampling) -> None:
    _, reader = sampling()
    next_snapshot(reader)
    kernel.fail("*/tried_regions/*/start", "read", errno.ENODEV)
    reader.poll(time.monotonic() + 60)
    with pytest.raises(KernelError, match="another tool has made the folder anew"):
        wait_for_answer(reader)


def test_the_feed_counts_what_is_not_whole_and_what_has_failed(kernel: FakeKernel, sampling: Sampling) -> None:
    driven, _ = sampling()
    config = check(parse(PHYSICAL))
    feed = SysfsFeed(kernel.paths, lambda: driven.supervisor.writer, config.export.publish / 100, "because")
    collected: list[object] = []

    def collect_until(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            feed.wait(0.01)
            collected.extend(feed.collect(driven.supervisor.roster, time.monotonic()))

    collect_until(lambda: collected)
    assert feed.up == {"tracepoint": False, "sysfs": True}
    assert feed.problems == ("because",)
    kernel.fail("*/total_bytes", "read", errno.EIO, count=1)
    collect_until(lambda: feed.errors["sysfs"])
    assert feed.incomplete == 0


def test_when_the_exporter_ends_nothing_is_asked_any_more_and_that_is_no_error(
    kernel: FakeKernel, sampling: Sampling
) -> None:
    driven, _ = sampling()
    feed = SysfsFeed(kernel.paths, lambda: driven.supervisor.writer, 0.01, "because")
    driven.supervisor.cease()
    for _ in range(10):
        assert feed.collect(driven.supervisor.roster, time.monotonic()) == []
        time.sleep(0.02)  # long enough for an answer
    assert not feed.errors


def test_a_problem_is_logged_once_until_it_changes_or_comes_back(
    kernel: FakeKernel, sampling: Sampling, caplog: pytest.LogCaptureFixture
) -> None:
    driven, _ = sampling()
    feed = SysfsFeed(kernel.paths, lambda: driven.supervisor.writer, 0.01, "because")

    def collect_until(condition: Callable[[list[object]], object]) -> None:
        deadline = time.monotonic() + 10
        while not condition(feed.collect(driven.supervisor.roster, time.monotonic())):
            assert time.monotonic() < deadline
            feed.wait(0.01)

    def fail(error: int, times: int) -> None:
        already = feed.errors["sysfs"]
        kernel.fail("*/total_bytes", "read", error, count=times)
        collect_until(lambda _: feed.errors["sysfs"] == already + times)

    fail(errno.EIO, times=3)
    fail(errno.EPERM, times=2)
    collect_until(lambda reports: reports)
    fail(errno.EPERM, times=2)
    assert [record.message.rsplit("(")[-1] for record in caplog.records] == ["EIO)", "EPERM)", "EPERM)"]


# Folders made by hand


def make_scheme(
    schemes: Path, index: int, regions: dict[str, tuple[int, int, int, int]], total: int | None = None
) -> None:
    folder = schemes / str(index) / "tried_regions"
    folder.mkdir(parents=True)
    size = sum(end - start for start, end, _, _ in regions.values())
    (folder / "total_bytes").write_text(f"{size if total is None else total}\n")
    for name, region in regions.items():
        (folder / name).mkdir()
        for column, value in zip(COLUMNS, region, strict=True):
            (folder / name / column).write_text(f"{value}\n")
    (schemes / "nr_schemes").write_text(f"{index + 1}\n")


def test_numbers_with_gaps_and_without_order_are_read(tmp_path: Path) -> None:
    make_scheme(tmp_path, 0, {"7": (0, 4096, 3, 5), "20": (8192, 12288, 0, 1), "100": (4096, 8192, 1, 2)})
    regions = read_regions(tmp_path, 1)
    assert spans(regions) == [(0, 4096), (4096, 8192), (8192, 12288)]
    assert regions.nr_accesses.tolist() == [3, 1, 0]
    assert regions.age.tolist() == [5, 2, 1]


def test_addresses_up_to_the_last_byte_are_exact(tmp_path: Path) -> None:
    make_scheme(tmp_path, 0, {"0": (2**63 + 1, 2**64 - 1, 2**32 - 1, 2**32 - 1)})
    regions = read_regions(tmp_path, 1)
    assert spans(regions) == [(2**63 + 1, 2**64 - 1)]
    assert regions.nr_accesses.tolist() == [2**32 - 1]


def test_regions_that_do_not_add_up_are_incomplete(tmp_path: Path) -> None:
    make_scheme(tmp_path, 0, {"0": (0, 4096, 0, 0)}, total=8192)
    with pytest.raises(Incomplete, match="do not add up to its total_bytes, 8192"):
        read_regions(tmp_path, 1)


@pytest.mark.parametrize("second", [(4096, 12288), (2**64 - 4096, 4096)], ids=["overlap", "end before they start"])
def test_regions_that_no_kernel_makes_are_incomplete(tmp_path: Path, second: tuple[int, int]) -> None:
    size = (8192 + second[1] - second[0]) % 2**64
    make_scheme(tmp_path, 0, {"0": (0, 8192, 0, 0), "1": (*second, 0, 0)}, total=size)
    with pytest.raises(Incomplete, match="overlap or end before they start"):
        read_regions(tmp_path, 1)


def test_regions_of_no_size_are_read_in_whatever_order(tmp_path: Path) -> None:
    """CVE-2025-38519."""
    make_scheme(tmp_path, 0, {"0": (0, 4096, 0, 0), "1": (0, 0, 0, 0), "2": (4096, 4096, 0, 0)})
    assert spans(read_regions(tmp_path, 1)) == [(0, 0), (0, 4096), (4096, 4096)]


def test_with_several_targets_the_last_schemes_are_theirs(tmp_path: Path) -> None:
    make_scheme(tmp_path, 0, {"0": (0, 4096, 0, 0)})
    make_scheme(tmp_path, 1, {"0": (0, 8192, 0, 0)})  # one that acts
    make_scheme(tmp_path, 2, {"0": (0, 4096, 1, 0)})
    make_scheme(tmp_path, 3, {})
    make_scheme(tmp_path, 4, {"1": (4096, 8192, 2, 0)})
    regions = read_regions(tmp_path, 3)
    assert regions.target.tolist() == [0, 2]
    assert regions.nr_accesses.tolist() == [1, 2]


def test_a_folder_that_is_gone_is_an_error_of_the_kernels(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        read_regions(tmp_path, 1)
    make_scheme(tmp_path, 0, {"0": (0, 4096, 0, 0)})
    (tmp_path / "0/tried_regions/0/age").unlink()
    with pytest.raises(Unsupported):
        read_regions(tmp_path, 1)
