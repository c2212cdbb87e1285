"""What `--dry-run` prints is what would be written, and nothing is."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from driving import Driven, everything, on_both, stage_somebodys
from running import ConfigFlag, path_flags, run
from written import WriteLog

from damon_exporter.testing.fake_kernel import FakeKernel

ACTING = """
kernel: {settle: 0s, allow_actions: true, takeover: [damon_stat]}
monitors:
- name: node
  operations: paddr
  intervals: {sample: 5ms, aggregation: 100ms}
  schemes: [{name: cold, action: pageout, access_pattern: {access_ratio: [0%, 0%], age: [1m, max]}}]
"""


def printed(kernel: FakeKernel, config: ConfigFlag, text: str) -> list[str]:
    done = run("--dry-run", config(text), *path_flags(kernel.paths))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@on_both
def test_nothing_is_written(kernel: FakeKernel, config: ConfigFlag) -> None:
    before = everything(kernel)
    printed(kernel, config, ACTING)
    assert everything(kernel) == before


def test_every_file_is_printed_that_is_written_then(
    fake_kernel: Callable[..., FakeKernel], config: ConfigFlag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_stat"])
    lines = [line for line in printed(kernel, config, ACTING) if not line.startswith("#")]
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    with Driven(kernel.paths, ACTING) as driven:
        driven.look()
        shown = {line: kernel.read(line.partition(": ")[0]) for line in lines if line.startswith("0/")}
        written = {f"0/{write.leaf}" for write in log.to_damon if write.slot == 0}
    tried = re.compile(r"0/contexts/0/schemes/0/(filters/|quotas/goal)")  # to find out what the kernel offers
    assert {line.partition(": ")[0] for line in shown} >= {file for file in written if not tried.match(file)}
    differing = {line for line, value in shown.items() if line.partition(": ")[2] != value}
    assert differing == set()
    assert f"{kernel.parameter('damon_stat', 'enabled')}: N" in lines


def test_without_damon_it_is_for_a_kernel_that_has_everything(config: ConfigFlag, tmp_path: Path) -> None:
    text = ACTING.replace("paddr", "paddr\n  ranges: [[1GiB, 2GiB]]")
    done = run("--dry-run", config(text), "--path.sysfs", str(tmp_path / "sys"), "--path.procfs", str(tmp_path))
    assert done.stdout.startswith(f"# {tmp_path}/sys/kernel/mm/damon/admin is not there: this is for a kernel that has")
    assert "0/contexts/0/schemes/1/action: pageout" in done.stdout


def test_a_slot_that_is_there_tells_which_files_there_are(kernel: FakeKernel, config: ConfigFlag) -> None:
    assert "this is for a kernel that has everything" in printed(kernel, config, ACTING)[0]
    stage_somebodys(kernel)
    kernel.write("0/contexts/0/schemes/nr_schemes", 1)
    assert "can only be tried by writing" in printed(kernel, config, ACTING)[0]


def test_who_is_in_the_way_is_named(fake_kernel: Callable[..., FakeKernel], config: ConfigFlag) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_stat"])
    assert not any("while it is so" in line for line in printed(kernel, config, ACTING))
    kept = ACTING.replace(", takeover: [damon_stat]", "")
    assert any("while it is so: damon_stat holds DAMON" in line for line in printed(kernel, config, kept))
    kernel.parameter("damon_stat", "enabled").write_text("N")
    stage_somebodys(kernel)
    assert any("while it is so: another tool has left" in line for line in printed(kernel, config, kept))


def test_a_monitor_that_would_not_start_says_why(kernel: FakeKernel, config: ConfigFlag) -> None:
    lines = printed(kernel, config, "monitors: [{name: db, operations: vaddr, processes: {match: [{comm: nobody}]}}]")
    assert any(re.match("# does not start now: no process matches", line) for line in lines)


def test_a_command_is_not_started(kernel: FakeKernel, config: ConfigFlag, tmp_path: Path) -> None:
    mark = tmp_path / "started"
    lines = printed(kernel, config, f"monitors: [{{name: x, operations: vaddr, command: [touch, {mark}]}}]")
    assert "0/contexts/0/targets/0/pid_target: (the pid of the command)" in lines
    assert not mark.exists()


def test_one_that_never_controls_says_so(kernel: FakeKernel, config: ConfigFlag) -> None:
    assert printed(kernel, config, "kernel: {control: never}") == ["# kernel.control is never: nothing is written"]
