"""Uses slot 0 of a fake kernel as any tool of DAMON would, one write(2) a value."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from damon_exporter.testing.fake_kernel import FakeKernel

MIB = 1 << 20
GIB = 1 << 30
CONTEXT = "0/contexts/0"
INTERVALS = f"{CONTEXT}/monitoring_attrs/intervals"
UINT = 2**32 - 1
ULONG = 2**64 - 1
Span = tuple[int, int]
Start = Callable[..., FakeKernel]
OLD, NEW = "6.12", "7.3"
both = pytest.mark.parametrize("name", [OLD, NEW])


def errno_of(call: Callable[[], object]) -> int | None:
    try:
        call()
    except OSError as error:
        return error.errno
    return None


def command(kernel: FakeKernel, word: str) -> int | None:
    """Write a command to slot 0; returns the errno, None for success."""
    return errno_of(lambda: kernel.write("0/state", word))


@contextmanager
def in_flight(kernel: FakeKernel, word: str) -> Iterator[Future[int | None]]:
    """A command of another process that takes a while."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(command, kernel, word)
        time.sleep(0.05)
        assert not pending.done()
        yield pending


def stage_physical(kernel: FakeKernel, *ranges: Span, slots: int = 1) -> None:
    """A paddr context in slot 0, of 1 GiB if nothing is said, that aggregates every 40 ms."""
    stage(kernel, "paddr", slots)
    kernel.write(f"{CONTEXT}/targets/nr_targets", 1)
    give_regions(kernel, 0, ranges or [(GIB, 2 * GIB)])


def stage_virtual(kernel: FakeKernel, *pids: int) -> None:
    """A vaddr context in slot 0 that aggregates every 40 ms."""
    stage(kernel, "vaddr", 1)
    kernel.write(f"{CONTEXT}/targets/nr_targets", len(pids))
    for index, pid in enumerate(pids):
        kernel.write(f"{CONTEXT}/targets/{index}/pid_target", pid)


def stage(kernel: FakeKernel, operations: str, slots: int) -> None:
    kernel.write("nr_kdamonds", slots)
    kernel.write("0/contexts/nr_contexts", 1)
    kernel.write(f"{CONTEXT}/operations", operations)
    set_intervals(kernel, sample_us=2_000, aggr_us=40_000)


def set_intervals(kernel: FakeKernel, **intervals: int) -> None:
    for name, value in intervals.items():
        kernel.write(f"{INTERVALS}/{name}", value)


def give_regions(kernel: FakeKernel, target: int, ranges: Sequence[Span]) -> None:
    folder = f"{CONTEXT}/targets/{target}/regions"
    kernel.write(f"{folder}/nr_regions", len(ranges))
    for index, (start, end) in enumerate(ranges):
        kernel.write(f"{folder}/{index}/start", start)
        kernel.write(f"{folder}/{index}/end", end)


def stage_schemes(kernel: FakeKernel, *nr_accesses: Span) -> None:
    """One stat scheme per span of nr_accesses; any size and age."""
    kernel.write(f"{CONTEXT}/schemes/nr_schemes", len(nr_accesses))
    for index, (least, most) in enumerate(nr_accesses):
        pattern = f"{CONTEXT}/schemes/{index}/access_pattern"
        kernel.write(f"{pattern}/nr_accesses/min", least)
        kernel.write(f"{pattern}/nr_accesses/max", most)
        kernel.write(f"{pattern}/sz/max", ULONG)
        kernel.write(f"{pattern}/age/max", UINT)


def tried(kernel: FakeKernel, scheme: int = 0) -> list[dict[str, int]]:
    """The tried regions of a scheme, by the number of their folder."""
    folder = kernel.kdamonds / f"{CONTEXT}/schemes/{scheme}/tried_regions"
    names = sorted((path.name for path in folder.iterdir() if path.is_dir()), key=int)
    files = ("start", "end", "nr_accesses", "age")
    return [{file: int((folder / name / file).read_text()) for file in files} for name in names]


def statistic(kernel: FakeKernel, name: str, scheme: int = 0) -> int:
    return int(kernel.read(f"{CONTEXT}/schemes/{scheme}/stats/{name}"))


def set_scheme(kernel: FakeKernel, files: Mapping[str, object], scheme: int = 0) -> None:
    """Write to files of a scheme."""
    for file, value in files.items():
        kernel.write(f"{CONTEXT}/schemes/{scheme}/{file}", value)


def add_filters(kernel: FakeKernel, folder: str, *filters: Mapping[str, object], scheme: int = 0) -> None:
    """Give a scheme filters of one kind."""
    kernel.write(f"{CONTEXT}/schemes/{scheme}/{folder}/nr_filters", len(filters))
    for index, files in enumerate(filters):
        set_scheme(kernel, {f"{folder}/{index}/{file}": value for file, value in files.items()}, scheme)


def statistics(kernel: FakeKernel, scheme: int = 0) -> dict[str, int]:
    """The counters of a scheme as they are now."""
    kernel.write("0/state", "update_schemes_stats")
    folder = kernel.kdamonds / f"{CONTEXT}/schemes/{scheme}/stats"
    return {path.name: int(path.read_text()) for path in folder.iterdir()}


def tried_bytes(kernel: FakeKernel, scheme: int = 0) -> int:
    """What the next application of all schemes tries."""
    kernel.write("0/state", "update_schemes_tried_bytes")
    return int(kernel.read(f"{CONTEXT}/schemes/{scheme}/tried_regions/total_bytes"))
