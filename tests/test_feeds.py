"""The sampler's sources as feeds: what they count and say when the kernel does not play along."""

import errno
import logging
import time
from collections.abc import Callable

import pytest
from driving import Driven

from damon_exporter.feeds import TraceFeed
from damon_exporter.testing.fake_kernel import FakeKernel

GIB = 1 << 30
MIB = 1 << 20

Start = Callable[..., FakeKernel]


def test_what_was_dropped_stays_counted_when_a_buffer_cannot_be_read(
    fake_kernel: Start, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = fake_kernel(cpus=1)
    kernel.set_physical_heat([(start, start + MIB, 1.0) for start in range(GIB, 2 * GIB, 4 * MIB)])
    feed = TraceFeed(kernel.paths, 1.0, "damon_exporter")
    (kernel.tracefs / "instances/damon_exporter/buffer_size_kb").write_text("16")  # overruns within a second
    with Driven(kernel.paths) as driven:
        roster = driven.look()
        deadline = time.monotonic() + 20
        while not feed.incomplete:
            assert time.monotonic() < deadline
            time.sleep(0.5)
            feed.collect(roster, time.monotonic())
        before = feed.incomplete

        kernel.fail("*/trace_pipe_raw", "read", errno.EIO, count=1)
        feed.collect(roster, time.monotonic())
        file = kernel.tracefs / "instances/damon_exporter/per_cpu/cpu0/trace_pipe_raw"
        assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
            f"cannot read {file}: Input/output error (EIO)"
        ]
        assert not feed.up["tracepoint"]

        feed.collect(roster, time.monotonic() + 60)  # by then it is tried again
        assert feed.up["tracepoint"]
        feed.collect(roster, time.monotonic())
        assert feed.incomplete >= before
    feed.close()


def test_buffers_that_cannot_grow_serve_on_and_are_tried_again(
    fake_kernel: Start, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = fake_kernel(cpus=1)
    feed = TraceFeed(kernel.paths, 1.0, "damon_exporter")
    size = kernel.tracefs / "instances/damon_exporter/buffer_size_kb"
    before = int(size.read_text())
    kernel.fail("*/damon_exporter/buffer_size_kb", "write", errno.ENOMEM, count=1)
    feed.expect(1e6)
    assert "the trace buffers stay as they are" in caplog.text
    assert feed.up["tracepoint"]
    assert int(size.read_text()) == before
    feed.expect(1e6)
    assert int(size.read_text()) > before
    feed.close()
