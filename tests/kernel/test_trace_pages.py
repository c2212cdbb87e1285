"""Pages of the ring buffer become arrays, whatever records they hold and however damaged they are."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damon_exporter.kernel.errors import Unsupported
from damon_exporter.kernel.trace_layout import EventFormat, PageLayout
from damon_exporter.kernel.trace_pages import LATEST_NS, Decoded, Events, decode
from damon_exporter.testing.trace_pages import PAGE_BYTES, TRACE_FILES, PageMaker, tear
from damon_exporter.testing.trace_texts import AGGREGATED, INTERVALS_TUNE, format_file

TEXTS = TRACE_FILES["7.3"]
LAYOUT = PageLayout.parse(TEXTS["events/header_page"], TEXTS["events/header_event"])
FORMATS = [EventFormat.parse(TEXTS[format_file(event)]) for event in (AGGREGATED, INTERVALS_TUNE)]

SECOND = 10**9
EXTEND = 1 << 27
RECORD = 52
PER_PAGE = 78


def decoded(pages: bytes) -> Decoded:
    return decode(pages, LAYOUT, FORMATS)


def aggregated(pages: bytes) -> Events:
    return decoded(pages).events[AGGREGATED]


def regions(count: int, first: int = 0) -> list[tuple[int, int, int, int]]:
    return [(number << 12, (number + 1) << 12, number % 21, number) for number in range(first, first + count)]


def page(ts_ns: int, *records: bytes, length: int | None = None) -> bytes:
    """A page made by hand, of records made by hand."""
    data = b"".join(records)
    said = len(data) if length is None else length
    return (struct.pack("<QQ", ts_ns, said) + data).ljust(PAGE_BYTES, b"\0")


def record(target: int, delta_ns: int = 0) -> bytes:
    body = struct.pack("<HBBiQI4xQQII", 744, 0, 0, 7, target, 1, 0, 4096, 1, 1)
    return struct.pack("<I", 12 | delta_ns << 5) + body


def special(kind: int, value: int) -> bytes:
    return struct.pack("<II", kind | (value & EXTEND - 1) << 5, value >> 27)


class TestLayout:
    @pytest.mark.parametrize("kernel", TRACE_FILES)
    def test_the_texts_of_real_kernels_are_understood(self, kernel: str) -> None:
        texts = TRACE_FILES[kernel]
        layout = PageLayout.parse(texts["events/header_page"], texts["events/header_event"])
        assert (layout.page_bytes, layout.data_offset, layout.commit_offset) == (4096, 16, 8)
        assert (layout.padding, layout.time_extend, layout.time_stamp) == (29, 30, 31)

    @pytest.mark.parametrize(("kernel", "number"), [("6.12", 734), ("7.3", 744)])
    def test_an_event_has_the_number_and_size_that_the_kernel_says(self, kernel: str, number: int) -> None:
        form = EventFormat.parse(TRACE_FILES[kernel][format_file(AGGREGATED)])
        assert (form.name, form.number, form.dtype.itemsize) == (AGGREGATED, number, 48)

    def test_signed_and_unsigned_fields_are_told_apart(self) -> None:
        assert FORMATS[0].dtype["common_pid"] == np.int32
        assert FORMATS[0].dtype["start"] == np.uint64

    def test_a_structure_ends_where_its_largest_number_is_aligned(self) -> None:
        text = TEXTS[format_file(AGGREGATED)]
        shortened = "\n".join(line for line in text.split("\n") if "age;" not in line)
        assert EventFormat.parse(shortened).dtype.itemsize == 48

    def test_fields_that_are_no_numbers_are_kept_as_bytes(self) -> None:
        text = TEXTS[format_file(INTERVALS_TUNE)]
        longer = text.replace("\n\nprint", "\n\tfield:char comm[16];\toffset:16;\tsize:16;\tsigned:0;\n\nprint")
        assert EventFormat.parse(longer).dtype["comm"].itemsize == 16

    def test_a_kernel_that_does_not_tell_the_age_is_refused_with_the_reason(self) -> None:
        text = TEXTS[format_file(AGGREGATED)].replace(" age;", " other;")
        with pytest.raises(Unsupported, match=r"damon_aggregated .* no age .*5\.17.*kernel\.source: sysfs"):
            EventFormat.parse(text, frozenset({"age"}))

    def test_a_page_header_without_a_length_is_refused(self) -> None:
        with pytest.raises(Unsupported, match="no field commit"):
            PageLayout.parse(TEXTS["events/header_page"].replace("commit", "other"), TEXTS["events/header_event"])

    def test_a_record_header_that_does_not_tell_its_types_is_refused(self) -> None:
        with pytest.raises(Unsupported, match="header_event does not tell"):
            PageLayout.parse(TEXTS["events/header_page"], "")


class TestRecords:
    def test_no_pages_hold_no_events(self) -> None:
        assert len(aggregated(b"")) == 0

    def test_an_empty_page_holds_no_events(self) -> None:
        assert len(aggregated(page(SECOND))) == 0

    def test_all_fields_of_an_event_are_told(self) -> None:
        maker = PageMaker()
        maker.aggregated(SECOND, pid=4711, target_id=3, regions=[(0x1000, 0x5000, 17, 99)])
        (event,) = aggregated(maker.pages()).data
        told = [event[name] for name in ("common_pid", "target_id", "nr_regions", "start", "end", "nr_accesses", "age")]
        assert told == [4711, 3, 1, 0x1000, 0x5000, 17, 99]

    def test_events_that_fill_many_pages_keep_their_order_and_times(self) -> None:
        maker = PageMaker()
        maker.aggregated(SECOND, 7, 0, regions(10 * PER_PAGE + 5))
        events = aggregated(maker.pages())
        assert (events.data["age"] == np.arange(10 * PER_PAGE + 5)).all()
        assert (events.ts == SECOND + 1000 * np.arange(10 * PER_PAGE + 5)).all()

    def test_a_sub_buffer_read_in_two_parts_goes_on_where_it_was(self) -> None:
        maker = PageMaker()
        maker.aggregated(SECOND, 7, 0, regions(3))
        begun = maker.pages()
        maker.aggregated(2 * SECOND, 7, 0, regions(100))
        events = aggregated(begun + maker.pages())
        assert events.ts.tolist()[:5] == [SECOND, SECOND + 1000, SECOND + 2000, 2 * SECOND, 2 * SECOND + 1000]

    def test_a_pause_within_a_page_is_a_time_extend(self) -> None:
        maker = PageMaker()
        for second in range(1, 50):
            maker.aggregated(second * SECOND, 7, 0, regions(10))
        events = aggregated(maker.pages())
        assert events.ts[::10].tolist() == [second * SECOND for second in range(1, 50)]

    def test_a_page_may_begin_with_an_empty_time_extend(self) -> None:
        pages = page(SECOND, special(30, 0), record(0), record(1, 5))
        assert aggregated(pages).ts.tolist() == [SECOND, SECOND + 5]

    def test_a_time_extend_counts_in_units_of_all_bits_of_a_delta(self) -> None:
        pages = page(SECOND, record(0), special(30, 5 * EXTEND + 3), record(1, 4))
        assert aggregated(pages).ts.tolist() == [SECOND, SECOND + 5 * EXTEND + 7]

    def test_an_absolute_stamp_replaces_the_time(self) -> None:
        maker = PageMaker(absolute=True)
        maker.aggregated(3 * SECOND, 7, 0, regions(200), step_ns=777)
        events = aggregated(maker.pages())
        assert (events.ts == 3 * SECOND + 777 * np.arange(200, dtype=np.uint64)).all()

    @pytest.mark.parametrize("upper", [0, 1 << 59, 5 << 59])
    def test_an_absolute_stamp_takes_its_upper_bits_from_the_page(self, upper: int) -> None:
        pages = page(upper + 100, record(0), special(31, 300), record(1, 1))
        assert aggregated(pages).ts.tolist() == [upper + 100, upper + 301]

    def test_an_absolute_stamp_that_wrapped_gets_the_next_upper_bits(self) -> None:
        before = (1 << 60) - 5
        assert aggregated(page(before, record(0), special(31, 10), record(1))).ts.tolist() == [before, (1 << 60) + 10]

    def test_padding_without_a_time_fills_the_page(self) -> None:
        pages = page(SECOND, record(0), struct.pack("<I", 29), record(1))
        assert aggregated(pages).data["target_id"].tolist() == [0]

    def test_an_event_taken_back_is_passed_over_but_its_time_counts(self) -> None:
        maker = PageMaker()
        maker.aggregated(SECOND, 7, 0, regions(1))
        maker.discarded(SECOND + 500, payload_bytes=48)
        maker.aggregated(SECOND + 900, 7, 1, regions(1))
        assert aggregated(maker.pages()).ts.tolist() == [SECOND, SECOND + 900]

    def test_events_of_two_kinds_come_apart(self) -> None:
        maker = PageMaker()
        for second in range(1, 20):
            maker.intervals_tuned(second * SECOND, 7, sample_us=1000 * second)
            maker.aggregated(second * SECOND + 10, 7, 0, regions(20))
        events = decoded(maker.pages()).events
        assert events[INTERVALS_TUNE].data["sample_us"].tolist() == [1000 * second for second in range(1, 20)]
        assert events[INTERVALS_TUNE].ts.tolist() == [second * SECOND for second in range(1, 20)]
        assert len(events[AGGREGATED]) == 19 * 20

    @pytest.mark.parametrize("size", [8, 60, 112, 116, 1000])
    def test_events_of_other_kinds_are_passed_over(self, size: int) -> None:
        maker = PageMaker()
        maker.aggregated(SECOND, 7, 0, regions(1))
        maker.record(SECOND + 10, struct.pack("<H", 999).ljust(size, b"\xff"))
        maker.aggregated(SECOND + 20, 7, 1, regions(1))
        assert aggregated(maker.pages()).ts.tolist() == [SECOND, SECOND + 20]

    def test_an_event_longer_than_its_format_says_is_read_all_the_same(self) -> None:
        body = record(5)[4:]
        maker = PageMaker()
        maker.aggregated(SECOND, 7, 0, regions(1))
        maker.record(SECOND + 1, body + bytes(8))
        maker.record(SECOND + 2, body + bytes(200))
        maker.aggregated(SECOND + 3, 7, 1, regions(1))
        events = aggregated(maker.pages())
        assert events.data["target_id"].tolist() == [0, 5, 5, 1]
        assert events.ts.tolist() == [SECOND, SECOND + 1, SECOND + 2, SECOND + 3]

    def test_the_time_of_the_last_record_of_each_page_is_told(self) -> None:
        maker = PageMaker()
        last = maker.aggregated(SECOND, 7, 0, regions(PER_PAGE + 1))
        assert decoded(maker.pages()).page_end_ns.tolist() == [last - 1000, last]


class TestLoss:
    def test_nothing_lost_is_zero(self) -> None:
        maker = PageMaker()
        maker.aggregated(SECOND, 7, 0, regions(100))
        assert decoded(maker.pages()).lost == 0

    def test_the_counts_that_the_kernel_stores_are_added_up(self) -> None:
        maker = PageMaker()
        maker.lose(1234)
        maker.aggregated(SECOND, 7, 0, regions(100))
        maker.lose(5)
        maker.aggregated(2 * SECOND, 7, 0, regions(1))
        found = decoded(maker.pages())
        assert (found.lost, len(found.events[AGGREGATED])) == (1239, 101)

    def test_a_loss_for_whose_count_there_was_no_room_is_one_event_at_least(self) -> None:
        maker = PageMaker()
        maker.lose(1234)
        for second in range(1, 5):  # three time extends fill the page to the last byte
            maker.aggregated(second * SECOND, 7, 0, regions(PER_PAGE // 4 + (second < 3)))
        pages = maker.pages()
        assert len(pages) == PAGE_BYTES
        found = decoded(pages)
        assert (found.lost, len(found.events[AGGREGATED]), found.errors) == (1, PER_PAGE, ())


class TestDamage:
    def test_a_torn_page_keeps_what_was_good_and_says_where_it_broke(self) -> None:
        maker = PageMaker()
        maker.aggregated(SECOND, 7, 0, regions(3 * PER_PAGE))
        found = decoded(tear(maker.pages(), page=1, offset=16 + 10 * RECORD))
        assert len(found.events[AGGREGATED]) == 2 * PER_PAGE + 10
        (error,) = found.errors
        assert (error.page, error.offset) == (1, 16 + 10 * RECORD)
        assert "trace page 1, offset 536: a record of" in str(error)

    def test_a_page_that_claims_more_than_it_can_hold_is_left_out(self) -> None:
        found = decoded(page(SECOND, record(0), length=5000) + page(SECOND, record(1)))
        assert found.events[AGGREGATED].data["target_id"].tolist() == [1]
        assert (found.errors[0].page, found.errors[0].offset) == (0, 8)

    def test_a_record_cut_off_by_the_end_of_the_data_is_an_error(self) -> None:
        found = decoded(page(SECOND, record(0), record(1), length=2 * RECORD - 4))
        assert found.events[AGGREGATED].data["target_id"].tolist() == [0]
        assert found.errors[0].offset == 16 + RECORD

    def test_an_event_shorter_than_its_format_is_an_error(self) -> None:
        found = decoded(page(SECOND, struct.pack("<IHBBi", 2, 744, 0, 0, 7)))
        assert "damon_aggregated of 8 bytes instead of 48" in found.errors[0].reason

    def test_zeros_where_records_should_be_are_an_error(self) -> None:
        found = decoded(page(SECOND, record(0), length=4 * RECORD))
        assert (found.errors[0].offset, found.errors[0].reason) == (16 + RECORD, "a record without an event")

    def test_the_rest_of_a_page_that_was_not_delivered_whole_is_an_error(self) -> None:
        found = decoded(page(SECOND, record(0)) + page(SECOND, record(1))[:100])
        assert len(found.events[AGGREGATED]) == 1
        assert (found.errors[0].page, found.errors[0].reason) == (1, "only 100 of 4096 bytes")

    @pytest.mark.parametrize("ts_ns", [LATEST_NS + 1, 1 << 63, (1 << 64) - 1])
    def test_a_page_of_a_time_that_no_clock_has_reached_is_left_out(self, ts_ns: int) -> None:
        found = decoded(page(SECOND, record(0)) + page(ts_ns, record(1)) + page(SECOND, record(2)))
        assert found.events[AGGREGATED].data["target_id"].tolist() == [0, 2]
        (error,) = found.errors
        assert (error.page, error.offset) == (1, 0)
        assert "ahead of the clock" in error.reason

    @pytest.mark.parametrize("jump", [special(30, 1 << 50), special(31, 1 << 58)], ids=["extend", "stamp"])
    def test_what_stands_before_a_jump_far_ahead_of_the_clock_is_kept(self, jump: bytes) -> None:
        pages = page(SECOND, record(0), jump, record(1), special(31, SECOND), record(2))
        found = decode(pages, LAYOUT, FORMATS, latest_ns=1000 * SECOND)
        assert found.events[AGGREGATED].data["target_id"].tolist() == [0]
        assert [(error.page, error.offset) for error in found.errors] == [(0, 16 + RECORD)]
        assert found.page_end_ns.tolist() == [SECOND]

    @given(st.binary(max_size=3 * PAGE_BYTES))
    @settings(max_examples=50)
    def test_arbitrary_bytes_raise_nothing(self, noise: bytes) -> None:
        decoded(noise)

    @given(st.lists(st.tuples(st.integers(0, 2 * PAGE_BYTES - 1), st.integers(0, 255)), max_size=20))
    def test_flipped_bytes_raise_nothing(self, flips: list[tuple[int, int]]) -> None:
        maker = PageMaker()
        for second in range(1, 6):
            maker.aggregated(second * SECOND, 7, 0, regions(20))
        pages = bytearray(maker.pages().ljust(2 * PAGE_BYTES, b"\0"))
        for at, value in flips:
            pages[at] = value
        decoded(bytes(pages))


class TestOrder:
    def test_events_of_equal_time_keep_their_order(self) -> None:
        maker = PageMaker()
        maker.aggregated(SECOND, 7, 0, regions(200), step_ns=0)
        events = aggregated(maker.pages()).in_time_order()
        assert (events.data["age"] == np.arange(200)).all()

    def test_two_streams_are_merged_by_time(self) -> None:
        streams = []
        for first in (0, 1):
            maker = PageMaker()
            maker.aggregated(SECOND + 500 * first, 7, first, regions(100))
            streams.append(aggregated(maker.pages()))
        merged = streams[0].merged_with(streams[1])
        assert (np.diff(merged.ts) == 500).all()
        assert merged.data["target_id"].tolist() == [0, 1] * 100
        assert merged.data["age"].tolist() == [age for age in range(100) for _ in (0, 1)]


STEPS = st.one_of(
    st.tuples(st.just("aggregated"), st.integers(1, 200)),
    st.tuples(st.just("tuned"), st.integers(1, 10**6)),
    st.tuples(st.just("other"), st.integers(2, 300)),
    st.tuples(st.just("discarded"), st.integers(1, 60)),
    st.tuples(st.just("pause"), st.integers(1, 1 << 40)),
    st.tuples(st.just("taken"), st.just(0)),
    st.tuples(st.just("new page"), st.just(0)),
    st.tuples(st.just("lost"), st.integers(1, 1 << 40)),
)


@given(st.lists(STEPS, max_size=30), st.booleans(), st.sampled_from([0, 1, 999, 1 << 26]))
@settings(max_examples=200)
def test_whatever_is_written_is_read(steps: list[tuple[str, int]], absolute: bool, step_ns: int) -> None:
    maker = PageMaker(absolute=absolute)
    now, pages, taken_back = SECOND, b"", 0
    expected: list[tuple[int, int]] = []
    expected_tuned: list[tuple[int, int]] = []
    for number, (what, value) in enumerate(steps):
        if what == "aggregated":
            expected += [(now + index * step_ns, number + index) for index in range(value)]
            now = maker.aggregated(now, 7, 0, [(0, 1, 0, number + index) for index in range(value)], step_ns=step_ns)
        elif what == "tuned":
            expected_tuned.append((now, value))
            maker.intervals_tuned(now, 7, value)
        elif what == "other":
            maker.record(now, struct.pack("<H", 999).ljust(value, b"\xff"))
        elif what == "discarded":
            taken_back += 1
            maker.discarded(now, 4 * value)
        elif what == "pause":
            now += value
        elif what == "taken":
            pages += maker.pages()
        elif what == "new page":
            maker.end_page()
        else:
            maker.lose(value)
    found = decoded(pages + maker.pages())
    events, tuned = found.events[AGGREGATED], found.events[INTERVALS_TUNE]
    assert found.errors == ()
    assert events.data["age"].tolist() == [age for _, age in expected]
    assert tuned.data["sample_us"].tolist() == [sample_us for _, sample_us in expected_tuned]
    # An event taken back in the nanosecond of the one before passes for one nanosecond later.
    times = [*events.ts.tolist(), *tuned.ts.tolist()]
    late = [found - at for found, (at, _) in zip(times, [*expected, *expected_tuned], strict=True)]
    assert 0 <= min(late, default=0) <= max(late, default=0) <= taken_back
