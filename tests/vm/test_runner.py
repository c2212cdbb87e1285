"""The runner itself: what later scenarios take for granted."""

import pytest

from .channel import GuestTimeoutError
from .guest import CommandFailedError, Guest


def test_the_guest_runs_a_kernel_of_the_wanted_series(guest: Guest) -> None:
    assert guest.run("uname -r").stdout.strip() == guest.kernel.release


def test_the_package_under_test_and_what_it_needs_can_be_imported(guest: Guest) -> None:
    modules = "numpy, prometheus_client, pydantic, yaml, click, cheroot.wsgi, damo, damon_exporter"
    guest.python(f"import {modules}")


def test_damon_can_be_controlled_and_traced(guest: Guest) -> None:
    admin, event = "/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds", "events/damon/damon_aggregated/format"
    assert guest.get(admin) == b"0\n"
    assert b"nr_accesses" in guest.get(f"/sys/kernel/tracing/{event}")


def test_damon_stat_runs_from_boot_on_a_recent_kernel(guest_73: Guest) -> None:
    assert guest_73.get("/sys/module/damon_stat/parameters/enabled") == b"Y\n"


def test_uid_0_without_capabilities_has_none_and_gets_none_back(guest: Guest) -> None:
    status = guest.run("grep -E '^(Uid|Cap|NoNewPrivs)' /proc/self/status", uid0_nocaps=True).stdout
    sets = dict(line.split(":\t", 1) for line in status.splitlines())
    assert sets.pop("Uid").split() == ["0"] * 4
    assert sets.pop("NoNewPrivs") == "1"
    assert {name: int(value, 16) for name, value in sets.items()} == dict.fromkeys(
        ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0
    )


def test_files_travel_unchanged_in_both_directions(guest: Guest) -> None:
    content = bytes(range(256)) * 100
    guest.put("/tmp/deep/er/file", content)
    assert guest.get("/tmp/deep/er/file") == content


def test_a_failed_command_shows_what_it_wrote(guest: Guest) -> None:
    with pytest.raises(CommandFailedError, match=r"exit code 3: (?s:.*)some cause"):
        guest.run("echo some cause >&2; exit 3")


def test_a_command_is_killed_when_its_time_is_up(guest: Guest) -> None:
    with pytest.raises(GuestTimeoutError, match=r"still running after 0.5 s: (?s:.*)half done"):
        guest.run("echo half done; sleep 1000", timeout=0.5)
    assert "sleep 1000" not in guest.run("ps").stdout


def test_commands_run_while_others_run(guest: Guest) -> None:
    with guest.spawn("echo started; sleep 1000") as background:
        assert background.first_line() == "started"
        assert background.poll() is None
        background.kill(15)
        assert background.wait() == -15
