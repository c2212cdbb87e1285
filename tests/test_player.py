"""A recording is played as if it happened now, and never passes for this host."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from made_regions import MIB, regions

from damon_exporter.analysis.snapshot import Intervals, Regions, Snapshot
from damon_exporter.config import Export
from damon_exporter.player import Player
from damon_exporter.sources.recording import (
    Origin,
    RecordedMonitor,
    RecordingError,
    read_recording,
    write_recording,
)
from damon_exporter.state import MonitorState, NodeState
from damon_exporter.web.app import make_app
from damon_exporter.web.messages import Request

MS = 10**6
QUICK = Intervals(1_000, 20_000)
PERIOD_MS = 20
FIRST_MS = 5_000_000
"""When the recording was made, on a clock that has nothing to do with ours."""

REGIONS = regions((0, MIB, 0, 9), (MIB, 3 * MIB, 20, 0))
PATIENCE_SECONDS = 20.0


def snapshot(at_ms: float, kdamond: int = 0, made: Regions = REGIONS) -> Snapshot:
    return Snapshot(kdamond, round((FIRST_MS + at_ms) * MS), made, QUICK, QUICK.aggregation_us)


def evenly(count: int, every_ms: float = PERIOD_MS) -> list[Snapshot]:
    return [snapshot(number * every_ms) for number in range(count)]


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Player]:
    """A player of what is written into a recording first."""

    def play(snapshots: Sequence[Snapshot], publish: str = "100ms", **words: object) -> Player:
        path = tmp_path / "tiny.json_compressed"
        write_recording(path, snapshots, **words)
        return Player(read_recording(path), Export.model_validate({"publish": publish}))

    return play


@contextmanager
def playing(player: Player) -> Iterator[Player]:
    player.start()
    try:
        yield player
    finally:
        player.stop()


def until(player: Player, reached: Callable[[NodeState], bool]) -> NodeState:
    """Wait for a published state."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not reached(state := player.published()):
        assert time.monotonic() < deadline, state
        time.sleep(0.005)
    return state


def monitors(state: NodeState) -> dict[str, MonitorState]:
    assert len({monitor.name for monitor in state.monitors}) == len(state.monitors)
    return {monitor.name: monitor for monitor in state.monitors}


def snapshots_of(state: NodeState) -> int:
    return sum(target.snapshots for monitor in state.monitors for target in monitor.targets)


def page(player: Player, path: str) -> str:
    return make_app(player.published)(Request(path)).body.decode()


# How it is played


def test_snapshots_come_at_recorded_speed(recorded: Callable[..., Player]) -> None:
    begun = time.monotonic()
    with playing(recorded(evenly(500))) as player:
        state = until(player, lambda state: snapshots_of(state) >= 25)
        took = time.monotonic() - begun
    recorded_seconds = (snapshots_of(state) - 1) * PERIOD_MS / 1000
    assert recorded_seconds < took < recorded_seconds + PATIENCE_SECONDS / 2
    assert monitors(state)["recording0"].targets[0].observed_seconds == pytest.approx(recorded_seconds)


def test_the_recording_begins_again_when_it_is_over_and_counters_go_on(recorded: Callable[..., Player]) -> None:
    with playing(recorded(evenly(3))) as player:
        before = until(player, lambda state: snapshots_of(state) > 3)
        after = until(player, lambda state: snapshots_of(state) > snapshots_of(before) + 3)
    (target,) = monitors(after)["recording0"].targets
    assert target.estimated_access_bytes == snapshots_of(after) * 2 * MIB * 20


def test_numbers_are_as_fresh_as_if_they_were_made_now(recorded: Callable[..., Player]) -> None:
    with playing(recorded(evenly(3))) as player:
        state = until(player, lambda state: snapshots_of(state) > 0)
    assert monitors(state)["recording0"].targets[0].last_snapshot_timestamp == pytest.approx(time.time(), abs=10)


def test_states_are_published_while_no_snapshot_comes(recorded: Callable[..., Player]) -> None:
    with playing(recorded([snapshot(0), snapshot(3_600_000)])) as player:
        for _ in range(3):
            before = player.published()
            until(player, lambda state, before=before: state is not before)
        assert snapshots_of(player.published()) == 1


def test_it_stops_at_once_however_far_the_next_snapshot_is(recorded: Callable[..., Player]) -> None:
    with playing(recorded([snapshot(0), snapshot(3_600_000)])) as player:
        until(player, lambda state: snapshots_of(state) == 1)
        begun = time.monotonic()
    assert time.monotonic() - begun < 5.0


def test_what_was_recorded_faster_than_it_can_be_played_is_published_and_can_be_stopped(
    recorded: Callable[..., Player],
) -> None:
    with playing(recorded(evenly(2_000, every_ms=0.001))) as player:
        before = until(player, lambda state: snapshots_of(state) > 0)
        until(player, lambda state: snapshots_of(state) > snapshots_of(before))


def test_what_was_recorded_at_one_moment_is_not_played_without_end_in_one_moment(
    recorded: Callable[..., Player],
) -> None:
    begun = time.monotonic()
    with playing(recorded([snapshot(0, kdamond) for kdamond in range(2)])) as player:
        state = until(player, lambda state: snapshots_of(state) >= 6)
        took = time.monotonic() - begun
    assert snapshots_of(state) <= 2 * (took / 0.1 + 1)


# What it says


def test_everything_says_that_it_is_a_recording(recorded: Callable[..., Player]) -> None:
    origin = Origin(description="stairs in a guest", kernel_release="7.3.4")
    with playing(recorded(evenly(3), origin=origin)) as player:
        state = until(player, lambda state: snapshots_of(state) > 0)
        pages = {path: page(player, path) for path in ("/", "/-/healthy", "/-/ready", "/metrics")}
    assert state.recording == "stairs in a guest, Linux 7.3.4"
    assert state.reasons == ("this is a recording, not this host: stairs in a guest, Linux 7.3.4",)
    assert {(monitor.owner, monitor.source) for monitor in state.monitors} == {("recording", "recording")}
    assert state.sources_up == {"recording": True}
    assert {path for path, text in pages.items() if "recording" not in text} == set()
    assert 'damon_monitor_info{monitor="recording0",operations="paddr",owner="recording",source="recording"} 1' in (
        pages["/metrics"].replace("1.0", "1")
    )


def test_it_says_so_before_it_has_begun(recorded: Callable[..., Player]) -> None:
    player = recorded(evenly(2))
    assert player.published().recording == "tiny.json_compressed"
    assert page(player, "/-/ready").endswith("# a recording, not this host: tiny.json_compressed\n")


def test_it_is_ready_whatever_has_become_of_the_recorded_kdamonds(recorded: Callable[..., Player]) -> None:
    with playing(recorded([snapshot(0), snapshot(3_600_000)], publish="100ms")) as player:
        until(player, lambda state: snapshots_of(state) == 1)
        time.sleep(0.4)  # more than three publications, and many aggregations
        assert player.published().ready


def test_it_says_where_a_recording_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.json_compressed"
    write_recording(path, [snapshot(n * PERIOD_MS, made=_many_regions(n)) for n in range(200)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    recording = read_recording(path)
    assert recording.damage
    assert Player(recording, Export()).published().reasons[1] == recording.damage


def test_what_damage_has_cost_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "cut.json_compressed"
    write_recording(path, [snapshot(n * PERIOD_MS, made=_of_two_targets(n)) for n in range(100)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    recording = read_recording(path)
    assert 0 < recording.incomplete < 100
    with playing(Player(recording, Export.model_validate({"publish": "100ms"}))) as player:
        state = until(player, lambda state: snapshots_of(state) > 0)
        assert f"damon_exporter_snapshots_incomplete_total {recording.incomplete}.0" in page(player, "/metrics")
    assert all(target.monitored_bytes for target in monitors(state)["recording0"].targets)


@pytest.mark.parametrize("count", [0, 1])
def test_what_has_no_length_cannot_be_played(count: int, tmp_path: Path) -> None:
    path = tmp_path / "short.json_compressed"
    write_recording(path, evenly(2))
    recording = replace(read_recording(path), snapshots=tuple(evenly(count)))
    with pytest.raises(RecordingError, match=rf"short\.json_compressed holds {count} snapshots: nothing to play"):
        Player(recording, Export())


# Whose numbers they are


def test_monitors_and_targets_have_their_recorded_names(recorded: Callable[..., Player]) -> None:
    two = regions((0, MIB, 3, 0, 0), (0, 2 * MIB, 3, 0, 1))
    monitor = RecordedMonitor("databases", "vaddr", {0: "postgres", 1: "redis"})
    with playing(recorded([snapshot(n * PERIOD_MS, 5, two) for n in range(3)], monitors={5: monitor})) as player:
        state = until(player, lambda state: snapshots_of(state) > 0)
    assert monitors(state)["databases"].operations == "vaddr"
    assert [t.name for t in monitors(state)["databases"].targets] == ["postgres", "redis"]


def test_targets_that_nobody_named_are_told_apart_by_their_index(recorded: Callable[..., Player]) -> None:
    """They may lie at the same addresses, and so cannot be physical memory."""
    two = regions((0, MIB, 3, 0, 0), (0, 2 * MIB, 3, 0, 1))
    with playing(recorded([snapshot(n * PERIOD_MS, 0, two) for n in range(3)])) as player:
        state = until(player, lambda state: snapshots_of(state) > 0)
    assert monitors(state)["recording0"].operations == "vaddr"
    assert [t.monitored_bytes for t in monitors(state)["recording0"].targets] == [MIB, 2 * MIB]


def second_target(state: NodeState) -> int:
    """How many snapshots of the second target there have been; 0 while it is not told of."""
    targets = {target.name: target for target in monitors(state)["recording0"].targets}
    return targets["target1"].snapshots if "target1" in targets else 0


def test_a_target_that_is_not_in_every_snapshot_keeps_its_counters(recorded: Callable[..., Player]) -> None:
    two, one = regions((0, MIB, 3, 0, 0), (0, MIB, 3, 0, 1)), regions((0, MIB, 3, 0, 0))
    mixed = [snapshot(n * PERIOD_MS, 0, two if n % 3 else one) for n in range(6)]
    with playing(recorded(mixed)) as player:
        state = until(player, lambda state: second_target(state) > 4)  # there are four in one round of the recording
    assert snapshots_of(state) > second_target(state)


def test_kdamonds_of_one_name_are_one_monitor_that_was_restarted(recorded: Callable[..., Player]) -> None:
    before, after = (RecordedMonitor("databases", "vaddr", {0: name}) for name in ("postgres", "redis"))
    restarted = [*(snapshot(n * PERIOD_MS, 7) for n in range(8)), *(snapshot(n * PERIOD_MS, 9) for n in range(8, 300))]
    with playing(recorded(restarted, monitors={7: before, 9: after})) as player:
        names = [
            [target.name for target in monitors(until(player, reached))["databases"].targets]
            for reached in (lambda state: snapshots_of(state) > 0, lambda state: "redis" in str(state.monitors))
        ]
    assert names == [["postgres"], ["redis"]]


def test_kdamonds_without_a_name_are_numbered(recorded: Callable[..., Player]) -> None:
    both = [snapshot(n * PERIOD_MS / 2, n % 2) for n in range(6)]
    with playing(recorded(both)) as player:
        state = until(player, lambda state: all(monitor.targets for monitor in state.monitors))
    assert list(monitors(state)) == ["recording0", "recording1"]


def _many_regions(seed: int) -> Regions:
    """Regions that do not compress well, so that damage hits snapshots."""
    return regions(*_rows(seed, target=0))


def _of_two_targets(seed: int) -> Regions:
    return regions(*_rows(seed, target=0), *_rows(seed + 1, target=1))


def _rows(seed: int, target: int) -> list[tuple[int, ...]]:
    borders = sorted({(seed * 7919 + number * 104_729) % 2**30 for number in range(60)})
    return [(a, b, (a + seed) % 20, b % 97, target) for a, b in pairwise(borders)]
