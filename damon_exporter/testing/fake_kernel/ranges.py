"""Sets of addresses as ranges that do not overlap."""

from collections.abc import Iterable, Iterator

from damon_exporter.testing.fake_kernel.memory import Range


def bytes_of(ranges: Iterable[Range]) -> int:
    """How many there are."""
    return sum(end - start for start, end in ranges)


def within(ranges: Iterable[Range], start: int, end: int) -> Iterator[Range]:
    """Those from ``start`` on and before ``end``."""
    for low, high in ranges:
        if low < end and start < high:
            yield max(low, start), min(high, end)


def without(ranges: Iterable[Range], start: int, end: int) -> Iterator[Range]:
    """Those before ``start`` and from ``end`` on."""
    for low, high in ranges:
        if low < min(high, start):
            yield low, min(high, start)
        if max(low, end) < high:
            yield max(low, end), high
