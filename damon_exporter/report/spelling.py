"""Numbers as damo's reports spell them, byte for byte; ``raw`` is its ``--raw_number``: no units, no separators."""

MOST = 2**64 - 1
"""The most that the kernel can hold, which is spelled max."""

_SIZES = ((1 << 60, "EiB"), (1 << 50, "PiB"), (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_HOUR, _MINUTE, _SECOND = 3_600_000_000_000, 60_000_000_000, 1_000_000_000
_SHORT_TIMES = ((_SECOND, "s"), (1_000_000, "ms"), (1_000, "us"))


def number(value: float, raw: bool = False) -> str:
    """A whole number: 1,234; what is cut off of it leaves its sign, as in -0."""
    sign, whole = "-" if value < 0 else "", int(abs(value))
    return f"{sign}{whole}" if raw else f"{sign}{whole:,}"


def size(of_bytes: float, raw: bool = False, digits: int = 3) -> str:
    """Bytes: 1.500 GiB; a unit begins above, not at, its own size (1024 B). Addresses are spelled with 6 digits."""
    if raw:
        return f"{int(of_bytes)}"
    if float(of_bytes) == float(MOST):
        return "max"
    for unit, name in _SIZES:
        if of_bytes > unit:
            return f"{of_bytes / unit:.{digits}f} {name}"
    return f"{int(of_bytes)} B"


def nanoseconds(time_ns: float, raw: bool = False) -> str:
    """A time: 1 m 40.200 s. Fractions have three digits, and are left out where there are none."""
    if raw:
        return f"{int(time_ns)}"
    return f"-{_time(-float(time_ns))}" if time_ns < 0 else _time(float(time_ns))


def microseconds(time_us: float, raw: bool = False) -> str:
    """A time that is counted in microseconds, also if it is spelled raw."""
    return f"{int(time_us)}" if raw else nanoseconds(time_us * 1000)


def frequency(hz: float, raw: bool = False, unit: str = " hz") -> str:
    """Accesses per second: 20 hz, and below ten 1.250 hz."""
    if raw:
        return f"{hz:f}"
    return f"{hz:.3f}{unit}" if 0 < hz < 10 else f"{number(hz)}{unit}"


def _time(time_ns: float) -> str:
    if time_ns >= MOST:
        return "max"
    if time_ns >= _HOUR:
        hours, rest = divmod(time_ns, _HOUR)
        return f"{int(hours)} h {_time(rest)}" if rest else f"{int(hours)} h"
    if time_ns >= _MINUTE:
        minutes, rest = divmod(time_ns, _MINUTE)
        return f"{int(minutes)} m {_decimal(rest / _SECOND)} s" if rest else f"{int(minutes)} m"
    for unit, name in _SHORT_TIMES:
        if time_ns >= unit:
            return f"{_decimal(time_ns / unit)} {name}"
    return f"{int(time_ns)} ns"


def _decimal(value: float) -> str:
    return f"{int(value)}" if value == int(value) else f"{value:.3f}"
