"""What may be done to slots that are ours, and that nothing is done to those that are not."""

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest
from driving import everything, stage_somebodys
from written import WriteLog

from damon_exporter.kernel.claim import Claim
from damon_exporter.kernel.commands import CommandWriter
from damon_exporter.kernel.damon_sysfs import DamonTree, Slot
from damon_exporter.kernel.errors import Denied, Gone, NotOurs, Rejected
from damon_exporter.kernel.ownership import Token, contents, slot_token, survey
from damon_exporter.kernel.plan import TOKEN_FILE, IntervalGoal, IntervalPlan, KdamondPlan, TargetPlan
from damon_exporter.testing.fake_kernel import FakeKernel

PLAN = KdamondPlan(
    operations="paddr",
    intervals=IntervalPlan(5_000, 100_000, 1_000_000),
    goal=None,
    min_regions=10,
    max_regions=1000,
    targets=(TargetPlan(None, ((1 << 30, 2 << 30),)),),
    refresh_ms=None,
    region_schemes=False,
)
UNTUNED = replace(PLAN, goal=IntervalGoal(), refresh_ms=0)
TUNED = replace(UNTUNED, goal=IntervalGoal(400, 3, 5_000, 10_000), refresh_ms=1000)
SAMPLED = replace(UNTUNED, region_schemes=True)
SAMPLED_TWO = replace(SAMPLED, operations="vaddr", targets=(TargetPlan(1), TargetPlan(42)))
RESTAGING = ("contexts/nr_contexts", "contexts/0/schemes/nr_schemes")


@pytest.fixture(params=["6.12", "7.3"])
def kernel(request: pytest.FixtureRequest, fake_kernel: Callable[..., FakeKernel]) -> FakeKernel:
    return fake_kernel(kernel=request.param)


@pytest.fixture
def new_kernel(fake_kernel: Callable[..., FakeKernel]) -> FakeKernel:
    kernel: FakeKernel = fake_kernel(kernel="7.3")
    return kernel


@pytest.fixture
def claim_on() -> Iterator[Callable[[FakeKernel], Claim]]:
    writers = []

    def claim(kernel: FakeKernel) -> Claim:
        writers.append(CommandWriter())
        return Claim(kernel.paths, DamonTree(kernel.paths.damon_admin), writers[-1])

    yield claim
    for writer in writers:
        writer.close()


ClaimOn = Callable[[FakeKernel], Claim]


def slot_of(kernel: FakeKernel, index: int = 0) -> Slot:
    return DamonTree(kernel.paths.damon_admin).slot(index)


def running(claim: Claim, kernel: FakeKernel, plan: KdamondPlan = PLAN) -> int:
    claim.make_slots(1)
    claim.configure(slot_of(kernel), plan)
    return claim.start(slot_of(kernel))


def use_for_something_else(kernel: FakeKernel, index: int = 0) -> None:
    """Another tool stages something of its own, which takes our token away."""
    kernel.write(f"{index}/contexts/nr_contexts", 1)
    kernel.write(f"{index}/contexts/0/operations", "paddr")


# Making slots


def test_slots_and_tokens_come_before_anything_else(
    kernel: FakeKernel, claim_on: ClaimOn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    claim_on(kernel).make_slots(2)
    mark = ["contexts/nr_contexts", "contexts/0/schemes/nr_schemes", TOKEN_FILE]
    assert [(write.slot, write.leaf) for write in log.to_damon] == [
        (None, "nr_kdamonds"),
        *((0, leaf) for leaf in mark),
        *((1, leaf) for leaf in mark),
    ]


@pytest.mark.parametrize("state", ["off", "on"])
def test_slots_that_somebody_has_made_just_before_us_are_left_to_him(
    kernel: FakeKernel, claim_on: ClaimOn, state: str
) -> None:
    stage_somebodys(kernel)
    if state == "on":
        kernel.write("0/state", "on")
    before = everything(kernel)
    with pytest.raises(NotOurs, match=r"another tool has just begun .* write 0 to nr_kdamonds"):
        claim_on(kernel).make_slots(1)
    assert everything(kernel) == before


def use_more(kernel: FakeKernel) -> None:
    kernel.write("0/contexts/0/targets/0/regions/0/end", 3 << 30)


def start_it(kernel: FakeKernel) -> None:
    kernel.write("0/state", "on")


@pytest.mark.parametrize("change", [use_more, start_it])
@pytest.mark.parametrize("count", [0, 1])
def test_an_idle_tree_that_somebody_uses_again_just_before_us_is_left_to_him(
    kernel: FakeKernel, claim_on: ClaimOn, change: Callable[[FakeKernel], None], count: int
) -> None:
    stage_somebodys(kernel)
    expected = contents(DamonTree(kernel.paths.damon_admin))
    change(kernel)
    before = everything(kernel)
    with pytest.raises(NotOurs):
        claim_on(kernel).resize(count, expected)
    assert everything(kernel) == before


def test_slots_that_somebody_has_used_while_they_answered_ebusy_are_left_to_him(
    kernel: FakeKernel, claim_on: ClaimOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claim_on(kernel)
    claim.make_slots(1)
    kernel.fail("*/nr_kdamonds", "write", errno.EBUSY, count=1)

    def pause_in_which_somebody_stages(_: float) -> None:
        use_for_something_else(kernel)

    monkeypatch.setattr("damon_exporter.kernel.files.time.sleep", pause_in_which_somebody_stages)
    with pytest.raises(NotOurs):
        claim.resize(0)
    assert kernel.read("nr_kdamonds") == "1"


def test_an_idle_tree_that_is_as_it_was_seen_makes_way(kernel: FakeKernel, claim_on: ClaimOn) -> None:
    stage_somebodys(kernel, slots=2)
    claim_on(kernel).make_slots(1, expected=contents(DamonTree(kernel.paths.damon_admin)))
    assert list(survey(DamonTree(kernel.paths.damon_admin)).tokens) == [0]


def test_slots_of_ours_that_run_are_not_thrown_away(kernel: FakeKernel, claim_on: ClaimOn) -> None:
    claim = claim_on(kernel)
    running(claim, kernel)
    with pytest.raises(NotOurs):
        claim.resize(0)
    assert kernel.read("0/state") == "on"


def test_unmarked_slots_of_a_killed_exporter_are_marked(kernel: FakeKernel, claim_on: ClaimOn) -> None:
    claim_on(kernel).make_slots(3)
    kernel.write("1/contexts/nr_contexts", 1)  # as one is that was killed while it configured the slot
    kernel.write("2/contexts/nr_contexts", 0)
    claim_on(kernel).take_over(frozenset())
    assert sorted(survey(DamonTree(kernel.paths.damon_admin)).tokens) == [0, 1, 2]


def test_a_slot_that_somebody_has_staged_is_not_marked(kernel: FakeKernel, claim_on: ClaimOn) -> None:
    claim_on(kernel).make_slots(2)
    use_for_something_else(kernel, 1)
    claim_on(kernel).take_over(frozenset())
    assert slot_token(slot_of(kernel, 1)) is None
    assert kernel.read("1/contexts/0/operations") == "paddr"


# Configuring


def test_a_slot_has_the_files_of_its_plan_and_its_fingerprint(kernel: FakeKernel, claim_on: ClaimOn) -> None:
    claim = claim_on(kernel)
    claim.make_slots(1)
    claim.configure(slot_of(kernel), PLAN)
    assert slot_of(kernel).difference(PLAN.lasting()) is None
    assert slot_token(slot_of(kernel)) == Token(frozenset(), PLAN.fingerprint)


@pytest.mark.parametrize("older", [TUNED, SAMPLED, SAMPLED_TWO], ids=["tuned", "sampled", "two targets"])
@pytest.mark.parametrize("newer", [UNTUNED, SAMPLED_TWO], ids=["untuned", "two targets"])
def test_nothing_of_an_older_plan_stays(
    new_kernel: FakeKernel, claim_on: ClaimOn, older: KdamondPlan, newer: KdamondPlan
) -> None:
    claim = claim_on(new_kernel)
    claim.make_slots(1)
    claim.configure(slot_of(new_kernel), newer)
    wanted = everything(new_kernel)
    claim.configure(slot_of(new_kernel), older)
    claim.configure(slot_of(new_kernel), newer)
    assert everything(new_kernel) == wanted


def test_at_every_moment_the_token_is_there(
    kernel: FakeKernel, claim_on: ClaimOn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claim_on(kernel)
    claim.make_slots(1)
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    claim.configure(slot_of(kernel), replace(SAMPLED_TWO, goal=None, refresh_ms=None))
    claim.configure(slot_of(kernel), PLAN)
    assert [write.leaf for write in log.to_damon if write.token is None] == []


def test_a_value_that_the_kernel_refuses_is_told_with_its_file(kernel: FakeKernel, claim_on: ClaimOn) -> None:
    claim = claim_on(kernel)
    claim.make_slots(1)
    kernel.fail("*/targets/nr_targets", "write", errno.EINVAL)
    with pytest.raises(Rejected, match=r"cannot write '1' to .*/targets/nr_targets: the kernel refused the value"):
        claim.configure(slot_of(kernel), PLAN)


# Commands


def test_a_kdamond_is_started_and_stopped(kernel: FakeKernel, claim_on: ClaimOn) -> None:
    claim = claim_on(kernel)
    pid = running(claim, kernel)
    assert kernel.read("0/pid") == str(pid)
    claim.stop(slot_of(kernel), pid)
    assert kernel.read("0/state") == "off"


def test_a_kdamond_that_ends_at_once_is_told(kernel: FakeKernel, claim_on: ClaimOn) -> None:
    claim = claim_on(kernel)
    claim.make_slots(1)
    claim.configure(slot_of(kernel), replace(PLAN, operations="vaddr", targets=()))
    kernel.delay("*/state", "read", 0.2)  # by then it has ended
    with pytest.raises(Gone, match="turned on and is off again"):
        claim.start(slot_of(kernel))


def test_stopping_what_ends_by_itself_meanwhile_is_no_error(kernel: FakeKernel, claim_on: ClaimOn) -> None:
    claim = claim_on(kernel)
    pid = running(claim, kernel)
    kernel.delay("*/kdamonds/0/state", "write", 0.3, count=1)
    ending = Timer(0.1, kernel.kill_kdamond)
    ending.start()
    claim.stop(slot_of(kernel), pid)
    ending.join()
    assert kernel.read("0/state") == "off"


def test_a_kdamond_that_cannot_be_stopped_is_told(kernel: FakeKernel, claim_on: ClaimOn) -> None:
    claim = claim_on(kernel)
    pid = running(claim, kernel)
    kernel.fail("*/kdamonds/0/state", "write", errno.EPERM, count=1)
    with pytest.raises(Denied):
        claim.stop(slot_of(kernel), pid)


@pytest.mark.parametrize("restaged", RESTAGING)
def test_no_command_and_no_value_reaches_a_slot_without_our_token(
    kernel: FakeKernel, claim_on: ClaimOn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restaged: str
) -> None:
    claim = claim_on(kernel)
    pid = running(claim, kernel)
    kernel.write(f"0/{restaged}", 1)
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    for act in (lambda slot: claim.stop(slot, pid), claim.start, lambda slot: claim.configure(slot, PLAN)):
        with pytest.raises(NotOurs, match="does not carry our token any more"):
            act(slot_of(kernel))
    assert log.writes == []


def test_a_kdamond_that_somebody_has_turned_on_is_not_ours_to_stop(kernel: FakeKernel, claim_on: ClaimOn) -> None:
    claim = claim_on(kernel)
    pid = running(claim, kernel)
    kernel.write("0/state", "off")
    kernel.write("0/state", "on")
    with pytest.raises(NotOurs, match=rf"not {pid}"):
        claim.stop(slot_of(kernel), pid)
    assert kernel.read("0/state") == "on"


def test_a_running_slot_is_not_configured(kernel: FakeKernel, claim_on: ClaimOn) -> None:
    claim = claim_on(kernel)
    running(claim, kernel)
    with pytest.raises(NotOurs):
        claim.configure(slot_of(kernel), TUNED)


# Modules


@pytest.mark.parametrize(("name", "module"), [("6.12", "damon_reclaim"), ("7.3", "damon_stat")])
def test_a_module_is_noted_in_every_slot_before_it_is_stopped(
    fake_kernel: Callable[..., FakeKernel],
    claim_on: ClaimOn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    module: str,
) -> None:
    kernel = fake_kernel(kernel=name, enabled=[module])
    claim = claim_on(kernel)
    claim.make_slots(2)
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    claim.stop_modules({module, "damon_lru_sort"})
    assert [write.leaf for write in log.to_damon] == [TOKEN_FILE, TOKEN_FILE, f"{module}/parameters/enabled"]
    assert kernel.parameter(module, "enabled").read_text() == "N\n"
    assert survey(DamonTree(kernel.paths.damon_admin)).stopped_modules == {module}


def test_modules_that_do_not_run_are_left_alone(
    kernel: FakeKernel, claim_on: ClaimOn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claim_on(kernel)
    claim.make_slots(1)
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    claim.stop_modules({"damon_stat", "damon_reclaim", "damon_lru_sort"})
    assert log.writes == []


def test_a_module_that_cannot_be_started_again_is_told_and_remembered(
    fake_kernel: Callable[..., FakeKernel], claim_on: ClaimOn, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_stat"])
    claim = claim_on(kernel)
    claim.make_slots(1)
    claim.stop_modules({"damon_stat"})
    kernel.fail("*/damon_stat/parameters/enabled", "write", errno.EBUSY)
    claim.start_modules()
    assert "damon_stat was running before this exporter and could not be started again" in caplog.text
    kernel.clear_faults()
    claim.start_modules()
    assert kernel.parameter("damon_stat", "enabled").read_text() == "Y\n"


# Giving it back


def test_releasing_stops_all_starts_modules_and_leaves_no_slots(
    fake_kernel: Callable[..., FakeKernel], claim_on: ClaimOn
) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_stat"])
    claim = claim_on(kernel)
    claim.make_slots(2)
    claim.stop_modules({"damon_stat"})
    for index in (0, 1):
        claim.configure(slot_of(kernel, index), PLAN)
        claim.start(slot_of(kernel, index))
    claim.release()
    assert kernel.read("nr_kdamonds") == "0"
    assert kernel.parameter("damon_stat", "enabled").read_text() == "Y\n"


def test_slots_beside_somebodys_are_stopped_and_left_without_token(kernel: FakeKernel, claim_on: ClaimOn) -> None:
    claim = claim_on(kernel)
    claim.make_slots(2)
    claim.configure(slot_of(kernel, 0), PLAN)
    claim.start(slot_of(kernel, 0))
    use_for_something_else(kernel, 1)
    with pytest.raises(NotOurs, match="they run on, and act if they did"):
        claim.release()
    assert kernel.read("0/state") == "off"
    assert kernel.read("nr_kdamonds") == "2"
    assert kernel.read("1/contexts/0/operations") == "paddr"
    assert not survey(DamonTree(kernel.paths.damon_admin)).tokens


def test_a_tree_that_somebody_has_emptied_is_left_alone(
    kernel: FakeKernel, claim_on: ClaimOn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claim_on(kernel)
    claim.make_slots(1)
    kernel.write("nr_kdamonds", 0)
    log = WriteLog(kernel, tmp_path / "log", monkeypatch)
    claim.release()
    assert log.writes == []
