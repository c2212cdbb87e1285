"""Who has ended, of real processes through pidfds and of a folder of files by looking."""

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import wait_for

from damon_exporter.kernel import procfs
from damon_exporter.kernel.deaths import Deaths
from damon_exporter.kernel.procfs import Identity

PROC = Path("/proc")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def deaths() -> Iterator[Deaths]:
    deaths = Deaths(PROC)
    yield deaths
    deaths.close()


def identity(pid: int) -> Identity:
    found = procfs.process(PROC, pid)
    assert found is not None
    return found.pid, found.start_ticks


def opened() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_a_process_that_has_ended_is_told_although_it_is_not_reaped(
    deaths: Deaths, sleeper: subprocess.Popen[bytes]
) -> None:
    followed = identity(sleeper.pid)
    deaths.follow({followed})
    assert deaths.ended() == frozenset()
    sleeper.kill()
    wait_for(deaths.ended)
    assert deaths.ended() == {followed}


def test_a_process_that_has_been_reaped_stays_ended_until_it_is_not_asked_for(
    deaths: Deaths, sleeper: subprocess.Popen[bytes]
) -> None:
    ours, its = identity(os.getpid()), identity(sleeper.pid)
    deaths.follow({ours, its})
    sleeper.kill()
    sleeper.wait()
    assert deaths.ended() == {its}
    deaths.follow({ours})
    assert deaths.ended() == frozenset()


def test_one_that_has_ended_before_it_was_followed_is_told(deaths: Deaths, sleeper: subprocess.Popen[bytes]) -> None:
    its = identity(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    deaths.follow({its})
    assert deaths.ended() == {its}


def test_a_later_process_with_the_pid_is_not_the_one_that_was_meant(deaths: Deaths) -> None:
    pid, start_ticks = identity(os.getpid())
    deaths.follow({(pid, start_ticks - 1)})
    assert deaths.ended() == {(pid, start_ticks - 1)}


def test_whoever_is_not_followed_any_more_costs_no_file(deaths: Deaths, sleeper: subprocess.Popen[bytes]) -> None:
    before = opened()
    deaths.follow({identity(os.getpid()), identity(sleeper.pid)})
    assert opened() == before + 2
    deaths.follow(())
    assert opened() == before


def test_processes_that_would_take_too_many_files_are_looked_at(
    deaths: Deaths, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many follow processes, the files that may be open are for all of them together."""
    its, before = identity(sleeper.pid), opened()
    monkeypatch.setattr(Deaths, "open_pidfds", resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
    deaths.follow({its})
    assert (opened(), deaths.ended()) == (before, frozenset())
    sleeper.kill()
    wait_for(deaths.ended)
    assert deaths.ended() == {its}


def test_a_process_that_cannot_be_looked_at_for_now_is_not_taken_for_dead(tmp_path: Path) -> None:
    stat = tmp_path / "42" / "stat"
    stat.parent.mkdir()
    stat.symlink_to("stat")  # ELOOP: neither there nor not there
    assert procfs.lives(tmp_path, (42, 7))
    stat.unlink()
    assert not procfs.lives(tmp_path, (42, 7))


def test_a_folder_of_files_is_looked_at(tmp_path: Path) -> None:
    stat = tmp_path / "4711" / "stat"
    stat.parent.mkdir()
    fields = ["1", "0", "0", "0", "-1", "0", *["0"] * 12, "77", *["0"] * 30]
    stat.write_text(f"4711 (postgres) S {' '.join(fields)}\n")
    found = procfs.process(tmp_path, 4711)
    assert found is not None
    deaths = Deaths(tmp_path)
    deaths.follow({(4711, found.start_ticks)})
    assert deaths.ended() == frozenset()
    stat.write_text(f"4711 (postgres) Z {' '.join(fields)}\n")
    assert deaths.ended() == {(4711, found.start_ticks)}
    deaths.close()
