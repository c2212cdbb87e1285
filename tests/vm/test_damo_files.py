"""A file of damo's parameters makes, on a real kernel, the tree that `damo start` makes of it."""

import re
from collections.abc import Iterator, Sequence

import pytest

from .exporter import ADMIN, exporter, free_damon
from .guest import Guest, GuestProcess
from .test_truth import WORKLOADS

pytestmark = [pytest.mark.timeout(480), pytest.mark.trial]

FILE = "/tmp/setup.json"
HOME = {"HOME": "/tmp"}
ENTRY = "--damos_scheme"
NEVER = ("--damos_age", "1h", "max")

PHYSICAL = (
    *("--kdamond", "--damon_ctx", "--ops", "paddr", "--damon_target"),
    *("--regions", "16777216-536870912 805306368-989855744"),
    *("--monitoring_intervals", "4500us", "90ms", "2s", "--monitoring_nr_regions_range", "15", "2,000"),
)
"""Several ranges of memory, and intervals of which neither is a multiple of the other."""

PAGEOUT = (
    *(ENTRY, "--damos_action", "pageout", *NEVER, "--damos_sz_region", "4K", "max", "--damos_access_rate", "0%", "57%"),
    *("--damos_apply_interval", "1.5s", "--damos_quotas", "10ms", "1.7G", "1s", "29%", "7", "70%"),
    *("--damos_wmarks", "free_mem_rate", "5.5s", "57%", "29%", "20", "--damos_filter", "reject", "anon"),
    *("--damos_quota_goal", "some_mem_psi_us", "10.5ms", "--damos_quota_goal", "user_input", "10,000", "9999"),
)
OTHERS = (
    *(ENTRY, "--damos_action", "lru_prio", *NEVER, "--damos_filter", "reject", "none", "memcg", "/a"),
    *(ENTRY, "--damos_action", "lru_deprio", *NEVER, "--damos_filter", "reject", "addr", "16M", "32M"),
    *(ENTRY, "--damos_action", "stat", "--damos_access_rate", "1%", "max", "--damos_age", "5.35s", "max"),
    *(ENTRY, "--damos_action", "migrate_cold", "0", *NEVER, "--damos_filter", "reject", "young"),
    *(ENTRY, "--damos_action", "stat", "--damos_filter", "reject", "none", "target", "0"),
)
OLD = (*PHYSICAL, *PAGEOUT, *OTHERS)
NEW = (
    *PHYSICAL,
    *("--probe", "--probe_filter", "allow", "anon", "--probe", "--probe_filter", "reject", "non", "memcg", "/a"),
    *PAGEOUT,
    *("--damos_quota_goal_tuner", "temporal", "--damos_quota_fail_charge_ratio", "1", "1,024"),
    *("--damos_quota_goal", "node_mem_used_bp", "99.7%", "0", "--damos_quota_goal", "node_mem_free_bp", "0.29%", "0"),
    *("--damos_quota_goal", "node_memcg_used_bp", "29%", "0", "/a"),
    *("--damos_quota_goal", "node_memcg_free_bp", "57%", "0", "/"),
    *("--damos_quota_goal", "active_mem_bp", "5000", "--damos_quota_goal", "inactive_mem_bp", "50%"),
    *("--damos_quota_goal", "node_eligible_mem_bp", "5,000"),
    *OTHERS,
    *(ENTRY, "--damos_action", "migrate_hot", "0", *NEVER, "--damos_filter", "allow", "memcg", "/a"),
    *(ENTRY, "--damos_action", "stat", "--damos_filter", "allow", "none", "hugepage_size", "2M", "max"),
    *(ENTRY, "--damos_action", "stat", "--damos_filter", "reject", "none", "active"),
    *(ENTRY, "--damos_action", "stat", "--damos_filter", "allow", "unmapped"),
)
"""damo takes goals of one scheme only on its command line."""
TUNED = ("--monitoring_intervals_goal", "4.29%", "5", "1ms", "200ms")
VIRTUAL = ("--monitoring_intervals", "5ms", "100ms", "1s", "--damos_action", "cold", *NEVER)

OUR_OWN = re.compile(
    r"\d+/(state|pid|refresh_ms)$|.*/(stats/[ns].*|stats/qt_exceeds|tried_regions/.*|effective_bytes)$"
)
"""What is no parameter, and how often the kernel refreshes files, of which the exporter has its own idea."""
COUNT = re.compile(r".*/access_pattern/(nr_accesses|age)/(min|max)$")
LARGEST_COUNT = 2**32 - 1
"""What damo writes for more than this, the kernel would cut off to its lower 32 bits."""


def parameters(guest: Guest) -> dict[str, str]:
    """Every parameter in DAMON's tree, by its path below the folder of kdamonds."""
    root = f"{ADMIN}/kdamonds/"
    # paths of cgroups, too: nobody writes them now
    files = {
        path.removeprefix(root): content.decode().strip() for path, content in guest.get_all(root, but=" ").items()
    }
    return {path: _within(path, value) for path, value in files.items() if not OUR_OWN.match(path)}


def _within(path: str, value: str) -> str:
    return str(min(int(value), LARGEST_COUNT)) if COUNT.match(path) else value


def without_our_scheme(tree: dict[str, str]) -> dict[str, str]:
    """The same without scheme 0, which carries the token."""
    return dict(_without_our_scheme(tree))


def _without_our_scheme(tree: dict[str, str]) -> Iterator[tuple[str, str]]:
    for path, value in tree.items():
        found = re.match(r"(.*/schemes/)(\d+)(/.*)", path)
        if path.endswith("/nr_schemes"):
            yield path, str(int(value) - 1)
        elif found is None:
            yield path, value
        elif found[2] != "0":
            yield f"{found[1]}{int(found[2]) - 1}{found[3]}", value


@pytest.fixture
def cgroup(guest: Guest) -> Iterator[Guest]:
    """A guest with the cgroup that filters name."""
    guest.run("cd /sys/fs/cgroup; echo +memory > cgroup.subtree_control; mkdir -p a")
    yield guest
    guest.run("rmdir /sys/fs/cgroup/a")


def both_trees(guest: Guest, options: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """What damo makes of a file that it has written, and what we do."""
    free_damon(guest)
    guest.run(["damo", "args", "damon", *options, "--format", "json", "--out", FILE], env=HOME, timeout=90)
    free_damon(guest)
    guest.run(["damo", "start", FILE], env=HOME, timeout=90)
    damos = parameters(guest)
    assert guest.get(f"{ADMIN}/kdamonds/0/state") == b"on\n"
    free_damon(guest)
    with exporter(guest, f"kernel: {{settle: 0s, allow_actions: true}}\nmonitors_from: {FILE}\n") as watching:
        watching.wait_for(lambda m: m.get("damon_monitor_up", monitor="kdamond0"), "the monitor runs", 60)
        ours = parameters(guest)
    return damos, without_our_scheme(ours)


def test_everything_that_the_kernel_can_do_with_physical_memory(cgroup: Guest) -> None:
    old = cgroup.run("uname -r").stdout.startswith("6.12")
    damos, ours = both_trees(cgroup, OLD if old else NEW)
    assert ours == damos
    assert len(damos) > 250


def test_processes_in_their_order(guest: Guest) -> None:
    def process() -> GuestProcess:
        return guest.spawn(["python", f"{WORKLOADS}/hotcold.py", "--hot", "8MiB", "--idle", "8MiB"])

    with process() as one, process() as other:
        one.first_line()
        other.first_line()
        options = ("--target_pid", str(one.pid), "--target_pid", str(other.pid), "--nr_targets", "2", *VIRTUAL)
        damos, ours = both_trees(guest, options)
    assert ours == damos
    assert damos["0/contexts/0/targets/1/pid_target"] == str(other.pid)


def test_tuned_intervals_begin_as_damo_has_them_begin(guest_73: Guest) -> None:
    damos, ours = both_trees(guest_73, (*PHYSICAL[PHYSICAL.index("--ops") :], *TUNED))
    tuned = re.compile(r".*/intervals/(sample|aggr)_us$")  # the kernel moves them on and on
    assert {path: value for path, value in ours.items() if not tuned.match(path)} == {
        path: value for path, value in damos.items() if not tuned.match(path)
    }
    assert damos["0/contexts/0/monitoring_attrs/intervals/intervals_goal/access_bp"] == "429"
