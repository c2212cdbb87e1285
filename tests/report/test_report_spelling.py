"""Numbers are spelled as damo's own code spells them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import damo
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from damon_exporter.report import spelling

NUMBERS = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1).flatmap(lambda most: st.integers(0, most)))
RAW = st.booleans()


@pytest.fixture(scope="session")
def damos() -> ModuleType:
    spec = importlib.util.spec_from_file_location("damos", Path(str(damo.__file__)).parent / "_damo_fmt_str.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@given(NUMBERS, RAW)
@example(1024, False)
@example(1025, False)
@example(2**64 - 1, False)
def test_sizes(damos: ModuleType, size: int, raw: bool) -> None:
    assert spelling.size(size, raw) == damos.format_sz(size, raw)
    assert spelling.size(size / 7, raw) == damos.format_sz(size / 7, raw)
    assert spelling.size(size, raw, digits=6) == damos.format_sz_accurate(size, raw)


@given(st.one_of(NUMBERS, st.integers(0, 2**26).map(lambda tenths: tenths * 10**8)), RAW)
@example(3_600_000_000_000, False)
@example(60_000_000_000, False)
@example(59_999_999_999, False)
@example(61_500_000_000, False)
def test_times(damos: ModuleType, time: int, raw: bool) -> None:
    assert spelling.nanoseconds(time, raw) == damos.format_time_ns(time, raw)
    assert spelling.nanoseconds(-time, raw) == damos.format_time_ns(-time, raw)
    assert spelling.microseconds(time, raw) == damos.format_time_us(time, raw)


@given(st.floats(0, 1e9), RAW)
@example(9.9999, False)
@example(10.0, False)
@example(0.0, False)
def test_frequencies(damos: ModuleType, hz: float, raw: bool) -> None:
    assert spelling.frequency(hz, raw) == damos.format_hz(hz, raw)
    assert spelling.frequency(hz, raw, unit="") == damos.format_hz(hz, raw, no_suffix=True)


@given(st.one_of(st.integers(-(10**15), 10**15), st.floats(-10, 10)), RAW)
@example(-0.5, False)
@example(-0.0, False)
def test_numbers(damos: ModuleType, number: float, raw: bool) -> None:
    assert spelling.number(number, raw) == damos.format_nr(number, raw)
