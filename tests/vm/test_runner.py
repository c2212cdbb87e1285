"""The runner itself: what later scenarios take for granted."""

import json
from collections.abc import Iterator

import pytest

from .channel import GuestGoneError, GuestTimeoutError
from .conftest import Guests
from .guest import CommandFailedError, Guest
from .initramfs import MissingToolError, required_program
from .kernels import find_kernel, newest_build, refreshed_archive

DAMON_STAT = "/sys/module/damon_stat/parameters/enabled"
SERIES_OF = {"guest_612": "6.12", "guest_73": "7.3"}


def test_the_guest_runs_a_kernel_of_the_wanted_series(guest: Guest) -> None:
    assert guest.run("uname -r").stdout.strip() == guest.kernel.release


def test_the_package_under_test_and_what_it_needs_can_be_imported(guest: Guest) -> None:
    modules = "numpy, prometheus_client, pydantic, yaml, click, uvicorn, bcrypt, damo, damon_exporter"
    guest.python(f"import {modules}")


def test_damon_can_be_controlled_and_traced(guest: Guest) -> None:
    admin, event = "/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds", "events/damon/damon_aggregated/format"
    assert guest.get(admin) == b"0\n"
    assert b"nr_accesses" in guest.get(f"/sys/kernel/tracing/{event}")


@pytest.fixture(scope="module")
def others(request: pytest.FixtureRequest) -> Iterator[Guests]:
    """Guests that no other module uses."""
    others = Guests(request.config)
    yield others
    others.close()


@pytest.fixture
def untouched_73(others: Guests) -> Guest:
    """A guest, with modules, on which nothing has been run."""
    return others.get("7.3")


def test_damon_stat_runs_from_boot_on_a_recent_kernel(untouched_73: Guest) -> None:
    assert untouched_73.get(DAMON_STAT) == b"Y\n"


def test_uid_0_without_capabilities_has_none_and_gets_none_back(guest: Guest) -> None:
    status = guest.run("grep -E '^(Uid|Cap|NoNewPrivs)' /proc/self/status", uid0_nocaps=True).stdout
    sets = dict(line.split(":\t", 1) for line in status.splitlines())
    assert sets.pop("Uid").split() == ["0"] * 4
    assert sets.pop("NoNewPrivs") == "1"
    assert {name: int(value, 16) for name, value in sets.items()} == dict.fromkeys(
        ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0
    )


def test_a_shared_guest_is_booted_by_one_worker_only(request: pytest.FixtureRequest) -> None:
    grouped = getattr(request.config.option, "loadgroup", False)
    for item in request.session.items:
        if item.get_closest_marker("vm") is None:
            continue
        wanted = {series for name, series in SERIES_OF.items() if name in item.fixturenames}
        if "guest" in item.fixturenames:
            wanted.add(item.callspec.params["guest"])
        assert len(wanted) <= 1, f"{item.nodeid} would boot one of {wanted} a second time"
        group = next(iter(wanted), "alone")
        assert item.get_closest_marker("xdist_group").args == (group,), item.nodeid
        assert item.nodeid.endswith(f"@{group}") or not grouped, item.nodeid


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


def test_modules_are_loaded_after_what_they_depend_on(untouched_73: Guest) -> None:
    assert "lz4hc_compress" in untouched_73.run("cat /proc/modules; ls /sys/block/zram0").stdout


def test_a_guest_that_is_gone_is_replaced(others: Guests, untouched_73: Guest) -> None:
    with pytest.raises(GuestGoneError):
        untouched_73.run("echo o > /proc/sysrq-trigger; sleep 60")
    another = others.get("7.3")
    assert another is not untouched_73
    assert another.run("uname -r").stdout.strip() == untouched_73.kernel.release


def test_a_panic_at_boot_is_shown_with_the_console() -> None:
    with pytest.raises(GuestGoneError, match=r"Kernel panic(?s:.*)Unable to mount root fs"):
        Guest(find_kernel("6.12"), append="rdinit=/nowhere")


def test_a_missing_program_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingToolError, match=r"qemu.* is not installed: run tools/system-packages.sh"):
        required_program("qemu-system-x86_64")


@pytest.mark.parametrize(
    ("series", "build"),
    [
        ("6.12", "6.12.107+deb13-cloud-amd64"),
        ("6.13", "6.16.3+deb13-cloud-amd64"),
        ("7.2", "7.2.6+deb14.1-cloud-amd64"),
        ("7.4", None),
    ],
)
def test_the_newest_build_of_the_series_or_else_of_the_next_is_taken(series: str, build: str | None) -> None:
    on_the_mirror = [
        "6.12.94+deb13-cloud-amd64",
        "6.12.107+deb13-cloud-amd64",
        "6.16.3+deb13-cloud-amd64",
        "7.2.6+deb14-cloud-amd64",
        "7.2.6+deb14.1-cloud-amd64",
    ]
    assert newest_build(series, on_the_mirror) == build


def test_a_silent_mirror_is_reported_and_the_cache_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_kernel("6.12")
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
    refreshed_archive.cache_clear()
    kernel = find_kernel("6.12")
    refreshed_archive.cache_clear()
    assert kernel.release == found.release
    assert "the mirror gave no new lists" in kernel.notices[0]


@pytest.mark.parametrize(
    ("program", "sizes"),
    [
        ("hotcold.py --hot 4MiB --idle 8MiB", [4 << 20, 8 << 20]),
        ("stairs.py", [10 << 20] * 10),
        ("zigzag.py", [100_003_840] * 2),
        ("mixed.py", [8 << 20, 160 << 20]),
    ],
)
def test_workloads_tell_their_name_and_where_their_memory_is(guest_612: Guest, program: str, sizes: list[int]) -> None:
    with guest_612.spawn(f"exec python /workloads/{program} --comm worker") as workload:
        told = json.loads(workload.first_line())
        areas = told.get("areas") or list(told.values())
        assert [area["end"] - area["start"] for area in areas] == sizes
        assert guest_612.get(f"/proc/{workload.pid}/comm") == b"worker\n"
        maps = guest_612.get(f"/proc/{workload.pid}/maps").decode()
    mapped = [tuple(int(edge, 16) for edge in line.split()[0].split("-")) for line in maps.splitlines()]
    for area in areas:
        assert any(start <= area["start"] and area["end"] <= end for start, end in mapped)
