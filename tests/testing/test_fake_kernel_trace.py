"""Trace instances of the fake kernel, and the events that kdamonds send into them."""

import errno
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from staging import GIB, MIB, Start, errno_of, set_intervals, stage_physical, stage_virtual

from damon_exporter.kernel.trace_layout import EventFormat, PageLayout
from damon_exporter.kernel.trace_pages import Decoded, decode
from damon_exporter.testing.fake_kernel import FakeKernel

AGGREGATED = "damon_aggregated"
TUNED = "damon_monitor_intervals_tune"


def make_instance(kernel: FakeKernel, *events: str, name: str = "test") -> Path:
    """An instance whose readers wake at once, with these events on."""
    instance = kernel.tracefs / "instances" / name
    instance.mkdir()
    (instance / "buffer_percent").write_text("0")
    for event in events:
        (instance / f"events/damon/{event}/enable").write_text("1")
    return instance


@contextmanager
def pipes(instance: Path) -> Iterator[list[int]]:
    folders = sorted((instance / "per_cpu").iterdir())
    fds = [os.open(folder / "trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK) for folder in folders]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def read_all(fd: int) -> bytes:
    """What is there now, page by page."""
    found = b""
    while True:
        try:
            found += os.read(fd, 65536)
        except BlockingIOError:
            return found


def decoded(instance: Path, pages: bytes) -> Decoded:
    events = instance / "events"
    layout = PageLayout.parse((events / "header_page").read_text(), (events / "header_event").read_text())
    formats = [EventFormat.parse(path.read_text()) for path in sorted(events.glob("damon/*/format"))]
    return decode(pages, layout, formats)


def collect(instance: Path, seconds: float) -> list[Decoded]:
    """What every CPU gives in that time."""
    with pipes(instance) as fds:
        time.sleep(seconds)
        return [decoded(instance, read_all(fd)) for fd in fds]


@pytest.mark.parametrize("name", ["6.12", "7.3"])
def test_a_new_instance_is_complete_and_records_nothing(fake_kernel: Start, name: str) -> None:
    instance = fake_kernel(kernel=name, cpus=3).tracefs / "instances/new"
    instance.mkdir()
    assert (instance / "trace_clock").read_text().startswith("[local] global ")
    assert (instance / "buffer_size_kb").read_text() == "1410\n"
    assert (instance / "buffer_percent").read_text() == "50\n"
    assert (instance / "tracing_on").read_text() == "1\n"
    assert (instance / "events/damon/damon_aggregated/enable").read_text() == "0\n"
    assert sorted(path.name for path in (instance / "per_cpu").iterdir()) == ["cpu0", "cpu1", "cpu2"]


def test_the_event_that_tells_tuning_is_missing_in_6_12(fake_kernel: Start) -> None:
    there = [(fake_kernel(kernel=name).tracefs / f"events/damon/{TUNED}").exists() for name in ("6.12", "7.3")]
    assert there == [False, True]


def test_an_instance_cannot_be_removed_while_one_of_its_files_is_open(kernel: FakeKernel) -> None:
    instance = make_instance(kernel)
    with pipes(instance):
        assert errno_of(instance.rmdir) == errno.EBUSY
    instance.rmdir()
    assert not instance.exists()


def test_an_instance_cannot_be_made_twice(kernel: FakeKernel) -> None:
    instance = make_instance(kernel)
    assert errno_of(instance.mkdir) == errno.EEXIST


def test_the_clock_is_one_that_the_kernel_has(kernel: FakeKernel) -> None:
    instance = make_instance(kernel)
    (instance / "trace_clock").write_text("mono\n")
    assert "[mono]" in (instance / "trace_clock").read_text()
    assert errno_of(lambda: (instance / "trace_clock").write_text("sun")) == errno.EINVAL


def test_an_empty_pipe_answers_eagain(kernel: FakeKernel) -> None:
    with pipes(make_instance(kernel)) as fds:
        assert errno_of(lambda: os.read(fds[0], 4096)) == errno.EAGAIN


def test_epoll_wakes_when_events_arrive(kernel: FakeKernel) -> None:
    stage_physical(kernel)
    with pipes(make_instance(kernel, AGGREGATED)) as fds, select.epoll() as epoll:
        for fd in fds:
            epoll.register(fd, select.EPOLLIN)
        assert epoll.poll(0.1) == []
        kernel.write("0/state", "on")
        [(ready, events), *_] = epoll.poll(5)
        assert events == select.EPOLLIN
        assert len(os.read(ready, 65536)) == 4096


def test_with_a_buffer_percent_the_reader_sleeps_until_so_much_is_there(kernel: FakeKernel) -> None:
    stage_physical(kernel)
    instance = make_instance(kernel, AGGREGATED)
    (instance / "buffer_percent").write_text("100")
    with pipes(instance) as fds, select.epoll() as epoll:
        for fd in fds:
            epoll.register(fd, select.EPOLLIN)
        kernel.write("0/state", "on")
        assert epoll.poll(0.3) == []
        assert any(read_all(fd) for fd in fds)


def test_a_blocking_reader_gets_a_page_and_dies_by_a_signal(kernel: FakeKernel) -> None:
    stage_physical(kernel)
    instance = make_instance(kernel, AGGREGATED)
    reader = subprocess.Popen(["cat", instance / "per_cpu/cpu0/trace_pipe_raw"], stdout=subprocess.PIPE)
    assert reader.stdout is not None
    kernel.write("0/state", "on")
    assert len(reader.stdout.read(4096)) == 4096
    kernel.write("0/state", "off")
    reader.terminate()
    assert reader.wait(5) == -signal.SIGTERM
    reader.stdout.close()


def test_nothing_arrives_while_an_event_or_tracing_is_off(kernel: FakeKernel) -> None:
    stage_physical(kernel)
    instance = make_instance(kernel, AGGREGATED)
    kernel.write("0/state", "on")
    (instance / "tracing_on").write_text("0")
    with pipes(instance) as fds:
        for fd in fds:
            read_all(fd)
        time.sleep(0.2)
        assert [read_all(fd) for fd in fds] == [b"", b""]


@pytest.mark.parametrize("name", ["6.12", "7.3"])
def test_every_aggregation_arrives_whole_and_in_order(fake_kernel: Start, name: str) -> None:
    kernel = fake_kernel(kernel=name)
    stage_physical(kernel, (GIB, 2 * GIB), (3 * GIB, 4 * GIB))
    instance = make_instance(kernel, AGGREGATED)
    kernel.write("0/state", "on")
    per_cpu = [found.events[AGGREGATED] for found in collect(instance, 0.6)]
    ts = np.concatenate([events.ts for events in per_cpu])
    data = np.concatenate([events.data for events in per_cpu])[np.argsort(ts, kind="stable")]
    assert all(len(events) for events in per_cpu), "the kdamond stayed on one CPU"
    assert len(set(ts.tolist())) == len(ts)
    first = int(np.flatnonzero(data["start"] == GIB)[0])
    size = int(data["nr_regions"][0])
    whole = data[first:][: (len(data) - first) // size * size].reshape(-1, size)
    assert len(whole) >= 5
    assert (whole["nr_regions"] == size).all()
    assert (whole["common_pid"] == int(kernel.read("0/pid"))).all()
    assert ((whole["end"] - whole["start"]).sum(axis=1) == 2 * GIB).all()
    assert (np.diff(whole["start"].astype(np.int64), axis=1) > 0).all()


def test_time_stamps_are_of_the_monotonic_clock(kernel: FakeKernel) -> None:
    stage_physical(kernel)
    instance = make_instance(kernel, AGGREGATED)
    before = time.monotonic_ns()
    kernel.write("0/state", "on")
    ts = np.concatenate([found.events[AGGREGATED].ts for found in collect(instance, 0.3)])
    assert before < ts.min() <= ts.max() < time.monotonic_ns()


def test_every_target_has_its_index(kernel: FakeKernel) -> None:
    kernel.add_process(42, "one", memory=[(GIB, 2 * GIB, 1.0)])
    kernel.add_process(43, "two", memory=[(3 * GIB, 4 * GIB, 0.0)])
    stage_virtual(kernel, 42, 43)
    instance = make_instance(kernel, AGGREGATED)
    kernel.write("0/state", "on")
    data = np.concatenate([found.events[AGGREGATED].data for found in collect(instance, 0.3)])
    assert set(data["nr_accesses"][data["target_id"] == 0].tolist()) == {20}
    assert set(data["nr_accesses"][data["target_id"] == 1].tolist()) == {0}


def test_ages_grow_by_one_an_aggregation(kernel: FakeKernel) -> None:
    kernel.set_physical_heat([])
    stage_physical(kernel)
    instance = make_instance(kernel, AGGREGATED)
    kernel.write("0/state", "on")
    data = np.concatenate([found.events[AGGREGATED].data for found in collect(instance, 0.4)])
    ages = sorted(set(data["age"].tolist()))
    assert ages == list(range(1, len(ages) + 1))
    assert len(ages) > 3


def test_a_tuned_kdamond_tells_its_new_sampling_interval(kernel: FakeKernel) -> None:
    kernel.set_physical_heat([])
    stage_physical(kernel)
    goal = {"access_bp": 400, "aggrs": 1, "min_sample_us": 1_000, "max_sample_us": 8_000}
    set_intervals(kernel, **{f"intervals_goal/{name}": value for name, value in goal.items()})
    instance = make_instance(kernel, AGGREGATED, TUNED)
    kernel.write("0/state", "on")
    told = [found.events[TUNED] for found in collect(instance, 0.6)]
    order = np.argsort(np.concatenate([events.ts for events in told]))
    assert np.concatenate([events.data["sample_us"] for events in told])[order].tolist()[:3] == [4_000, 8_000, 8_000]


def test_a_filter_lets_one_kdamond_through(kernel: FakeKernel) -> None:
    stage_physical(kernel)
    instance = make_instance(kernel, AGGREGATED)
    kernel.write("0/state", "on")
    pid = int(kernel.read("0/pid"))
    filter_file = instance / "events/damon/damon_aggregated/filter"
    filter_file.write_text(f"common_pid == {pid + 1}")
    with pipes(instance) as fds:
        for fd in fds:
            read_all(fd)
        time.sleep(0.2)
        assert [read_all(fd) for fd in fds] == [b"", b""]
        filter_file.write_text(f"common_pid == {pid + 1} || common_pid == {pid}")
        time.sleep(0.2)
        assert any(read_all(fd) for fd in fds)
    assert errno_of(lambda: filter_file.write_text("age > old")) == errno.EINVAL


def test_a_full_buffer_overwrites_its_oldest_pages_and_counts_them(fake_kernel: Start) -> None:
    kernel = fake_kernel(cpus=1)
    kernel.set_physical_heat([(start, start + MIB, 1.0) for start in range(GIB, 2 * GIB, 4 * MIB)])
    stage_physical(kernel)
    instance = make_instance(kernel, AGGREGATED)
    (instance / "buffer_size_kb").write_text("16")
    kernel.write("0/state", "on")
    time.sleep(0.4)
    (instance / "tracing_on").write_text("0")
    overrun = int(re.findall(r"^overrun: (\d+)$", (instance / "per_cpu/cpu0/stats").read_text(), re.MULTILINE)[0])
    with pipes(instance) as [fd]:
        pages = read_all(fd)
    assert len(pages) // 4096 <= 5
    assert overrun > 0
    assert decoded(instance, pages).lost == overrun


def test_stats_count_what_is_there_and_what_was_read(fake_kernel: Start) -> None:
    kernel = fake_kernel(cpus=1)
    stage_physical(kernel)
    instance = make_instance(kernel, AGGREGATED)
    kernel.write("0/state", "on")
    time.sleep(0.2)
    (instance / "tracing_on").write_text("0")
    stats = instance / "per_cpu/cpu0/stats"
    before = dict(line.split(": ") for line in stats.read_text().splitlines())
    with pipes(instance) as [fd]:
        events = decoded(instance, read_all(fd)).events[AGGREGATED]
    after = dict(line.split(": ") for line in stats.read_text().splitlines())
    assert (int(before["entries"]), int(before["read events"])) == (len(events), 0)
    assert (int(after["entries"]), int(after["read events"])) == (0, len(events))


def test_instances_do_not_take_events_from_each_other(kernel: FakeKernel) -> None:
    stage_physical(kernel)
    instances = [make_instance(kernel, AGGREGATED, name=name) for name in ("one", "two")]
    kernel.write("0/state", "on")
    time.sleep(0.2)
    kernel.write("0/state", "off")
    one, two = ([cpu.events[AGGREGATED].data for cpu in collect(instance, 0)] for instance in instances)
    assert [data.tolist() for data in one] == [data.tolist() for data in two] != [[], []]
