"""Schemes that act, on real kernels with swap: what they do is what is wanted and what is told."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from .exporter import ADMIN, MIB, Exporter, Metrics, defragment, exporter, free_damon
from .guest import Guest, GuestProcess
from .swap import swap, swapped
from .test_truth import WORKLOADS

HOT, IDLE = 64, 128
SERVED_AFTER = 3
"""So many seconds old may be what is served ..."""
SERVED_AFTER_ASKING = 6
"""... and of a kernel that does not refresh its files: it is asked at one look and read at the next."""
COLD = "access_pattern: {access_ratio: [0%, 0%], age: [5s, max]}"

KERNEL = """
kernel: {settle: 0s, allow_actions: true, on_exit: keep}
monitors:
- name: gone
  operations: paddr
  schemes: [{name: a, action: pageout, ops_filters: [{type: memcg, path: /gone}]}]
"""
PROCESSES = f"""
- name: free
  operations: vaddr
  processes: {{match: [{{comm: alpha}}]}}
  intervals: {{sample: 10ms, aggregation: 200ms, update: 1s}}
  regions: {{min: 50}}
  schemes: [{{name: cold, action: pageout, {COLD}}}]
"""
LIMITED = "quotas: {size: 2MiB, reset_interval: 1s}"
HELD = "watermarks: {interval: 1s, high: 3%, mid: 2%, low: 1%}"
QUOTA = 2 * MIB

CGROUP = f"""
- name: node
  operations: paddr
  intervals: {{sample: 10ms, aggregation: 200ms}}
  regions: {{min: 500, max: 2000}}
  schemes:
  - {{name: a, action: pageout, {COLD}, ops_filters: [{{type: memcg, path: /a, matching: false, allow: false}}]}}
"""


def of_buffer(monitor: str, pid: int, area: dict[str, int], how: str) -> str:
    """A monitor of one buffer: a quota is used up for what lies unmapped between a process's mappings, too."""
    return f"""
- name: {monitor}
  operations: fvaddr
  ranges: [[{area["start"]}, {area["end"]}]]
  processes: {{match: [{{pid: {pid}}}]}}
  intervals: {{sample: 10ms, aggregation: 200ms, update: 1s}}
  schemes: [{{name: cold, action: pageout, {COLD}, {how}}}]
"""


def hotcold(name: str, hot: int, idle: int, *more: str) -> list[str]:
    # Before all others: who does not run for a whole aggregation touches nothing in it, and DAMON is right.
    sizes = ("--hot", f"{hot}MiB", "--idle", f"{idle}MiB", "--pause", "0.06", "--nice", "-10", "--stay")
    return ["python", f"{WORKLOADS}/hotcold.py", "--comm", name, *sizes, *more]


def anonymous(process: GuestProcess) -> float:
    """``RssAnon`` of a process in bytes."""
    shown = dict(line.split(b":", 1) for line in process.guest.get(f"/proc/{process.pid}/status").splitlines())
    return float(shown[b"RssAnon"].split()[0]) * 1024


def kernels_counter(guest: Guest, name: str, slot: int = 1, scheme: int = 1) -> float:
    """A counter as the file of a scheme shows it."""
    return float(guest.get(f"{ADMIN}/kdamonds/{slot}/contexts/0/schemes/{scheme}/stats/{name}"))


def applied(metrics: Metrics, monitor: str) -> float:
    return metrics.value("damon_scheme_applied_bytes_total", monitor=monitor, action="pageout")


def agreeing(watching: Exporter, pairs: Callable[[Metrics], list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Pairs of what is served and of what the kernel shows or has just shown: both move on all the time."""
    shown: list[set[float]] = []
    seen: list[tuple[float, float]] = []

    def agree(metrics: Metrics) -> bool:
        found = pairs(metrics)
        shown[:] = [earlier | {now} for earlier, (_, now) in zip(shown or [set()] * len(found), found, strict=True)]
        seen[:] = [
            (served, served if served in known else now) for (served, now), known in zip(found, shown, strict=True)
        ]
        return all(served == told for served, told in seen)

    try:
        watching.wait_for(agree, "equal numbers", 40)
    except AssertionError:
        pytest.fail(f"never equal, lastly {seen}")
    return seen


@dataclass(frozen=True, slots=True)
class PagedOut:
    """What was seen of three processes of which one is limited and one is held back."""

    before: dict[str, float]
    after: dict[str, float]
    """``RssAnon`` of each in bytes."""
    swapped: float
    metrics: Metrics
    seconds: float
    limited: float
    """What was paged out of the limited one in so many seconds."""
    agreed: list[tuple[float, float]]


def _page_out(watching: Exporter, processes: Mapping[str, GuestProcess], before: dict[str, float]) -> PagedOut:
    guest = watching.guest
    first = watching.wait_for(lambda m: m.get("damon_scheme_applied_bytes_total", monitor="limited"), "bytes", 60)
    began = guest.clock()
    fallen = before["alpha"] - 115 * MIB
    watching.wait_for(lambda _: anonymous(processes["alpha"]) < fallen, "cold memory leaves", 60)
    guest.sleep(5)
    metrics, seconds = watching.metrics(), guest.clock() - began
    limited = applied(metrics, "limited") - applied(first, "limited")
    after = {name: anonymous(process) for name, process in processes.items()}
    in_swap = swapped(guest)
    agreed = agreeing(
        watching,
        lambda m: [
            (applied(m, "free"), kernels_counter(guest, "sz_applied")),
            (m.value("damon_scheme_tried_bytes_total", monitor="free"), kernels_counter(guest, "sz_tried")),
        ],
    )
    return PagedOut(before, after, in_swap, metrics, seconds, limited, agreed)


@dataclass(frozen=True, slots=True)
class OneCgroup:
    """What was seen of a scheme for one of two cgroups."""

    after_15_s: float
    """Applied bytes."""
    swap: dict[str, float]
    """``memory.swap.current`` of each cgroup."""
    agreed: list[tuple[float, float]]
    reasons: str
    slots: str
    """The states of the slots while it runs."""


def _page_out_one_cgroup(watching: Exporter) -> OneCgroup:
    guest = watching.guest
    watching.wait_for(lambda m: m.get("damon_snapshots_total", monitor="node"), "the monitor runs", 60)
    guest.sleep(15 + (SERVED_AFTER_ASKING if _is_old(guest) else SERVED_AFTER))
    after_15_s = applied(watching.metrics(), "node")
    in_swap = {name: float(guest.get(f"/sys/fs/cgroup/{name}/memory.swap.current")) for name in "ab"}
    agreed = agreeing(watching, lambda m: [(applied(m, "node"), kernels_counter(guest, "sz_applied"))])
    return OneCgroup(after_15_s, in_swap, agreed, watching.fetch("/-/ready"), states(guest))


# One exporter goes over from processes to physical memory by a reload


@dataclass(frozen=True, slots=True)
class Acted:
    """What schemes of one exporter did, first to processes, then to physical memory."""

    processes: PagedOut
    cgroup: OneCgroup
    slots_afterwards: str
    """The states of the slots after it has ended."""


@pytest.fixture
def acted(show: Callable[..., Acted]) -> Acted:
    return show(_act)


@pytest.fixture
def paged_out(acted: Acted) -> PagedOut:
    return acted.processes


@pytest.fixture
def one_cgroup(acted: Acted) -> OneCgroup:
    return acted.cgroup


def _act(guest: Guest) -> Acted:
    free_damon(guest)
    with swap(guest), ExitStack() as watched, ExitStack() as running:
        processes = {
            name: watched.enter_context(guest.spawn(hotcold(name, hot, idle)))
            for name, hot, idle in (("alpha", HOT, IDLE), ("beta", 16, 64), ("gamma", 16, 64))
        }
        idle = {name: json.loads(process.first_line())["idle"] for name, process in processes.items()}
        buffers = (
            of_buffer(monitor, processes[name].pid, idle[name], how)
            for monitor, name, how in (("limited", "beta", LIMITED), ("held", "gamma", HELD))
        )
        before = {name: anonymous(process) for name, process in processes.items()}
        with exporter(guest, "".join((KERNEL, PROCESSES, *buffers))) as watching:
            of_processes = _page_out(watching, processes, before)
            watched.close()
            running.enter_context(two_cgroups(guest))
            watching.reload(KERNEL + CGROUP)
            of_cgroup = _page_out_one_cgroup(watching)
        afterwards = states(guest)
        free_damon(guest)
    return Acted(of_processes, of_cgroup, afterwards)


@contextmanager
def two_cgroups(guest: Guest) -> Iterator[None]:
    """A process with hot and idle memory in each of two cgroups."""
    guest.run("cd /sys/fs/cgroup; echo +memory > cgroup.subtree_control; mkdir -p a b")
    defragment(guest)
    with ExitStack() as running:
        running.callback(guest.run, "cd /sys/fs/cgroup; rmdir a b")
        for cgroup, hot, idle in (("a", HOT, IDLE), ("b", 16, 96)):
            workload = hotcold(cgroup, hot, idle, "--cgroup", f"/{cgroup}", *(["--huge"] if cgroup == "a" else []))
            running.enter_context(guest.spawn(workload)).first_line()
        yield


def states(guest: Guest) -> str:
    """The states of all slots."""
    return guest.run(f"cat {ADMIN}/kdamonds/*/state").stdout


def test_what_is_cold_leaves_memory_and_what_is_hot_stays(paged_out: PagedOut) -> None:
    fallen = {name: paged_out.before[name] - paged_out.after[name] for name in paged_out.before}
    assert 115 * MIB <= fallen["alpha"] <= 130 * MIB
    assert paged_out.after["alpha"] >= HOT * MIB
    assert paged_out.swapped == pytest.approx(sum(fallen.values()), abs=4 * MIB)


def test_the_metric_is_the_kernels_own_number(paged_out: PagedOut) -> None:
    assert all(served == shown > 0 for served, shown in paged_out.agreed)


def test_a_quota_limits_the_rate(paged_out: PagedOut) -> None:
    assert 0 < paged_out.limited <= QUOTA * (paged_out.seconds + SERVED_AFTER)
    assert paged_out.before["beta"] - paged_out.after["beta"] > 0
    assert paged_out.metrics.value("damon_scheme_effective_quota_bytes", monitor="limited") == QUOTA
    assert paged_out.metrics.value("damon_scheme_quota_exceeded_total", monitor="limited") > 0


def test_watermarks_hold_a_scheme_back(paged_out: PagedOut) -> None:
    assert paged_out.metrics.value("damon_scheme_active", monitor="held") == 0
    assert paged_out.metrics.value("damon_scheme_active", monitor="free") == 1
    assert applied(paged_out.metrics, "held") == 0
    assert paged_out.before["gamma"] - paged_out.after["gamma"] < MIB


def test_a_filter_keeps_a_scheme_to_one_cgroup(one_cgroup: OneCgroup) -> None:
    assert 100 * MIB <= one_cgroup.after_15_s <= 140 * MIB
    assert one_cgroup.swap["a"] >= 90 * MIB
    assert one_cgroup.swap["b"] == 0


def test_pages_really_acted_on_are_the_kernels_own_number(one_cgroup: OneCgroup) -> None:
    assert all(served == shown > 0 for served, shown in one_cgroup.agreed)


def test_a_scheme_for_a_cgroup_that_is_not_there_keeps_only_its_monitor_from_running(one_cgroup: OneCgroup) -> None:
    assert "gone does not run: scheme a names the cgroup /gone, which is not there" in one_cgroup.reasons


def test_what_acts_is_stopped_on_exit_although_kdamonds_are_kept(acted: Acted) -> None:
    assert acted.cgroup.slots.split() == ["off", "on", "off", "off"]
    assert acted.slots_afterwards.split() == ["off"] * 4


# Other people's schemes, and those of DAMON_RECLAIM

SOMEBODYS = f"""
cd {ADMIN}/kdamonds; echo 1 > nr_kdamonds; cd 0; echo 1 > contexts/nr_contexts; cd contexts/0
echo paddr > operations; echo 1 > targets/nr_targets; echo 1 > targets/0/regions/nr_regions
echo 0x40000000 > targets/0/regions/0/end; echo 0x1000000 > targets/0/regions/0/start
echo 1 > schemes/nr_schemes; cd schemes/0; echo stat > action
echo 18446744073709551615 > access_pattern/sz/max
for file in access_pattern/nr_accesses/max access_pattern/age/max; do echo 4294967295 > $file; done
cd ../../../..; echo on > state
"""
REFRESHED = f"{ADMIN}/kdamonds/0/refresh_ms"
OF_SOMEBODY = {"monitor": "sysfs0", "scheme": "0", "action": "stat"}

RECLAIM = "/sys/module/damon_reclaim/parameters"
START_RECLAIM = (
    f"cd {RECLAIM}; echo 2000000 > min_age; echo 5000 > sample_interval; echo 100000 > aggr_interval; "
    "echo 1000 > wmarks_high; echo 999 > wmarks_mid; echo 0 > wmarks_low; echo 1000000 > wmarks_interval; "
    "echo 0 > quota_ms; echo Y > enabled"
)
HOLD_RECLAIM = f"cd {RECLAIM}; echo 3 > wmarks_high; echo 2 > wmarks_mid; echo 1 > wmarks_low; echo Y > commit_inputs"
PARAMETERS = {
    "damon_scheme_tried_regions_total": "nr_reclaim_tried_regions",
    "damon_scheme_tried_bytes_total": "bytes_reclaim_tried_regions",
    "damon_scheme_applied_regions_total": "nr_reclaimed_regions",
    "damon_scheme_applied_bytes_total": "bytes_reclaimed_regions",
    "damon_scheme_quota_exceeded_total": "nr_quota_exceeds",
}
OF_RECLAIM = {"monitor": "damon_reclaim", "scheme": "reclaim", "action": "pageout"}


def _is_old(guest: Guest) -> bool:
    """6.12 has neither events of schemes nor files that are refreshed.

    And 6.12.117's DAMON_RECLAIM commits a context without schemes over its own: it monitors, its counters stay 0.
    """
    return guest.kernel.release.startswith("6.12")


@dataclass(frozen=True, slots=True)
class Observed:
    """What an exporter, which may take DAMON once nobody has used it for long, saw of the schemes of others."""

    old: bool
    before: dict[str, bytes]
    after: dict[str, bytes]
    """DAMON's tree before the exporter was started, and while it looked."""
    by_events: Metrics
    reasons: str
    refreshed: Metrics | None
    """After the owner of the kdamond had its files refreshed, where that can be done."""
    reclaim: list[tuple[float, float]]
    """What is served of DAMON_RECLAIM, and its parameters."""


@pytest.fixture
def observed(show: Callable[..., Observed]) -> Observed:
    return show(_observe)


def _observe(guest: Guest) -> Observed:
    free_damon(guest)
    defragment(guest)
    old = _is_old(guest)
    with swap(guest), guest.spawn(hotcold("alpha", HOT, IDLE, "--huge")) as process:
        process.first_line()
        guest.run(SOMEBODYS)
        before = guest.get_all(ADMIN, but="path")
        with exporter(guest, "kernel: {settle: 10m}\n") as watching:
            tells = "damon_scheme_tried_bytes_total" if not old else "damon_snapshots_total"
            watching.wait_for(lambda m: m.get(tells, monitor="sysfs0"), "the kdamond is seen")
            guest.sleep(3)
            by_events, reasons, after = watching.metrics(), watching.fetch("/-/ready"), guest.get_all(ADMIN, but="path")
            refreshed = None if old else _refreshed(watching)
            free_damon(guest)
            reclaim = _reclaim(watching, acts=not old)
            guest.run(f"echo N > {RECLAIM}/enabled")
    return Observed(old, before, after, by_events, reasons, refreshed, reclaim)


def _refreshed(watching: Exporter) -> Metrics:
    watching.guest.run(f"echo 300 > {REFRESHED}")
    watching.guest.sleep(3)
    return watching.metrics()


def _reclaim(watching: Exporter, *, acts: bool) -> list[tuple[float, float]]:
    guest = watching.guest
    guest.run(START_RECLAIM)
    watching.wait_for(lambda m: m.get("damon_scheme_active", **OF_RECLAIM) == 1, "it is active")
    if acts:
        applied_bytes = "damon_scheme_applied_bytes_total"
        watching.wait_for(lambda m: m.value(applied_bytes, **OF_RECLAIM) > 20 * MIB, "memory is reclaimed")
    guest.run(HOLD_RECLAIM)
    watching.wait_for(lambda m: m.value("damon_scheme_active", **OF_RECLAIM) == 0, "it is held back")
    return agreeing(
        watching,
        lambda m: [
            (m.value(metric, **OF_RECLAIM), float(guest.get(f"{RECLAIM}/{parameter}")))
            for metric, parameter in PARAMETERS.items()
        ],
    )


def test_what_other_peoples_schemes_did_comes_by_events_or_not_at_all(observed: Observed) -> None:
    if observed.old:
        assert observed.by_events.all("damon_scheme_tried_bytes_total") == {}
        assert "sysfs0: nothing tells (yet) what its schemes did" in observed.reasons
    else:
        tried = observed.by_events.value("damon_scheme_tried_bytes_total", **OF_SOMEBODY)
        assert tried == _snapshots(observed.by_events) * _monitored(observed.by_events) > 0
    assert observed.after == observed.before


def test_files_that_their_owner_has_refreshed_tell_the_same(observed: Observed) -> None:
    assert (observed.refreshed is None) == observed.old
    if observed.refreshed is not None:
        assert _snapshots(observed.refreshed) > _snapshots(observed.by_events)
        # files may be refreshed while they are read: the one counter is of a snapshot later than the other
        tried = observed.refreshed.value("damon_scheme_tried_bytes_total", **OF_SOMEBODY)
        per_snapshot = _monitored(observed.refreshed)
        assert tried == pytest.approx(_snapshots(observed.refreshed) * per_snapshot, abs=5 * per_snapshot)


def _snapshots(metrics: Metrics) -> float:
    return metrics.value("damon_scheme_snapshots_total", **OF_SOMEBODY)


def _monitored(metrics: Metrics) -> float:
    return metrics.value("damon_monitored_bytes", monitor="sysfs0")


def test_the_numbers_of_damon_reclaim_are_its_parameters(observed: Observed) -> None:
    assert all(served == shown for served, shown in observed.reclaim)
    assert all((shown > 0) != observed.old for _, shown in observed.reclaim[:4])
