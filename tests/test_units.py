import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_exporter.units import (
    format_duration,
    parse_address,
    parse_duration,
    parse_ratio,
    parse_size,
    shown,
)


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("0s", 0),
        ("7us", 7),
        ("5ms", 5_000),
        ("1.5s", 1_500_000),
        ("0.5ms", 500),
        ("2m", 120_000_000),
        ("3h", 10_800_000_000),
        ("1d", 86_400_000_000),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: str, microseconds: int) -> None:
    assert parse_duration(text) == microseconds


@pytest.mark.parametrize("text", ["", "s", "5", "5 ms", "-1s", "1m30s", "5MS", "5min", "1e3s", "5s\n", "٣s", None])
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration; write a number and one of us, ms, s, m, h, d"):
        parse_duration(text)


@pytest.mark.parametrize("number", [0, 30, 0.1])
def test_a_duration_without_unit_is_refused_with_an_example(number: float) -> None:
    with pytest.raises(ValueError, match=f"{number} has no unit; write for example {number}s"):
        parse_duration(number)


def test_a_duration_finer_than_a_microsecond_is_refused_rather_than_rounded() -> None:
    with pytest.raises(ValueError, match=r"'1\.5us' is not a whole number of microseconds"):
        parse_duration("1.5us")


@given(st.integers(min_value=0, max_value=10**17))
def test_a_formatted_duration_reads_back_as_itself(microseconds: int) -> None:
    assert parse_duration(format_duration(microseconds)) == microseconds


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(0, "0s"), (1, "1us"), (100_000, "100ms"), (90_000_000, "90s"), (120_000_000, "2m")],
)
def test_a_duration_is_formatted_in_its_largest_whole_unit(microseconds: int, text: str) -> None:
    assert format_duration(microseconds) == text


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (0, 0),
        (4096, 4096),
        ("12B", 12),
        ("4KiB", 4096),
        ("16MiB", 16 << 20),
        ("1.5GiB", 3 << 29),
        ("2TiB", 2 << 40),
        ("4K", 4096),
        ("4M", 4 << 20),
        ("4G", 4 << 30),
        ("max", 2**64 - 1),
    ],
)
def test_a_size_is_bytes_or_a_number_with_a_binary_unit(written: object, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize("written", ["16MB", "16kb", "16", "MiB", "0x10", True, 1.5, None, []])
def test_anything_else_is_no_size(written: object) -> None:
    with pytest.raises(ValueError, match="is not a size; write a number and one of B, KiB, MiB"):
        parse_size(written)


@pytest.mark.parametrize("written", [-1, 2**64, "16777216TiB"])
def test_a_size_that_the_kernel_cannot_hold_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        parse_size(written)


@pytest.mark.parametrize(("written", "address"), [("0x1000", 4096), ("0xFFFF", 65535), (4096, 4096), ("4GiB", 4 << 30)])
def test_an_address_may_also_be_hexadecimal(written: object, address: int) -> None:
    assert parse_address(written) == address


@pytest.mark.parametrize(
    ("written", "per_mille"),
    [("25%", 250), ("0.5%", 5), (0.25, 250), ("0.25", 250), (0, 0), (1, 1000), ("100%", 1000)],
)
def test_a_ratio_is_a_percentage_or_a_share_of_one(written: object, per_mille: int) -> None:
    assert parse_ratio(written) * 1000 == per_mille


@pytest.mark.parametrize("written", ["150%", 25, -0.1])
def test_a_ratio_outside_of_0_and_100_percent_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="is not between 0% and 100%"):
        parse_ratio(written)


@pytest.mark.parametrize("written", ["a quarter", "25 %", True, None, float("nan"), float("inf")])
def test_anything_else_is_no_ratio(written: object) -> None:
    with pytest.raises(ValueError, match=r"is not a ratio; write for example 25% or 0\.25"):
        parse_ratio(written)


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (None, "nothing"), (5, "5"), ("a\n", r"'a\n'"), ([1], "a list"), ({}, "a mapping")],
)
def test_a_message_quotes_values_in_the_words_of_yaml(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_message_cuts_long_texts() -> None:
    assert shown("x" * 1000) == "'" + "x" * 40 + "…'"
