"""The maker of trace pages behaves as the kernel's ring buffer does."""

import struct

import pytest

from damon_exporter.testing.trace_pages import PAGE_BYTES, PageMaker

SECOND = 10**9
REGIONS = [(number << 12, (number + 1) << 12, 0, 0) for number in range(100)]


def lengths(pages: bytes) -> list[int]:
    return [struct.unpack_from("<Q", pages, at + 8)[0] for at in range(0, len(pages), PAGE_BYTES)]


def test_a_page_holds_78_region_events() -> None:
    maker = PageMaker()
    maker.aggregated(SECOND, 7, 0, REGIONS)
    assert lengths(maker.pages()) == [78 * 52, 22 * 52]


def test_the_rest_of_a_sub_buffer_that_was_read_is_filled_first() -> None:
    maker = PageMaker()
    maker.aggregated(SECOND, 7, 0, REGIONS[:70])
    maker.pages()
    maker.aggregated(2 * SECOND, 7, 0, REGIONS[:70])
    assert lengths(maker.pages()) == [8 + 8 * 52, 62 * 52]


def test_pages_are_given_once() -> None:
    maker = PageMaker()
    maker.aggregated(SECOND, 7, 0, REGIONS)
    assert maker.pages()
    assert maker.pages() == b""


def test_time_does_not_go_back() -> None:
    maker = PageMaker()
    maker.intervals_tuned(SECOND, 7, 5000)
    with pytest.raises(ValueError, match="does not go back"):
        maker.intervals_tuned(SECOND - 1, 7, 5000)


def test_a_kernel_that_has_no_such_event_cannot_emit_it() -> None:
    with pytest.raises(KeyError):
        PageMaker("6.12").intervals_tuned(SECOND, 7, 5000)
