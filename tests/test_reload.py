"""Reloads of a whole exporter against a fake kernel: by signal and by request, while somebody scrapes all the time."""

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import pytest
from driving import everything, on_both, wait_for
from running import Running, path_flags
from written import WriteLog

from damon_exporter.testing.fake_kernel import FakeKernel

GOOD = """
kernel: {settle: 0s, allow_actions: true, slots: 3}
export: {publish: 100ms}
monitors:
- name: a
  schemes: [{name: all, action: stat}]
  operations: paddr
  ranges: [[1GiB, 2GiB]]
  intervals: {sample: 5ms, aggregation: 100ms}
- {name: b, operations: paddr, ranges: [[1GiB, 2GiB]], intervals: {sample: 5ms, aggregation: 100ms}}
- {name: c, operations: paddr, ranges: [[1GiB, 2GiB]], intervals: {sample: 5ms, aggregation: 100ms}}
"""
CHANGED = GOOD.replace(
    "\n  intervals: {sample: 5ms, aggregation: 100ms}", "\n  intervals: {sample: 5ms, aggregation: 200ms}"
)
LARGER = CHANGED.replace(
    "name: b, operations: paddr, ranges: [[1GiB, 2GiB]]", "name: b, operations: paddr, ranges: [[1GiB, 3GiB]]"
)
END_OF_B = "1/contexts/0/targets/0/regions/0/end"
ACTING = GOOD.replace("action: stat", "action: pageout")
NAMES = ("a", "b", "c")
ALWAYS = ("damon_monitored_bytes", "damon_access_band_bytes", "damon_idle_age_seconds_gcount")
ALWAYS_OF = {"a": ("damon_scheme_tried_bytes_total", "damon_scheme_active")}


class Exporter(Running):
    """One whose file can be changed."""

    def __init__(self, kernel: FakeKernel, file: Path, *flags: str) -> None:
        self.file = file
        file.write_text(GOOD)
        super().__init__(*path_flags(kernel.paths), f"--config.file={file}", *flags)

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.push(self.__exit__)
            self.wait_for(lambda: all(self.value("damon_snapshots_total", monitor=name) for name in NAMES))
            self.wait_for(lambda: self.value("damon_scheme_tried_bytes_total", monitor="a"))
            undo.pop_all()
        return self

    def hang_up(self, text: str) -> None:
        """Change the file, and send SIGHUP."""
        self.file.write_text(text)
        os.kill(self.process.pid, signal.SIGHUP)

    def post(self, method: str = "POST") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, "/-/reload")
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def successful(self) -> float | None:
        return self.value("damon_exporter_config_last_reload_successful")

    def aggregation(self, monitor: str) -> float | None:
        return self.value("damon_aggregation_interval_seconds", monitor=monitor)


@pytest.fixture
def exporter(kernel: FakeKernel, tmp_path: Path) -> Iterator[Exporter]:
    with Exporter(kernel, tmp_path / "config.yaml", "--web.enable-lifecycle") as running:
        yield running


@contextmanager
def scraped_without_a_gap(exporter: Exporter) -> Iterator[None]:
    """Scrape as fast as it goes; afterwards every scrape must have had all monitors' numbers."""
    missing: list[str] = []
    scrapes = 0
    over = threading.Event()

    def scrape() -> None:
        nonlocal scrapes
        while not over.is_set():
            status, text = exporter.fetch("/metrics")
            scrapes += 1
            missing.extend(
                f"{status} {series} {name}"
                for name in NAMES
                for series in (*ALWAYS, *ALWAYS_OF.get(name, ()))
                if not any(line.startswith(f"{series}{{") and f'monitor="{name}"' in line for line in text.splitlines())
            )
            time.sleep(0.02)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
        time.sleep(1)
        wait_for(lambda: scrapes > 10)
    finally:
        over.set()
        thread.join()
    assert scrapes > 10
    assert missing == []


@on_both
def test_a_good_file_is_taken_over_on_sighup_without_a_gap(exporter: Exporter, kernel: FakeKernel) -> None:
    before = kernel.read("0/pid")
    loaded = exporter.value("damon_exporter_config_last_reload_success_timestamp_seconds")
    with scraped_without_a_gap(exporter):
        exporter.hang_up(CHANGED)
        exporter.wait_for(lambda: exporter.aggregation("a") == 0.2)
    assert exporter.successful() == 1
    assert (exporter.value("damon_exporter_config_last_reload_success_timestamp_seconds") or 0) > (loaded or 0)
    assert kernel.read("0/pid") == before
    assert exporter.stop() == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("monitors: [{name: a", "line 1"),
        (GOOD.replace("{name: b", "{name: a"), "names monitors\\[0\\] already"),
        (GOOD.replace("slots: 3", "slots: 3, source: sysfs"), "kernel.source cannot be changed by a reload"),
        (GOOD + "otlp: {endpoint: 'http://127.0.0.1:9/v1/metrics'}", "otlp cannot be changed by a reload"),
    ],
)
def test_a_bad_file_leaves_the_old_one_running_and_says_why(exporter: Exporter, text: str, problem: str) -> None:
    with scraped_without_a_gap(exporter):
        exporter.hang_up(text)
        exporter.wait_for(lambda: exporter.successful() == 0)
    assert "the old configuration runs on" in exporter.log
    assert all(exporter.value("damon_monitor_up", monitor=name) == 1 for name in NAMES)
    exporter.hang_up(CHANGED)
    exporter.wait_for(lambda: exporter.successful() == 1)


def test_a_bad_second_of_three_monitors_changes_none_of_them(exporter: Exporter, kernel: FakeKernel) -> None:
    pids = [kernel.read(f"{slot}/pid") for slot in range(3)]
    bad = CHANGED.replace(
        "{name: b,", "{name: b, schemes: [{name: s, action: pageout, ops_filters: [{type: memcg, path: /gone}]}],"
    )
    with scraped_without_a_gap(exporter):
        exporter.hang_up(bad)
        exporter.wait_for(lambda: exporter.successful() == 0)
    assert "the cgroup /gone, which is not there" in exporter.log
    assert exporter.aggregation("a") == 0.1
    assert [kernel.read(f"{slot}/pid") for slot in range(3)] == pids


def test_while_a_command_is_blocked_scrapes_go_on_and_the_reload_comes_after_it(
    exporter: Exporter, kernel: FakeKernel
) -> None:
    kernel.delay("*/kdamonds/1/state", "write", 3.0, count=1)
    with scraped_without_a_gap(exporter):
        exporter.hang_up(LARGER)
        exporter.wait_for(lambda: kernel.read(END_OF_B) == str(3 << 30))
        status, told = exporter.post()
        assert status == 409
        assert told.startswith("another reload is under way")
        exporter.wait_for(lambda: exporter.value("damon_monitored_bytes", monitor="b") == 2 << 30)
    assert exporter.successful() == 1


def test_who_hangs_up_during_a_reload_by_request_has_the_file_read_after_it(
    exporter: Exporter, kernel: FakeKernel
) -> None:
    kernel.delay("*/kdamonds/1/state", "write", 1.0, count=1)
    exporter.file.write_text(LARGER)
    asking = threading.Thread(target=exporter.post)
    asking.start()
    exporter.wait_for(lambda: kernel.read(END_OF_B) == str(3 << 30))
    exporter.hang_up(GOOD)
    asking.join()
    exporter.wait_for(lambda: kernel.read(END_OF_B) == str(2 << 30))


def test_a_monitor_that_begins_to_act_just_when_the_exporter_ends_is_stopped_all_the_same(
    kernel: FakeKernel, tmp_path: Path
) -> None:
    keep = "slots: 3, on_exit: keep"
    with Exporter(kernel, tmp_path / "config.yaml", "--web.enable-lifecycle") as exporter:
        exporter.file.write_text(GOOD.replace("slots: 3", keep))
        assert exporter.post()[0] == 200
        kernel.delay("*/kdamonds/0/state", "write", 3.0, count=1)
        changed = ACTING.replace("aggregation: 100ms", "aggregation: 200ms")
        exporter.file.write_text(changed.replace("slots: 3", keep))
        asking = threading.Thread(target=exporter.post)
        asking.start()
        exporter.wait_for(lambda: kernel.read("0/contexts/0/schemes/1/action") == "pageout")
        assert exporter.stop() == 0
        asking.join()
    assert [kernel.read(f"{slot}/state") for slot in range(3)] == ["off", "on", "on"]


def test_sigterm_breaks_a_reload_off_and_everything_is_as_it_was(
    kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(kernel)
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    with Exporter(kernel, tmp_path / "config.yaml") as exporter:
        kernel.delay("*/kdamonds/0/state", "write", 1.0, count=1)
        log.clear()
        exporter.hang_up(GOOD.replace("aggregation: 100ms", "aggregation: 200ms"))
        exporter.wait_for(lambda: log.commands)
        assert exporter.stop() == 0
        assert "the reload was broken off" in exporter.log
    commit, off = 0, [0, 1, 2]
    assert log.commands == [commit, *off]
    assert everything(kernel) == before


def test_a_pipe_is_not_read_again(exporter: Exporter) -> None:
    exporter.file.unlink()
    os.mkfifo(exporter.file)
    os.kill(exporter.process.pid, signal.SIGHUP)
    exporter.wait_for(lambda: exporter.successful() == 0)
    assert "is no regular file" in exporter.log
    assert exporter.stop() == 0


def test_what_is_published_changes_without_a_gap(exporter: Exporter) -> None:
    counted = exporter.value("damon_access_band_byte_seconds_total", monitor="a", band="idle")
    with scraped_without_a_gap(exporter):
        bands = "export: {publish: 100ms, bands: {idle: 0%, some: 50%, hot: 100%}, heatmap: {bins: 10}}"
        exporter.hang_up(GOOD.replace("export: {publish: 100ms}", bands))
        exporter.wait_for(lambda: exporter.value("damon_access_band_bytes", monitor="a", band="some") is not None)
    assert (exporter.value("damon_access_band_byte_seconds_total", monitor="a", band="idle") or 0) > (counted or 0)
    assert exporter.value("damon_access_band_bytes", monitor="a", band="cold") is None
    assert exporter.value("damon_heatmap_access_seconds_total", monitor="a", bin="10") is None


def test_a_reload_is_no_start_of_counters(exporter: Exporter) -> None:
    def since() -> tuple[float, list[float]]:
        state = json.loads(exporter.fetch("/api/v1/state")[1])
        targets = [target for monitor in state["monitors"] for target in monitor["targets"]]
        return state["started_timestamp_seconds"], [target["counting_since_timestamp_seconds"] for target in targets]

    before = since()
    assert time.time() - 60 < before[0] < min(before[1])
    exporter.hang_up(CHANGED)
    exporter.wait_for(lambda: exporter.aggregation("a") == 0.2)
    assert since() == before


def test_attribution_comes_and_goes(exporter: Exporter) -> None:
    exporter.hang_up(GOOD + "attribution: {interval: 1s, samples: 1024}\n")
    exporter.wait_for(lambda: exporter.value("damon_attribution_samples_total", monitor="a"))
    exporter.hang_up(GOOD)
    exporter.wait_for(lambda: exporter.value("damon_attribution_samples_total", monitor="a") is None)


def test_a_post_reloads_and_answers_how_it_went(exporter: Exporter) -> None:
    exporter.file.write_text(CHANGED)
    assert exporter.post() == (200, "reloaded\n")
    assert exporter.successful() == 1
    exporter.file.write_text("monitors: 1")
    status, told = exporter.post("PUT")
    assert status == 500
    assert told.startswith("monitors: ")
    exporter.wait_for(lambda: exporter.successful() == 0)
    assert exporter.post("GET")[0] == 405


def test_without_the_flag_nobody_reloads_by_a_request(kernel: FakeKernel, tmp_path: Path) -> None:
    with Exporter(kernel, tmp_path / "config.yaml") as exporter:
        exporter.file.write_text(CHANGED)
        status, told = exporter.post()
        assert status == 403
        assert "--web.enable-lifecycle" in told
        assert exporter.aggregation("a") == 0.1
