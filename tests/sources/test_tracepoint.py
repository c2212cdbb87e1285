"""Region events are framed into whole aggregations, and what is not whole is dropped and counted."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damon_exporter.kernel.trace_layout import EventFormat, PageLayout
from damon_exporter.kernel.trace_pages import Events, PageError, decode
from damon_exporter.kernel.trace_ring import TraceBatch
from damon_exporter.sources.tracepoint import FORGET_AFTER_NS, Aggregation, Framer, IntervalsTuned
from damon_exporter.testing.trace_pages import TRACE_FILES, PageMaker
from damon_exporter.testing.trace_texts import AGGREGATED, INTERVALS_TUNE, format_file

TEXTS = TRACE_FILES["7.3"]
LAYOUT = PageLayout.parse(TEXTS["events/header_page"], TEXTS["events/header_event"])
NOTHING = Events.none(EventFormat.absent("none", frozenset()))
FORMATS = [EventFormat.parse(TEXTS[format_file(event)]) for event in (AGGREGATED, INTERVALS_TUNE)]

SECOND = 10**9
PERIOD = SECOND // 10
PID = 7

Region = tuple[int, int, int, int]


def regions(count: int, first: int = 0) -> list[Region]:
    return [(number << 12, (number + 1) << 12, number % 21, number) for number in range(first, first + count)]


class Kernel:
    """Emits events and hands them to a framer, as much of them at a time as a test likes."""

    def __init__(self) -> None:
        self.now = SECOND
        self.framer = Framer()
        self._maker = PageMaker()

    def emits(self, target: int, listed: Sequence[Region], *, said: int | None = None, pid: int = PID) -> None:
        self.now = self._maker.aggregated(self.now, pid, target, listed, nr_regions=said) + 1000

    def tunes(self, sample_us: int, pid: int = PID) -> int:
        self._maker.intervals_tuned(self.now, pid, sample_us)
        self.now += 1000
        return self.now - 1000

    def passes(self, ns: int = PERIOD) -> None:
        self.now += ns

    def read(self, lost: int = 0, torn: bool = False) -> list[Aggregation | IntervalsTuned]:
        found = decode(self._maker.pages(), LAYOUT, FORMATS)
        errors = (PageError(0, 16, "torn"),) if torn else ()
        events, tuned = found.events[AGGREGATED], found.events[INTERVALS_TUNE]
        return self.framer.feed(TraceBatch(events, tuned, NOTHING, NOTHING, lost, errors, self.now))

    def aggregates(self, *counts: int, pid: int = PID) -> None:
        """Emit a whole aggregation with so many regions for target 0, 1, …; then a period passes."""
        for target, count in enumerate(counts):
            self.emits(target, regions(count), pid=pid)
        self.passes()

    def has_aggregated(self, *counts: int) -> None:
        """Get the framer to know the targets."""
        for _ in range(3):
            self.aggregates(*counts)
        assert len(self.read()) == 3


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def shape(results: Sequence[Aggregation | IntervalsTuned]) -> list[dict[int, int]]:
    """Regions per target of each aggregation."""
    counted = []
    for result in results:
        assert isinstance(result, Aggregation)
        targets, counts = np.unique(result.regions.target, return_counts=True)
        counted.append(dict(zip(targets.tolist(), counts.tolist(), strict=True)))
    return counted


class TestWhole:
    def test_an_aggregation_carries_all_that_its_events_tell(self, kernel: Kernel) -> None:
        kernel.emits(0, [(0x1000, 0x3000, 5, 6)])
        kernel.emits(1, [(0x2000, 0x4000, 7, 8), (0x8000, 0x9000, 0, 1)])
        end = kernel.now - 1000
        kernel.passes()
        kernel.aggregates(1)
        (first,) = kernel.read()
        assert isinstance(first, Aggregation)
        assert (first.kdamond, first.end_ns) == (PID, end)
        assert first.regions.target.tolist() == [0, 1, 1]
        assert first.regions.start.tolist() == [0x1000, 0x2000, 0x8000]
        assert first.regions.end.tolist() == [0x3000, 0x4000, 0x9000]
        assert first.regions.nr_accesses.tolist() == [5, 7, 0]
        assert first.regions.age.tolist() == [6, 8, 1]

    def test_its_arrays_are_contiguous_and_of_the_types_promised(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3)
        kernel.aggregates(5)
        (found,) = kernel.read()
        assert isinstance(found, Aggregation)
        columns = [getattr(found.regions, name) for name in ("target", "start", "end", "nr_accesses", "age")]
        assert [column.dtype for column in columns] == [np.uint32, np.uint64, np.uint64, np.uint32, np.uint32]
        assert all(column.flags.c_contiguous for column in columns)

    def test_consecutive_aggregations_come_apart(self, kernel: Kernel) -> None:
        for count in (1, 1, 5, 5, 3, 1, 7, 2):
            kernel.aggregates(count)
        assert shape(kernel.read()) == [{0: count} for count in (1, 1, 5, 5, 3, 1, 7, 2)]

    def test_a_count_that_is_reached_ends_a_segment_even_if_addresses_go_on_ascending(self, kernel: Kernel) -> None:
        for turn in range(4):
            kernel.emits(0, regions(5, first=5 * turn))
            kernel.passes()
        assert shape(kernel.read()) == [{0: 5}] * 4

    def test_a_target_may_have_lower_addresses_than_the_one_before(self, kernel: Kernel) -> None:
        for _ in range(3):
            kernel.emits(0, regions(4, first=100))
            kernel.emits(1, regions(4))
            kernel.passes()
        assert shape(kernel.read()) == [{0: 4, 1: 4}] * 3

    def test_kdamonds_that_emit_at_the_same_time_come_apart(self, kernel: Kernel) -> None:
        for _ in range(3):
            kernel.emits(0, regions(2), said=4, pid=7)
            kernel.emits(0, regions(3), pid=8)
            kernel.emits(0, regions(2, first=2), said=4, pid=7)
            kernel.passes()
        found = kernel.read()
        assert [(result.kdamond, count) for result, count in zip(found, shape(found), strict=True)] == [
            (8, {0: 3}),
            (7, {0: 4}),
        ] * 3

    def test_a_batch_without_events_gives_nothing(self, kernel: Kernel) -> None:
        assert kernel.read() == []
        kernel.has_aggregated(3)
        assert kernel.read() == []

    @pytest.mark.parametrize("split", range(1, 12))
    def test_an_aggregation_may_be_spread_over_two_batches(self, kernel: Kernel, split: int) -> None:
        kernel.has_aggregated(4, 8)
        for target, count in enumerate((4, 8)):
            for number in range(count):
                kernel.emits(target, regions(1, first=number), said=count)
                if 4 * target + number + 1 == split:
                    assert kernel.read() == []
        assert shape(kernel.read()) == [{0: 4, 1: 8}]


class TestRelease:
    def test_with_the_targets_of_the_one_before_it_comes_at_once(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3, 4)
        kernel.emits(0, regions(5))
        kernel.emits(1, regions(6))
        assert shape(kernel.read()) == [{0: 5, 1: 6}]

    def test_the_first_one_waits_for_the_next(self, kernel: Kernel) -> None:
        kernel.aggregates(5)
        assert kernel.read() == []
        kernel.emits(0, regions(1), said=5)
        assert shape(kernel.read()) == [{0: 5}]

    def test_one_with_a_new_target_waits_for_the_next(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3)
        kernel.emits(0, regions(3))
        kernel.emits(1, regions(3))
        assert kernel.read() == []
        kernel.passes()
        kernel.aggregates(3, 3)
        assert shape(kernel.read()) == [{0: 3, 1: 3}] * 2

    def test_one_with_a_target_less_waits_for_the_next(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3, 4)
        kernel.aggregates(3)
        assert kernel.read() == []
        kernel.aggregates(3)
        assert shape(kernel.read()) == [{0: 3}, {0: 3}]

    def test_after_two_periods_of_silence_it_waits_no_longer(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3, 4)
        kernel.emits(0, regions(3))
        kernel.passes(2 * PERIOD - 1000)
        assert kernel.read() == []
        kernel.passes()
        assert shape(kernel.read()) == [{0: 3}]

    def test_a_target_that_joins_one_already_out_does_not_make_one_of_its_own(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3)
        kernel.emits(0, regions(3))
        assert shape(kernel.read()) == [{0: 3}]
        kernel.emits(1, regions(2))
        kernel.passes()
        assert kernel.read() == []
        kernel.aggregates(3, 2)
        kernel.aggregates(3, 2)
        assert shape(kernel.read()) == [{0: 3, 1: 2}] * 2
        assert kernel.framer.incomplete == 1


class TestIncomplete:
    def test_the_one_under_way_when_tracing_began_is_dropped(self, kernel: Kernel) -> None:
        kernel.emits(0, regions(3, first=7), said=10)
        kernel.passes()
        kernel.aggregates(10)
        kernel.aggregates(10)
        assert shape(kernel.read()) == [{0: 10}] * 2
        assert kernel.framer.incomplete == 1

    def test_so_it_is_if_tracing_began_between_two_targets(self, kernel: Kernel) -> None:
        kernel.emits(1, regions(4))
        kernel.passes()
        kernel.aggregates(3, 4)
        kernel.aggregates(3, 4)
        assert shape(kernel.read()) == [{0: 3, 1: 4}] * 2
        assert kernel.framer.incomplete == 1

    def test_one_incomplete_target_drops_the_whole_aggregation(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3, 4, 5)
        kernel.emits(0, regions(3))
        kernel.emits(1, regions(2), said=4)
        kernel.emits(2, regions(5))
        kernel.passes()
        kernel.aggregates(3, 4, 5)
        assert shape(kernel.read(lost=2)) == [{0: 3, 1: 4, 2: 5}]
        assert kernel.framer.incomplete == 1

    def test_a_target_missing_after_a_loss_drops_the_aggregation(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3, 4)
        kernel.aggregates(3)
        kernel.aggregates(3, 4)
        assert shape(kernel.read(lost=4)) == [{0: 3, 1: 4}]
        assert kernel.framer.incomplete == 1

    def test_a_torn_page_is_a_loss(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3, 4)
        kernel.aggregates(3)
        kernel.aggregates(3, 4)
        assert shape(kernel.read(torn=True)) == [{0: 3, 1: 4}]

    def test_a_loss_may_show_only_in_the_next_batch(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3, 4)
        kernel.read(lost=4)
        kernel.aggregates(3)
        kernel.aggregates(3, 4)
        assert shape(kernel.read()) == [{0: 3, 1: 4}]

    def test_without_a_loss_a_missing_target_has_gone(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3, 4)
        kernel.aggregates(3)
        kernel.aggregates(3)
        assert shape(kernel.read()) == [{0: 3}] * 2
        assert kernel.framer.incomplete == 0

    def test_halves_of_two_aggregations_around_a_loss_do_not_pass_for_one(self, kernel: Kernel) -> None:
        kernel.has_aggregated(10)
        kernel.emits(0, regions(4), said=10)
        kernel.passes(3 * PERIOD)
        kernel.emits(0, regions(6, first=4), said=10)
        kernel.passes()
        kernel.aggregates(10)
        assert shape(kernel.read(lost=30)) == [{0: 10}]
        assert kernel.framer.incomplete == 1

    def test_targets_of_two_aggregations_around_a_loss_do_not_pass_for_one(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3, 4)
        kernel.emits(0, regions(3))
        kernel.passes()
        kernel.emits(1, regions(4))
        kernel.passes()
        kernel.aggregates(3, 4)
        assert shape(kernel.read(lost=7)) == [{0: 3, 1: 4}]
        assert kernel.framer.incomplete == 1

    def test_a_kdamond_that_ends_in_the_midst_leaves_an_incomplete_one(self, kernel: Kernel) -> None:
        kernel.has_aggregated(10)
        kernel.emits(0, regions(4), said=10)
        kernel.passes(3 * PERIOD)
        assert kernel.read() == []
        assert kernel.framer.incomplete == 1

    def test_events_that_say_they_are_none_make_no_aggregation(self, kernel: Kernel) -> None:
        kernel.emits(0, regions(4), said=0)
        kernel.aggregates(3)
        kernel.aggregates(3)
        assert shape(kernel.read()) == [{0: 3}] * 2

    @pytest.mark.parametrize(
        ("impossible", "dropped"),
        [
            ([(0x1000, 0x2000, 0, 1), (0x5000, 0x3000, 0, 1), (0x6000, 0x7000, 0, 1)], 1),
            ([(0x1000, 0x2000, 0, 1), (0x2000, 0x6000, 0, 1), (0x5000, 0x7000, 0, 1)], 1),
            ([(0x1000, 0x2000, 0, 1), (0x2000, 2**64 - 1, 0, 1), (0x6000, 0x7000, 0, 1)], 1),
            ([(0x1000, 0x2000, 0, 1), (0x1000, 0x2000, 0, 1), (0x2000, 0x7000, 0, 1)], 1),
            ([(0x4000, 0x5000, 0, 1), (0x1000, 0x2000, 0, 1), (0x5000, 0x7000, 0, 1)], 2),  # as around a loss
        ],
        ids=["ends before it starts", "overlap", "has no end", "twice", "descend"],
    )
    def test_regions_that_no_kernel_makes_drop_the_whole_aggregation(
        self, kernel: Kernel, impossible: list[Region], dropped: int
    ) -> None:
        kernel.has_aggregated(3, 3)
        kernel.emits(0, regions(3))
        kernel.emits(1, impossible)
        kernel.passes()
        kernel.aggregates(3, 3)
        assert shape(kernel.read()) == [{0: 3, 1: 3}]
        assert kernel.framer.incomplete == dropped

    @pytest.mark.parametrize("at", [0x1000, 0x2000, 0x3000])
    def test_a_region_of_no_size_is_one_that_kernels_have_made(self, kernel: Kernel, at: int) -> None:
        """CVE-2025-38519."""
        kernel.has_aggregated(3)
        kernel.emits(0, sorted([(0x1000, 0x2000, 0, 1), (0x2000, 0x3000, 0, 1), (at, at, 0, 1)]))
        kernel.passes()
        kernel.aggregates(3)
        assert shape(kernel.read()) == [{0: 3}, {0: 3}]
        assert kernel.framer.incomplete == 0


class TestTunedIntervals:
    def test_they_come_between_the_aggregations_that_they_stand_between(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3)
        kernel.aggregates(3)
        tuned_ns = kernel.tunes(10_000)
        kernel.aggregates(3)
        before, tuned, after = kernel.read()
        assert tuned == IntervalsTuned(PID, tuned_ns, 10_000)
        assert isinstance(before, Aggregation)
        assert isinstance(after, Aggregation)
        assert before.end_ns < tuned_ns < after.end_ns

    def test_they_end_the_aggregation_before(self, kernel: Kernel) -> None:
        kernel.aggregates(3)
        assert kernel.read() == []
        tuned_ns = kernel.tunes(10_000)
        aggregation, tuned = kernel.read()
        assert shape([aggregation]) == [{0: 3}]
        assert tuned == IntervalsTuned(PID, tuned_ns, 10_000)

    def test_they_end_one_even_if_its_targets_would_go_on(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3)
        kernel.aggregates(3)
        kernel.tunes(10_000)
        kernel.emits(1, regions(4))
        kernel.passes()
        kernel.emits(1, regions(4))
        kernel.passes()
        first, tuned, second = kernel.read()[:3]
        assert isinstance(tuned, IntervalsTuned)
        assert shape([first, second]) == [{0: 3}, {1: 4}]

    def test_those_of_another_kdamond_end_nothing(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3, 3)
        kernel.emits(0, regions(3))
        kernel.tunes(10_000, pid=8)
        kernel.emits(1, regions(3))
        tuned, aggregation = kernel.read()
        assert isinstance(tuned, IntervalsTuned)
        assert tuned.kdamond == 8
        assert shape([aggregation]) == [{0: 3, 1: 3}]


class TestMemory:
    def test_a_kdamond_that_was_forgotten_begins_anew(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3)
        kernel.framer.forget(PID)
        kernel.aggregates(3)
        assert kernel.read() == []

    def test_a_kdamond_silent_for_long_is_forgotten(self, kernel: Kernel) -> None:
        kernel.has_aggregated(3)
        kernel.passes(FORGET_AFTER_NS + 1)
        kernel.read()
        kernel.aggregates(3)
        assert kernel.read() == []

    def test_what_was_dropped_stays_counted_when_a_kdamond_is_forgotten(self, kernel: Kernel) -> None:
        kernel.emits(0, regions(3), said=10)
        kernel.aggregates(3)
        kernel.read()
        kernel.framer.forget(PID)
        assert kernel.framer.incomplete == 1


AGGREGATIONS = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=4), min_size=3, max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.integers(2, 5), AGGREGATIONS, min_size=1), st.sets(st.integers(0, 300)), st.booleans())
def test_whatever_kdamonds_emit_comes_back_whole_however_it_is_read(
    emitted: dict[int, list[list[int]]], reads: set[int], tuned: bool
) -> None:
    kernel = Kernel()
    found: list[Aggregation | IntervalsTuned] = []
    written = 0
    for turn in range(max(map(len, emitted.values()))):
        for pid, aggregations in emitted.items():
            if turn >= len(aggregations):
                continue
            if tuned:
                kernel.tunes(turn, pid)
            for target, count in enumerate(aggregations[turn]):
                for number in range(count):
                    kernel.emits(target, [(number << 12, (number + 1) << 12, turn, number)], said=count, pid=pid)
                    written += 1
                    if written in reads and len(set(map(len, aggregations))) == 1:
                        found += kernel.read()
        kernel.passes()
    kernel.passes(PERIOD * 100)
    found += kernel.read()
    assert kernel.framer.incomplete == 0
    for pid, aggregations in emitted.items():
        mine = [result for result in found if result.kdamond == pid]
        expected = [dict(enumerate(counts)) for counts in aggregations]
        assert shape([result for result in mine if isinstance(result, Aggregation)]) == expected
        kinds = [type(result) for result in mine]
        assert kinds == ([IntervalsTuned, Aggregation] if tuned else [Aggregation]) * len(aggregations)
