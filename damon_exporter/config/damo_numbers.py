"""Numbers as damo writes them, with its arithmetic.

damo reads them into floating point and cuts off what is behind the point when it writes to the kernel. So that the
same comes out, results here are what damo 3.4.3 has before it cuts: the same operations in the same order. What it
never writes (leading zeros, signs, infinities) is refused.
"""

import re
from collections.abc import Mapping

from damon_exporter.units import SIZE_MAX, shown

Number = int | float

LARGEST = 10**30
"""More than any file of the kernel takes, and far from where floating point ends."""

_NUMBER = r"(?:0|[1-9][0-9,]{0,40})(?:\.[0-9]{0,30})?(?:[eE][+-]?[0-9]{1,2})?"
_NANOSECONDS = {
    "ns": 1,
    "us": 1000,
    "ms": 1000**2,
    "s": 1000**3,
    "m": 60 * 1000**3,
    "h": 3600 * 1000**3,
    "d": 24 * 3600 * 1000**3,
}
_BYTES = {
    "B": 1,
    **{prefix + rest: 1024**power for power, prefix in enumerate("KMGTPE", start=1) for rest in ("", "B", "iB")},
}
_FLAGS = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}


def _pairs(units: Mapping[str, int]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What one number with its unit looks like, and what several look like, which stand apart."""
    unit = "|".join(sorted(units, key=len, reverse=True))
    return re.compile(rf"\s*({_NUMBER})\s*({unit})\s*"), re.compile(rf"\s*(?:{_NUMBER}\s+(?:{unit})(?:\s+|$))+")


_DURATION, _DURATIONS = _pairs(_NANOSECONDS)
_SIZE, _ = _pairs(_BYTES)


def number(value: object) -> Number:
    """A number, also as text and with commas: ``4,294,967,295``; ``max`` is 2^64-1, ``min`` 0."""
    plain = _plain(value)
    if plain is None:
        raise ValueError(f"{shown(value)} is not a number as damo writes it, such as 1,000")
    return plain


def whole(value: object) -> int:
    """A number without what stands behind its point, as damo writes all of them to the kernel."""
    return int(number(value))


def node(value: object) -> int | None:
    """A NUMA node; None for -1, the kernel's word for none."""
    return None if value in (-1, "-1") else whole(value)


def microseconds(value: object) -> Number:
    """A duration such as ``4.500 ms`` or ``1 s 500 ms``; a number alone is microseconds."""
    plain = _plain(value)
    return _nanoseconds(value) / 1000 if plain is None else plain


def milliseconds(value: object) -> Number:
    """A duration; a number alone is milliseconds."""
    plain = _plain(value)
    return _nanoseconds(value) / 1000 / 1000 if plain is None else plain


def size(value: object) -> int:
    """Bytes of a size such as ``4.000 KiB``; a number alone is bytes."""
    plain = _plain(value)
    if plain is not None:
        return int(plain)
    parts = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if parts is None:
        raise ValueError(f"{shown(value)} is not a size as damo writes it, such as 4.000 KiB")
    return min(int(_parsed(parts[1]) * _BYTES[parts[2]]), SIZE_MAX)


def percent(value: object) -> Number:
    """A share such as ``12.5 %``, in percent; so is a number alone."""
    return _share(value, 100)


def permil(value: object) -> Number:
    """A share such as ``12.5 %`` in 1/1000; so is a number alone."""
    return _share(value, 1000)


def basis_points(value: object) -> Number:
    """A share such as ``12.5 %`` in 1/10 000; so is a number alone."""
    return _share(value, 10_000)


def counted(value: object, what: str) -> Number | None:
    """The number of something, as in ``5 samples``; None if it is not written like that."""
    words = value.split() if isinstance(value, str) else ()
    return number(words[0]) if len(words) == 2 and words[1] == what else None


def flag(value: object) -> bool:
    """``true`` or ``false``, also as text."""
    found = value if isinstance(value, bool) else _FLAGS.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"takes true or false, not {shown(value)}")
    return found


def _plain(value: object) -> Number | None:
    """A number alone; None for anything else."""
    if value == "max":
        return SIZE_MAX
    if value == "min":
        return 0
    found: Number
    if isinstance(value, str) and re.fullmatch(rf"\s*{_NUMBER}\s*", value):
        found = _parsed(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = value
    else:
        return None
    if not 0 <= found <= LARGEST:  # also not a number
        raise ValueError(f"{shown(value)} is out of bounds; the kernel keeps 64 bits, without a sign")
    return found


def _parsed(text: str) -> Number:
    digits = text.replace(",", "").strip()
    return min(int(digits) if digits.isdigit() else float(digits), LARGEST + 1)


def _nanoseconds(value: object) -> Number:
    text = value if isinstance(value, str) else ""
    if not (_DURATION.fullmatch(text) or _DURATIONS.fullmatch(text)):
        raise ValueError(f"{shown(value)} is not a duration as damo writes it, such as 5 ms or 1 s 500 ms")
    return sum(_parsed(amount) * _NANOSECONDS[unit] for amount, unit in _DURATION.findall(text))


def _share(value: object, whole: int) -> Number:
    plain = _plain(value)
    if plain is not None:
        return plain
    parts = re.fullmatch(rf"\s*({_NUMBER})\s*%\s*", value) if isinstance(value, str) else None
    if parts is None:
        raise ValueError(f"{shown(value)} is not a share as damo writes it, such as 12.5 %")
    return _parsed(parts[1]) / 100.0 * whole
