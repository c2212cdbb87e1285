"""Where System RAM is, by the firmware's map and by the memory blocks that are online."""

from collections.abc import Callable
from pathlib import Path

import pytest

from damon_exporter.kernel.errors import Unsupported
from damon_exporter.kernel.memory import SystemRam, free_permil, system_ram
from damon_exporter.testing.fake_kernel import FakeKernel

MIB = 1 << 20
GIB = 1 << 30
BLOCK = 128 * MIB


def firmware(sysfs: Path, *entries: tuple[int, int, str]) -> None:
    """Entries as (first byte, last byte, type), as the firmware states them."""
    for index, (start, last, kind) in enumerate(entries):
        folder = sysfs / f"firmware/memmap/{index}"
        folder.mkdir(parents=True)
        for name, text in (("start", f"{start:#x}"), ("end", f"{last:#x}"), ("type", kind)):
            (folder / name).write_text(f"{text}\n")


def blocks(sysfs: Path, *ranges: tuple[int, int], state: str = "online") -> None:
    memory = sysfs / "devices/system/memory"
    memory.mkdir(parents=True, exist_ok=True)
    (memory / "block_size_bytes").write_text(f"{BLOCK:x}\n")
    for start, end in ranges:
        for number in range(start // BLOCK, end // BLOCK):
            folder = memory / f"memory{number}"
            folder.mkdir()
            (folder / "state").write_text(f"{state}\n")


@pytest.mark.parametrize("name", ["6.12", "7.3"])
def test_the_ranges_of_a_machine_are_found_without_any_capability(
    fake_kernel: Callable[..., FakeKernel], name: str
) -> None:
    assert system_ram(fake_kernel(kernel=name).sysfs) == (
        (0x1000, 0x9F000),
        (0x100000, 0xC0000000),
        (0x1_0000_0000, 0x1_4000_0000),
    )


def test_only_system_ram_counts(tmp_path: Path) -> None:
    firmware(
        tmp_path, (0, GIB - 1, "System RAM"), (GIB, 2 * GIB - 1, "Reserved"), (4 * GIB, 5 * GIB - 1, "ACPI Tables")
    )
    assert system_ram(tmp_path) == ((0, GIB),)


def test_ranges_are_sorted_and_those_that_touch_are_one(tmp_path: Path) -> None:
    firmware(
        tmp_path, (GIB, 2 * GIB - 1, "System RAM"), (4 * GIB, 5 * GIB - 1, "System RAM"), (0, GIB - 1, "System RAM")
    )
    assert system_ram(tmp_path) == ((0, 2 * GIB), (4 * GIB, 5 * GIB))


def test_pages_that_the_firmware_cuts_are_left_out(tmp_path: Path) -> None:
    firmware(tmp_path, (0x1234, 0x9FBFF, "System RAM"), (0x100_0800, 0x100_0FFF, "System RAM"))
    assert system_ram(tmp_path) == ((0x2000, 0x9F000),)


def test_a_page_that_two_entries_share_is_memory(tmp_path: Path) -> None:
    firmware(tmp_path, (0, 0x17FF, "System RAM"), (0x1800, 0x2FFF, "System RAM"))
    assert system_ram(tmp_path) == ((0, 0x3000),)


def test_without_the_firmwares_map_the_blocks_are_taken(tmp_path: Path) -> None:
    blocks(tmp_path, (0, 3 * GIB), (4 * GIB, 5 * GIB))
    assert system_ram(tmp_path) == ((0, 3 * GIB), (4 * GIB, 5 * GIB))


def test_blocks_that_are_offline_are_no_memory(tmp_path: Path) -> None:
    blocks(tmp_path, (0, GIB))
    blocks(tmp_path, (GIB, 2 * GIB), state="offline")
    assert system_ram(tmp_path) == ((0, GIB),)


def test_memory_that_was_taken_away_is_cut_off(tmp_path: Path) -> None:
    firmware(tmp_path, (0x1000, 2 * GIB - 1, "System RAM"))
    blocks(tmp_path, (0, GIB))
    assert system_ram(tmp_path) == ((0x1000, GIB),)


@pytest.mark.parametrize("plugged", [GIB, 4 * GIB], ids=["right behind", "further up"])
def test_memory_that_was_plugged_in_is_added(tmp_path: Path, plugged: int) -> None:
    firmware(tmp_path, (0x1000, GIB - 1, "System RAM"))
    blocks(tmp_path, (0, GIB), (plugged, plugged + GIB))
    found = system_ram(tmp_path)
    assert found[0][0] == 0x1000
    assert sum(end - start for start, end in found) == 2 * GIB - 0x1000
    assert found[-1][1] == plugged + GIB


def test_holes_inside_a_block_stay_holes(tmp_path: Path) -> None:
    firmware(tmp_path, (0x1000, 0x9EFFF, "System RAM"), (MIB, BLOCK - MIB - 1, "System RAM"))
    blocks(tmp_path, (0, BLOCK))
    assert system_ram(tmp_path) == ((0x1000, 0x9F000), (MIB, BLOCK - MIB))


@pytest.mark.parametrize("states", [("offline", "online"), ("going-offline", "online")])
def test_memory_that_goes_offline_and_comes_back_is_noticed(tmp_path: Path, states: tuple[str, str]) -> None:
    firmware(tmp_path, (0x1000, GIB - 1, "System RAM"))
    blocks(tmp_path, (0, GIB))
    ram = SystemRam(tmp_path)
    assert ram.ranges() == ((0x1000, GIB),)
    for state, end in zip(states, (GIB - BLOCK, GIB), strict=True):
        (tmp_path / "devices/system/memory/memory7/state").write_text(f"{state}\n")
        assert ram.ranges() == system_ram(tmp_path) == ((0x1000, end),)


def test_entries_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    firmware(tmp_path, (0, GIB - 1, "System RAM"), (GIB, 2 * GIB - 1, "System RAM"))
    (tmp_path / "firmware/memmap/1/end").write_text("unknown\n")
    assert system_ram(tmp_path) == ((0, GIB),)


def test_without_either_it_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"cannot tell where System RAM is: .* set monitors\[\]\.ranges"):
        system_ram(tmp_path)


# Watermarks


def test_free_memory_is_told_as_watermarks_count_it(kernel: FakeKernel) -> None:
    for permil in (0, 1, 333, 999, 1000):
        kernel.set_free_memory(permil)
        assert free_permil(kernel.procfs) == permil


def test_nobody_knows_free_memory_without_meminfo(tmp_path: Path) -> None:
    assert free_permil(tmp_path) is None
