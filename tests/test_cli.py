"""The command line: flags, exit codes, and a sentence for everything that a user can do wrong."""

import json
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from driving import everything
from jsonschema import Draft202012Validator
from running import QUICK, ConfigFlag, Running, path_flags, run
from written import WriteLog

from damon_exporter import __version__
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.testing.fake_kernel import FakeKernel

Start = Callable[..., FakeKernel]


# Bad input


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("monitor: []", ["monitor: unknown key; did you mean monitors?"]),
        ("kernel: {settle: 30}", ["kernel.settle: 30 has no unit"]),
        (
            "monitors:\n- {name: a, operations: paddr, regions: {min: 9, max: 8}}\n- {name: a, operations: paddr}",
            ["monitors[0].regions.max: 8 is less than min, 9", "monitors[1].name: 'a' names monitors[0] already"],
        ),
        ("kernel: [", ["line 1"]),
    ],
)
def test_a_bad_configuration_ends_with_2_and_all_problems_and_touches_nothing(
    kernel: FakeKernel,
    config: ConfigFlag,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    problems: list[str],
) -> None:
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    ended = run(*path_flags(kernel.paths), config(text), "--web.listen-address=127.0.0.1:0")
    assert ended.returncode == 2
    assert all(problem in ended.stderr for problem in problems), ended.stderr
    assert len(ended.stderr.splitlines()) == len(problems)
    assert log.writes == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config.file=/nowhere/config.yaml"],
        ["--no-such-flag"],
        ["no-such-command"],
        ["--web.listen-address=nowhere"],
        ["--web.telemetry-path=metrics"],
        ["--web.telemetry-path=/-/ready"],
        ["--log.level=loud"],
        ["--config.check", "config-schema"],
        ["record"],
        ["record", "-o", "file", "--pid", "0"],
        ["record", "-o", "file", "--pid", "1", "--monitor", "node"],
        ["record", "-o", "file", "--duration", "soon"],
        ["record", "-o", "file", "--duration", "0s"],
        ["record", "-o", "file", "--duration", ""],
        ["record", "-o", "file", "--", ""],
    ],
    ids=" ".join,
)
def test_bad_usage_ends_with_2_and_a_sentence(tmp_path: Path, arguments: list[str]) -> None:
    ended = run(*path_flags(KernelPaths(tmp_path, tmp_path, tmp_path)), *arguments, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_good_configuration_is_told_so(config: ConfigFlag) -> None:
    ended = run("--config.check", config(QUICK))
    assert (ended.returncode, ended.stdout) == (0, "the configuration is good\n")


@pytest.mark.parametrize("command", [["demo"], ["doctor"], ["record", "-o", "file"]], ids=" ".join)
def test_checking_the_configuration_is_all_that_a_command_does_then(
    config: ConfigFlag, tmp_path: Path, command: list[str]
) -> None:
    good = run("--config.check", config(QUICK), *command, cwd=tmp_path)
    assert (good.returncode, good.stdout) == (0, "the configuration is good\n")
    bad = run("--config.check", *command, config("monitor: []"), cwd=tmp_path)
    assert (bad.returncode, bad.stderr) == (2, "monitor: unknown key; did you mean monitors?\n")
    assert not (tmp_path / "file").exists()


def test_a_port_in_use_ends_with_1_before_the_kernel_is_touched(
    kernel: FakeKernel, config: ConfigFlag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run(*path_flags(kernel.paths), config(QUICK), f"--web.listen-address={address}")
    assert ended.returncode == 1
    assert "the port is in use; end the program that has it" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert log.writes == []


def test_insisting_on_a_tracepoint_that_is_not_there_ends_with_1_and_the_cure(
    kernel: FakeKernel, config: ConfigFlag, tmp_path: Path
) -> None:
    paths = KernelPaths(kernel.sysfs, kernel.procfs, tmp_path)
    before = everything(kernel)
    ended = run(
        *path_flags(paths), config("kernel: {source: tracepoint, settle: 0s}"), "--web.listen-address=127.0.0.1:0"
    )
    assert ended.returncode == 1
    assert "no tracefs is mounted there; mount it or set --path.tracefs" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert everything(kernel) == before


# Flags


def test_the_version_is_told() -> None:
    assert run("--version").stdout == f"damon-exporter, version {__version__}\n"


def test_the_schema_is_json_schema() -> None:
    Draft202012Validator.check_schema(json.loads(run("config-schema").stdout))


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_flags_may_stand_before_and_after_the_command(kernel: FakeKernel, config: ConfigFlag, before: bool) -> None:
    flags = [*path_flags(kernel.paths), config(QUICK.replace("node", "mine"))]
    ended = run(*flags, "doctor") if before else run("doctor", *flags)
    assert ended.returncode == 0, ended.stderr
    assert "kernel: 7.3.0-fake" in ended.stdout
    assert "[yes] monitor mine: will watch physical memory" in ended.stdout


def test_a_flag_after_the_command_wins(kernel: FakeKernel, tmp_path: Path) -> None:
    ended = run(f"--path.procfs={tmp_path}", "doctor", *path_flags(kernel.paths))
    assert "kernel: 7.3.0-fake" in ended.stdout


def test_serving_flags_may_stand_before_demo() -> None:
    with Running("--log.format=json", "demo") as running:
        assert "recording" in running.fetch("/")[1]
        assert json.loads(running.log.splitlines()[0])["level"] == "info"
        assert running.stop() == 0


# The doctor


TUNED = QUICK.replace("{sample: 5ms, aggregation: 100ms}", "{autotune: {max_sample: 1s}}")
INSTEAD = "sample 5ms and aggregation 100ms are used instead of autotune"


@pytest.mark.parametrize(
    ("release", "configuration", "mark"),
    [("6.12", TUNED, "[NO ]"), ("6.12", "", None), ("7.3", TUNED, None)],
    ids=["asked for in vain", "not asked for", "to be had"],
)
def test_the_doctor_says_what_is_used_if_intervals_cannot_be_tuned(
    fake_kernel: Start, config: ConfigFlag, release: str, configuration: str, mark: str | None
) -> None:
    ended = run("doctor", *path_flags(fake_kernel(kernel=release).paths), config(configuration))
    told = [line for line in unwrapped(ended.stdout) if INSTEAD in line]
    assert [line[:5] for line in told] == ([mark] if mark else [])


def test_the_doctor_does_not_know_whether_intervals_can_be_tuned_without_tracefs(
    kernel: FakeKernel, config: ConfigFlag, tmp_path: Path
) -> None:
    ended = run("doctor", *path_flags(KernelPaths(kernel.sysfs, kernel.procfs, tmp_path)), config(TUNED))
    (told,) = [line for line in unwrapped(ended.stdout) if INSTEAD in line]
    assert told.startswith("[ - ] intervals of node: tuned if the kernel can")


def unwrapped(findings: str) -> list[str]:
    """The doctor's lines, each as long as it likes."""
    return findings.replace("\n      ", " ").splitlines()
