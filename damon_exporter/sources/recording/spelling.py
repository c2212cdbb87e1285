"""How damo spells numbers and times in its records (its ``_damo_fmt_str.py``)."""

import re
from typing import Any

_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
_TIMES = re.compile(r"(?:[\d.]+ *(?:ns|us|ms|[smhd]) *)+")
_TIME = re.compile(r"([\d.]+) *([a-z]+)")
_WHOLE = re.compile(r"-?\d+")


def number(value: Any) -> int | float:
    """Read ``5000``, ``5000.0``, ``"5000"`` or ``"5,000"``. Raises ValueError for anything else."""
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str):
        raise ValueError(f"a number expected, {value!r:.80} found")
    digits = value.replace(",", "")
    return int(digits) if _WHOLE.fullmatch(digits) else float(digits)


def whole(value: Any) -> int:
    """Read a number and round it to a whole one. Raises ValueError."""
    found = number(value)
    try:
        return round(found)
    except OverflowError as error:
        raise ValueError(f"a finite number expected, {value!r:.80} found") from error


def percent(value: Any) -> float:
    """Read ``12``, ``"12"`` or ``"12 %"``. Raises ValueError."""
    return float(number(value.rstrip(" %") if isinstance(value, str) else value))


def nanoseconds(value: Any, bare: int = 1) -> int:
    """Read a time such as ``"1 s 500 ms"``, or a number without unit that counts ``bare`` nanoseconds.

    Raises ValueError.
    """
    text = value.replace(",", "").strip() if isinstance(value, str) else ""
    if not _TIMES.fullmatch(text):
        return whole(value) if bare == 1 else whole(number(value) * bare)
    return whole(sum(number(amount) * _NANOSECONDS[unit] for amount, unit in _TIME.findall(text)))


def microseconds(value: Any) -> int:
    """Read a time, of which a number without unit counts microseconds. Raises ValueError."""
    return nanoseconds(value, bare=1000) // 1000
