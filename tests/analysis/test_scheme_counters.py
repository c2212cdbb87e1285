"""Totals of schemes: told cases one by one, then random lives of kdamonds against what their schemes truly counted."""

from collections.abc import Callable, Collection
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damon_exporter.analysis.scheme_counters import MOST_TORN, ULONG, Counters, SchemeCounters, SeenScheme, Series

COLD = ("cold", "pageout")
HOT = ("hot", "stat")
FOREIGN = ("0", "stat")

NAMES = ("nr_tried", "sz_tried", "sz_applied", "qt_exceeds", "nr_snapshots")


def cold(nr: int, sz: int, **more: int) -> list[SeenScheme]:
    """A reading of one scheme."""
    return [SeenScheme(0, *COLD, {"nr_tried": nr, "sz_tried": sz, **more})]


def listed(*schemes: tuple[Series, int]) -> list[SeenScheme]:
    """A reading of schemes by index, each with what it has tried."""
    return [SeenScheme(i, *series, {"nr_tried": tried}) for i, (series, tried) in enumerate(schemes)]


def after(
    *readings: list[SeenScheme] | None, counters: SchemeCounters | None = None, kdamond: int = 1
) -> SchemeCounters:
    """What becomes of the counters when one kdamond is read like this; None is an interruption."""
    counters = counters or SchemeCounters()
    for reading in readings:
        if reading is None:
            counters.interrupt(kdamond)
        else:
            counters.observe(kdamond, reading)
    return counters


def total(counters: SchemeCounters, series: Series = COLD) -> Counters:
    return counters.totals()[series]


def tried(counters: SchemeCounters, series: Series = COLD) -> int:
    return total(counters, series)["nr_tried"]


# One kdamond


@pytest.mark.parametrize(
    ("readings", "told"),
    [
        pytest.param([cold(5, 500)], (5, 500), id="what it had counted before we came counts"),
        pytest.param([cold(5, 500), cold(7, 900)], (7, 900), id="it goes on"),
        pytest.param([cold(0, 0), cold(0, 0), cold(7, 900)], (7, 900), id="it has tried nothing for a while"),
        pytest.param([cold(5, ULONG - 100), cold(6, 50)], (6, ULONG + 50), id="bytes wrap"),
        pytest.param([cold(5, 4 * ULONG - 400), cold(6, 200)], (6, 4 * ULONG + 200), id="bytes wrap in units of 4"),
        pytest.param([cold(5, ULONG - 100), cold(6, 0), cold(7, 8)], (7, ULONG + 8), id="bytes wrap onto 0"),
        pytest.param([cold(5, 500), cold(0, 0)], (5, 500), id="files were made anew"),
        pytest.param(
            [cold(5, 500), *[cold(0, 0)] * 50, cold(7, 900)], (7, 900), id="and nobody refreshed them for long"
        ),
        pytest.param([cold(5, 500), cold(5, 0), cold(7, 900)], (7, 900), id="torn when they were made anew"),
        pytest.param([cold(5, 500), *[cold(5, 0), cold(5, 500)] * 9, cold(7, 900)], (7, 900), id="torn now and then"),
        pytest.param([cold(5, 500), cold(5, 900), cold(7, 900)], (7, 900), id="torn when they were refreshed"),
        pytest.param([cold(5, 500), cold(2, 100)], (7, 600), id="it was dropped and has come back"),
        pytest.param([cold(5, 500), cold(2, 100), cold(2, 150), cold(9, 800)], (14, 1300), id="and goes on"),
        pytest.param([cold(5, 500), cold(9, 100), cold(9, 100)], (14, 600), id="with larger regions than before"),
        pytest.param([cold(5, 500), cold(2, 700), cold(2, 700)], (7, 1200), id="with fewer regions than before"),
        pytest.param([cold(5, 500), cold(2, 0), cold(3, 900)], (8, 1400), id="torn when it had come back"),
        pytest.param(
            [cold(5, 500), cold(2, 510), cold(3, 100)], (8, 610), id="torn when its copies were refreshed then"
        ),
        pytest.param(
            [cold(5, ULONG - 9), cold(1, 4), cold(2, 8)], (7, ULONG - 1), id="it came back after bytes nearly wrapped"
        ),
        pytest.param([cold(5, ULONG - 9), cold(0, 4), cold(2, 8)], (7, ULONG - 1), id="and that reading was torn"),
        pytest.param([cold(5, 500), [], cold(7, 900)], (7, 900), id="files showed fewer schemes, and it had stayed"),
        pytest.param([cold(5, 500), [], cold(2, 100)], (7, 600), id="files showed fewer schemes, and it had gone"),
    ],
)
def test_of_one_scheme_all_that_it_counted_is_told(readings: list[list[SeenScheme]], told: tuple[int, int]) -> None:
    assert tuple(total(after(*readings)).values()) == told


def test_a_counter_that_was_not_read_once_goes_on() -> None:
    nr_only = [SeenScheme(0, *COLD, {"nr_tried": 6})]
    assert total(after(cold(5, 500), nr_only, cold(7, 900))) == {"nr_tried": 7, "sz_tried": 900}


def test_a_counter_that_is_read_for_the_first_time_later_than_others_starts_there() -> None:
    counters = after(cold(5, 500), cold(6, 600, nr_applied=4), cold(7, 700, nr_applied=6))
    assert total(counters)["nr_applied"] == 2


def test_of_a_scheme_of_which_nothing_can_be_read_nothing_changes() -> None:
    unread = [SeenScheme(0, *COLD, {})]
    counters = after(unread, cold(7, 700), kdamond=2, counters=after(cold(5, 500), unread))
    assert tried(counters) == 7, "still to be taken for a copy that is left"


def test_any_counter_tells_that_a_scheme_has_come_back() -> None:
    before, now = {"nr_snapshots": 9, "sz_tried": ULONG - 5}, {"nr_snapshots": 3, "sz_tried": 50}
    counters = after([SeenScheme(0, *COLD, before)], [SeenScheme(0, *COLD, now)])
    assert total(counters) == {"nr_snapshots": 12, "sz_tried": ULONG + 45}


def test_what_came_back_with_more_of_everything_but_one_is_not_waited_for_for_ever() -> None:
    later = [cold(6 + i, 600, qt_exceeds=0) for i in range(MOST_TORN + 4)]
    assert tried(after(cold(5, 500, qt_exceeds=1), *later)) == 5 + 2, "one reading is the start"


# Restarts


@pytest.mark.parametrize(
    ("readings", "told"),
    [
        pytest.param([cold(2, 100)], (7, 600), id="what the new one counts is added whole"),
        pytest.param([cold(0, 0), cold(9, 900)], (14, 1400), id="also if it is more, where its files were seen empty"),
        pytest.param([cold(5, 500), cold(5, 500)], (5, 500), id="what the earlier one has left is nothing new"),
        pytest.param([cold(5, 500), cold(2, 100)], (7, 600), id="the first refresh shows less"),
        pytest.param([cold(5, 500), cold(9, 900)], (14, 1400), id="the first refresh shows more"),
        pytest.param([cold(6, 600)], (6, 600), id="the earlier one may have been refreshed once more"),
        pytest.param([cold(6, 600), cold(2, 100)], (8, 700), id="it was"),
        pytest.param(
            [cold(6, 600), cold(7, 700)], (12, 1200), id="it was not, or nobody can tell what it counted then"
        ),
        pytest.param([cold(2, 900)], (7, 900), id="the first reading may be torn"),
        pytest.param([cold(2, 900), cold(3, 100)], (8, 1000), id="it was torn"),
        pytest.param([cold(2, 900), cold(3, 100), cold(4, 150)], (9, 1050), id="it was torn, and goes on"),
        pytest.param([cold(2, 900), cold(3, 900)], (8, 1400), id="it was not torn"),
        pytest.param([cold(5, 500), cold(5, 900), cold(2, 950)], (7, 1450), id="the first refresh is torn"),
        pytest.param([cold(5, 500), cold(6, 500), cold(7, 500)], (12, 1000), id="one counter stands as before"),
    ],
)
def test_over_a_restart_totals_go_on(readings: list[list[SeenScheme]], told: tuple[int, int]) -> None:
    assert tuple(total(after(*readings, counters=after(cold(5, 500)), kdamond=2)).values()) == told


def test_a_scheme_that_comes_with_a_restart_counts_whole_once_it_moves() -> None:
    counters = after(listed((HOT, 1), (COLD, 4)), kdamond=2, counters=after(listed((HOT, 9))))
    assert (tried(counters, HOT), tried(counters)) == (10, 0), "that may be left from a scheme that was never read"
    assert tried(after(listed((HOT, 2), (COLD, 6)), kdamond=2, counters=counters)) == 6


def test_what_another_scheme_has_left_is_not_counted_for_the_one_that_a_restart_brings() -> None:
    counters = after(listed((COLD, 12)), listed((COLD, 3)), kdamond=2, counters=after(listed((HOT, 9))))
    assert tried(counters) == 3
    assert tried(after(listed((HOT, 4)), kdamond=2, counters=counters), HOT) == 9


def test_what_a_kdamond_has_left_that_was_never_read_is_not_counted_for_another_scheme() -> None:
    counters = after(listed((COLD, 3)), listed((COLD, 3)), kdamond=3, counters=after(listed((HOT, 9))))
    assert tried(counters) == 0, "the second kdamond may have tried 3 for the first scheme"
    assert tried(after(listed((COLD, 4)), kdamond=3, counters=counters)) == 4


def test_what_others_counted_before_a_start_was_found_is_not_told_after_a_restart() -> None:
    before = after(listed((COLD, 100)), listed((HOT, 100)))
    counters = after(listed((HOT, 130)), kdamond=2, counters=before)
    assert tried(counters, HOT) == 0
    assert tried(after(listed((HOT, 4)), kdamond=2, counters=counters), HOT) == 4


def test_a_counter_that_was_not_read_right_after_a_restart_starts_when_it_is_read() -> None:
    nr_only = [SeenScheme(0, *COLD, {"nr_tried": 2})]
    counters = after(nr_only, cold(3, 100), cold(4, 150), cold(5, 200), kdamond=2, counters=after(cold(5, 500)))
    assert total(counters) == {"nr_tried": 10, "sz_tried": 600}


def test_an_index_that_a_new_kdamond_lacks_at_first_is_compared_with_the_earlier_one() -> None:
    counters = after(listed((HOT, 1)), kdamond=2, counters=after(listed((HOT, 9), (COLD, 50))))
    counters = after(listed((HOT, 2), (COLD, 50)), kdamond=2, counters=counters)
    assert tried(counters) == 50
    assert tried(after(listed((HOT, 3), (COLD, 8)), kdamond=2, counters=counters)) == 58


# Other schemes in their places


@pytest.mark.parametrize(
    ("readings", "told"),
    [
        pytest.param([listed((HOT, 107)), listed((HOT, 110))], 3, id="it starts at the first value that is new"),
        pytest.param([listed((HOT, 100)), listed((HOT, 107)), listed((HOT, 110))], 3, id="not at a copy from before"),
        pytest.param([listed((HOT, 0)), listed((HOT, 107)), listed((HOT, 110))], 3, id="not at an empty file"),
        pytest.param([listed((HOT, 3)), listed((HOT, 5))], 2, id="also if the other was dropped before it came"),
        pytest.param([listed((HOT, n)) for n in (100, 3, 5)], 2, id="also if that shows later than it"),
    ],
)
def test_who_takes_anothers_place_gets_nothing_of_what_is_there(readings: list[list[SeenScheme]], told: int) -> None:
    assert tried(after(listed((COLD, 100)), *readings), HOT) == told


def test_a_foreign_scheme_at_the_front_shifts_ours_and_no_total_jumps() -> None:
    counters = after(
        listed((COLD, 100), (HOT, 1000)),
        listed((FOREIGN, 101), (COLD, 1001), (HOT, 2)),
        listed((FOREIGN, 104), (COLD, 1005), (HOT, 8)),
    )
    assert [tried(counters, series) for series in (FOREIGN, COLD, HOT)] == [3, 104, 1008]
    counters = after(listed((COLD, 105), (HOT, 1006)), listed((COLD, 107), (HOT, 1009)), counters=counters)
    assert counters.totals() == {COLD: {"nr_tried": 106}, HOT: {"nr_tried": 1011}}


def test_after_an_interruption_the_first_value_that_is_new_is_the_start() -> None:
    assert tried(after(cold(5, 500), None, cold(105, 900), cold(106, 950))) == 6
    assert tried(after(cold(5, 500), None, cold(5, 500), cold(105, 900), cold(106, 950))) == 6
    assert tried(after(cold(5, 500), None, cold(0, 0), cold(105, 900), cold(106, 950))) == 6
    assert tried(after(cold(5, 500), None, cold(2, 200), cold(3, 250))) == 6


def test_after_an_interruption_a_place_that_was_never_read_is_not_ours_from_its_beginning() -> None:
    counters = after(listed((HOT, 5)), None, listed((HOT, 6), (COLD, 70)), listed((HOT, 8), (COLD, 75)))
    assert (tried(counters, HOT), tried(counters)) == (7, 5)


def test_an_interruption_ends_with_the_kdamond() -> None:
    assert tried(after(cold(2, 200), kdamond=2, counters=after(cold(5, 500), None))) == 5, "until it moves"
    assert tried(after(cold(2, 200), cold(3, 300), kdamond=2, counters=after(cold(5, 500), None))) == 8


def test_a_kdamond_can_be_interrupted_before_it_is_read() -> None:
    assert tried(after(None, cold(2, 200), cold(3, 300), kdamond=2, counters=after(cold(5, 500)))) == 6


def test_totals_are_of_the_schemes_seen_last_and_wait_for_the_others() -> None:
    counters = after(listed((HOT, 1), (COLD, 5)), listed((HOT, 2)))
    assert counters.totals().keys() == {HOT}
    assert tried(after(listed((HOT, 3), (COLD, 6)), counters=counters)) == 6


def test_schemes_of_one_label_and_action_share_a_total() -> None:
    assert tried(after(listed((COLD, 1), (COLD, 5)), listed((COLD, 2), (COLD, 7)))) == 9


def test_what_was_returned_stays_as_it_was_when_more_comes() -> None:
    counters = after(cold(5, 500))
    returned = counters.totals()
    after(cold(7, 900), counters=counters)
    assert returned[COLD]["nr_tried"] == 5


# Random lives against what was truly counted


Values = dict[str, int]


def nothing() -> Values:
    return dict.fromkeys(NAMES, 0)


class Kernel:
    """Schemes of one kdamond after another, what they truly count by label and action, and the copies in files."""

    def __init__(self, random: Random) -> None:
        self.kdamond = 1
        self.series: list[Series] = [COLD, HOT]
        self.counts = [nothing(), nothing()]
        self.copies = [nothing(), nothing()]
        self.last_there: dict[int, Series | None] = {0: COLD, 1: HOT}
        self.ledger: dict[Series, Values] = {}
        self.lost: dict[Series, Values] = {}
        if random.random() < 0.5:
            for i in range(2):  # long before we came
                old = {name: ULONG - random.randrange(1, 5000) if name[:2] == "sz" else 1 << 40 for name in NAMES}
                self._count(i, old)
            self.refresh()

    def run(self, random: Random, least: int = 0) -> None:
        """Count something at every index."""
        for i in range(len(self.series)):
            amounts = range(least, random.choice((2, 50, 3000)) + 1)
            grown = dict(zip(NAMES, random.choices(amounts, k=len(NAMES)), strict=True))
            grown["nr_snapshots"] += not grown["nr_snapshots"]
            self._count(i, grown)

    def run_once(self, lost: Collection[int]) -> None:
        """Count one of everything at every index. What nobody can read is written down, too."""
        for i in range(len(self.series)):
            self._count(i, dict.fromkeys(NAMES, 1), lost=i in lost)

    def _count(self, index: int, grown: Values, lost: bool = False) -> None:
        counts = self.counts[index]
        for name in NAMES:
            if counts[name] and (counts[name] + grown[name]) % ULONG < 2:  # wraps onto 0 are told late, see above,
                grown[name] += 2  # and a newcomer's 1 where there was 1 is not told from an older copy
            counts[name] = (counts[name] + grown[name]) % ULONG
        for book in (self.ledger, self.lost) if lost else (self.ledger,):
            written = book.setdefault(self.series[index], nothing())
            for name in NAMES:
                written[name] += grown[name]

    def refresh(self) -> None:
        """Copy what was counted into those folders that there are."""
        self.copies[: len(self.counts)] = [dict(counts) for counts in self.counts[: len(self.copies)]]

    def make_anew(self, folders: int) -> None:
        self.copies = [nothing() for _ in range(folders)]

    def restart(self, series: list[Series]) -> None:
        """Begin from 0; the files stay as they are."""
        self.kdamond += 1
        self.series, self.last_there = series, dict(enumerate(series))
        self.counts = [nothing() for _ in series]

    def commit(self, series: list[Series]) -> set[int]:
        """Have other schemes, and return at which indexes there is not what was there last."""
        kept = min(len(series), len(self.series))
        self.counts = self.counts[:kept] + [nothing() for _ in series[kept:]]
        self.series = series
        taken_over = {i for i, new in enumerate(series) if self.last_there.get(i, new) != new}
        self.last_there = self.last_there | dict(enumerate(series))
        return taken_over


def with_one_more(series: list[Series], random: Random) -> list[Series]:
    """A foreign scheme at the front, in the middle or at the end."""
    place = random.randint(0, len(series))
    return [*series[:place], FOREIGN, *series[place:]]


def with_one_less(series: list[Series], random: Random) -> list[Series]:
    place = random.randrange(len(series))
    return series[:place] + series[place + 1 :] or series


def with_another(series: list[Series], random: Random) -> list[Series]:
    place = random.randrange(len(series))
    return [*series[:place], random.choice((COLD, HOT, FOREIGN)), *series[place + 1 :]]


CHANGES = (with_one_more, with_one_more, with_one_less, with_another)


class Life:
    """A kernel and one who reads its files at any time, with the totals that he tells.

    He keeps to what `SchemeCounters` asks for: he looks at a new kdamond before its list of schemes changes, and calls
    `interrupt` where he has missed one of two changes.
    """

    def __init__(self, random: Random) -> None:
        self.kernel = Kernel(random)
        self.counters = SchemeCounters()
        self.told: dict[Series, Counters] = {}
        self.unread: str | None = None
        self.read_indexes: set[int] = set()
        self.look()

    def look(self) -> None:
        self._tell(self.kernel.copies)
        self.unread = None

    def _tell(self, copies: list[Values]) -> None:
        there = zip(self.kernel.series, copies, strict=False)
        seen = [SeenScheme(i, *series, values) for i, (series, values) in enumerate(there)]
        self.counters.observe(self.kernel.kdamond, seen)
        self.read_indexes |= {scheme.index for scheme in seen}
        for series, values in self.counters.totals().items():
            before, truth = self.told.get(series, nothing()), self.kernel.ledger.get(series, nothing())
            for name in NAMES:
                assert before[name] <= values[name] <= truth[name], (series, name)
            self.told[series] = values

    # What happens

    def run(self, random: Random) -> None:
        self.kernel.run(random)

    def refresh(self, random: Random) -> None:
        self.kernel.refresh()

    def read(self, random: Random) -> None:
        self.look()

    def read_refreshed(self, random: Random) -> None:
        self.kernel.refresh()
        self.look()

    def make_anew(self, random: Random) -> None:
        self.kernel.make_anew(len(self.kernel.series))

    def read_while_something_happens(self, random: Random) -> None:
        kernel, moments = self.kernel, [self.kernel.copies.copy()]
        for happens in random.choice(
            ((self.refresh,), (self.make_anew,), (self.make_anew, self.refresh), (self.run, self.refresh))
        ):
            happens(random)
            moments.append(kernel.copies.copy())
        self._tell([{name: random.choice(at)[name] for name in NAMES} for at in zip(*moments, strict=True)])
        self.unread = None

    def read_fewer_folders(self, random: Random) -> None:
        """Somebody writes their number and thinks better of it before he commits."""
        if self.unread:
            self.look()
        self.kernel.make_anew(random.randrange(len(self.kernel.series)))
        if random.random() < 0.5:
            self.kernel.refresh()
        self.look()
        self.kernel.make_anew(len(self.kernel.series))

    def restart(self, random: Random) -> None:
        self.kernel.restart(self.kernel.series)
        self.unread = self.unread or "kdamond"

    def restart_with_others(self, random: Random) -> None:
        self._be_ready(random)
        self.kernel.restart(random.choice(CHANGES)(self.kernel.series, random))
        if random.random() < 0.5 or len(self.kernel.series) != len(self.kernel.copies):
            self.kernel.make_anew(len(self.kernel.series))
        self.unread = "kdamond"

    def commit(self, random: Random) -> None:
        """Another tool makes the folders anew, fills them and commits."""
        self._be_ready(random)
        self.kernel.commit(random.choice(CHANGES)(self.kernel.series, random)[:5])
        self.kernel.make_anew(len(self.kernel.series))
        self.unread = "list"

    def commit_in_place(self, random: Random) -> None:
        """It only writes other parameters. What was read last are the copies that there are."""
        self._be_ready(random)
        self.look()
        self.kernel.commit(with_another(self.kernel.series, random))
        self.unread = "list"

    def visit(self, random: Random) -> None:
        """It has schemes of its own for a while, as ``damo report access`` has."""
        ours = self.kernel.series
        self.commit(random)
        self.kernel.run(random)
        self._be_ready(random)
        self.kernel.commit(ours)
        self.kernel.make_anew(len(ours))
        self.unread = "list"

    def _be_ready(self, random: Random) -> None:
        if self.unread == "list" and random.random() < 0.5:
            self.counters.interrupt(self.kernel.kdamond)
        elif self.unread:
            self.look()


Event = Callable[[Life, Random], None]

EVENTS: list[Event] = [
    *[Life.run, Life.refresh, Life.read, Life.read_refreshed] * 2,
    *[Life.read_while_something_happens, Life.make_anew, Life.read_fewer_folders],
    *[Life.restart, Life.restart_with_others, Life.commit, Life.commit_in_place, Life.visit],
]


@settings(max_examples=1000, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.sampled_from(EVENTS), min_size=5, max_size=40))
def test_whatever_happens_totals_never_fall_and_are_never_more_than_was_counted(seed: int, events: list[Event]) -> None:
    random = Random(seed)
    life = Life(random)
    for event in events:
        event(life, random)
    life.read_refreshed(random)


# Where readings follow on everything that loses counts, nothing else is lost


Lost = set[int] | None
"""The indexes at which nobody can tell who counts what up to the next reading; None if the list stays as it is."""


def nothing_happens(life: Life, random: Random) -> Lost:
    return None


def a_torn_reading(life: Life, random: Random) -> Lost:
    life.read_while_something_happens(random)
    return None


def files_made_anew(life: Life, random: Random) -> Lost:
    life.make_anew(random)
    return None


def a_restart(life: Life, random: Random) -> Lost:
    life.restart(random)
    return None


def a_restart_with_others(life: Life, random: Random) -> Lost:
    life.restart_with_others(random)
    return None


def a_commit(life: Life, random: Random) -> Lost:
    changed = life.kernel.commit(random.choice(CHANGES)(life.kernel.series, random)[:5])
    life.kernel.make_anew(len(life.kernel.series))
    return changed


def a_commit_in_place(life: Life, random: Random) -> Lost:
    return life.kernel.commit(with_another(life.kernel.series, random))


def a_commit_seen_before_anything_is_refreshed(life: Life, random: Random) -> Lost:
    changed = a_commit_in_place(life, random)
    if random.random() < 0.5:
        life.make_anew(random)
    life.look()
    return changed


def a_visit(life: Life, random: Random) -> Lost:
    ours = life.kernel.series
    life.kernel.commit(random.choice((with_one_more, with_another))(ours, random))
    life.kernel.run_once(range(len(life.kernel.series)))
    life.kernel.commit(ours)
    life.kernel.make_anew(len(ours))
    life.counters.interrupt(life.kernel.kdamond)
    life.kernel.last_there = {i: dict(enumerate(ours)).get(i) for i in life.read_indexes}
    return set(range(len(ours)))


ORDERLY = (
    nothing_happens,
    a_torn_reading,
    files_made_anew,
    a_restart,
    a_restart_with_others,
    a_commit,
    a_commit_in_place,
    a_commit_seen_before_anything_is_refreshed,
    a_visit,
)


def settle(life: Life, random: Random, lost: Lost) -> None:
    """Read often enough that all is sure.

    A scheme that comes back is first seen with less than it had been: otherwise nobody can tell that it had gone.
    """
    if lost is None and random.random() < 0.5:
        life.look()
    if lost is not None:
        life.kernel.run_once(lost)
        life.read_refreshed(random)
    for least in (0, 0, 2):
        life.kernel.run(random, least=least)
        life.read_refreshed(random)


@settings(max_examples=1000, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.sampled_from(ORDERLY), max_size=5))
def test_where_nothing_was_lost_totals_are_exact(seed: int, events: list[Callable[[Life, Random], Lost]]) -> None:
    random = Random(seed)
    life = Life(random)
    life.read_refreshed(random)
    settle(life, random, None)
    for event in events:
        settle(life, random, event(life, random))
        for series, values in life.counters.totals().items():
            lost = life.kernel.lost.get(series, nothing())
            assert values == {name: life.kernel.ledger[series][name] - lost[name] for name in NAMES}
