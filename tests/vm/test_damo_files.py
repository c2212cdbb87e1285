"""A file of damo's parameters makes, on a real kernel, the tree that `damo start` makes of it."""

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from written_by_damo import damo_writes

from .exporter import ADMIN, exporter, free_damon
from .guest import Guest
from .test_truth import WORKLOADS

FILES = "/tmp/files"
WORKLOAD = ["python", f"{WORKLOADS}/hotcold.py", "--hot", "8MiB", "--idle", "8MiB"]
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
UNIT = ("--damon_addr_unit", "4096", "--regions", "4096-131072", "--monitoring_nr_regions_range", "15", "2,000")

OLD_ACTIONS = (["willneed"], ["cold"], ["pageout"], ["hugepage"], ["nohugepage"])
NEW_ACTIONS = (*OLD_ACTIONS, ["collapse"], ["migrate_hot", "0", "5"])
"""The last with a weight: damo writes it among ``dests``."""

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


@dataclass(frozen=True, slots=True)
class Trees:
    """The parameters that damo and the exporter make of the same file."""

    damos: dict[str, str]
    ours: dict[str, str]


@pytest.fixture
def trees(show: Callable[..., dict[str, Trees]]) -> dict[str, Trees]:
    return show(_make_trees)


def _make_trees(guest: Guest) -> dict[str, Trees]:
    guest.run("cd /sys/fs/cgroup; echo +memory > cgroup.subtree_control; mkdir -p a")
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        running.callback(guest.run, "rmdir /sys/fs/cgroup/a")
        processes = [running.enter_context(guest.spawn(WORKLOAD)) for _ in range(2)]
        for process in processes:
            process.first_line()
        options = dict(_options(guest, [process.pid for process in processes]))
        for name, given in options.items():
            damo_writes(Path(folder) / "set-up.json", *given)
            guest.put(f"{FILES}/{name}.json", (Path(folder) / "set-up.json").read_bytes())
        damos = {name: _made_by_damo(guest, name) for name in options}
        ours = _made_by_us(guest, list(options))
    return {name: Trees(damos[name], ours[name]) for name in options}


def _is_old(guest: Guest) -> bool:
    return guest.kernel.release.startswith("6.12")


def _options(guest: Guest, pids: Sequence[int]) -> Iterator[tuple[str, Sequence[str]]]:
    """What damo is told on its command line, by the names of the files that it writes."""
    old = _is_old(guest)
    yield "physical", OLD if old else NEW
    targets = [word for pid in pids for word in ("--target_pid", str(pid))]
    actions = OLD_ACTIONS if old else NEW_ACTIONS
    schemes = [word for action in actions for word in ("--damos_action", *action, *NEVER)]
    yield "processes", (*targets, "--nr_targets", str(len(pids)), *schemes)
    if not old:
        yield "tuned", ("--ops", "paddr", *UNIT, *TUNED)


def _made_by_damo(guest: Guest, name: str) -> dict[str, str]:
    free_damon(guest)
    guest.run(["damo", "start", f"{FILES}/{name}.json"], env={"HOME": "/tmp"}, timeout=90)
    assert guest.get(f"{ADMIN}/kdamonds/0/state") == b"on\n"
    return parameters(guest)


def _made_by_us(guest: Guest, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """One exporter reads one file after the other."""
    free_damon(guest)
    made = {}
    with exporter(guest, _configuration(names[0])) as watching:
        for name in names:
            if name != names[0]:
                watching.reload(_configuration(name))
            watching.wait_for(lambda m: m.get("damon_monitor_up", monitor="kdamond0"), f"{name} runs", 60)
            made[name] = without_our_scheme(parameters(guest))
    return made


def _configuration(name: str) -> str:
    return f"kernel: {{settle: 0s, allow_actions: true}}\nmonitors_from: {FILES}/{name}.json\n"


def test_everything_that_the_kernel_can_do_with_physical_memory(trees: dict[str, Trees]) -> None:
    assert trees["physical"].ours == trees["physical"].damos
    assert len(trees["physical"].damos) > 150


def test_processes_in_their_order(trees: dict[str, Trees]) -> None:
    assert trees["processes"].ours == trees["processes"].damos
    one, other = (trees["processes"].damos[f"0/contexts/0/targets/{index}/pid_target"] for index in (0, 1))
    assert int(one) < int(other)
    assert int(trees["processes"].damos["0/contexts/0/schemes/nr_schemes"]) >= len(OLD_ACTIONS)


def test_tuned_intervals_begin_as_damo_has_them_begin(trees: dict[str, Trees], guest: Guest) -> None:
    assert ("tuned" in trees) == (not _is_old(guest))
    if "tuned" in trees:
        assert trees["tuned"].damos["0/contexts/0/addr_unit"] == "4096"
        tuned = re.compile(r".*/intervals/(sample|aggr)_us$")  # the kernel moves them on and on
        ours, damos = trees["tuned"].ours, trees["tuned"].damos
        assert _but(tuned, ours) == _but(tuned, damos)
        assert damos["0/contexts/0/monitoring_attrs/intervals/intervals_goal/access_bp"] == "429"


def _but(these: re.Pattern[str], tree: dict[str, str]) -> dict[str, str]:
    return {path: value for path, value in tree.items() if not these.match(path)}
