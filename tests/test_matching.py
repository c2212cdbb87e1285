"""Which processes are watched, whose they are, and what their groups are called."""

import errno
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from driving import run_somebodys
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from damon_exporter.config import Processes
from damon_exporter.containers.named import NO_POD, Named, PodLookup, no_pod
from damon_exporter.kernel.errors import Unsupported
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.procfs import KTHREADD_PID
from damon_exporter.matching import ProcessFinder, describe_selectors
from damon_exporter.roster import WatchedProcess
from damon_exporter.state import Owner
from damon_exporter.targets import MatchingProcesses
from damon_exporter.testing.fake_kernel import FakeKernel

MIB = 1 << 20

PODS = {
    "/kubepods/pod1/a": Named("shop", "cart-7f", "app", {"app": "cart", "tier": "front"}),
    "/kubepods/pod2/b": Named("bank", "ledger-0", "db", {"app": "ledger"}),
    "/kubepods/pod3/c": Named(),
}


def found_by(
    chosen: Processes, procfs: Path, watched: Iterable[WatchedProcess] = (), pod_of: PodLookup = no_pod
) -> tuple[WatchedProcess, ...]:
    return (
        ProcessFinder(chosen, KernelPaths(procfs.parent / "sys", procfs), pod_of)
        .find({process.identity for process in watched})
        .taken
    )


def matching(
    kernel: FakeKernel, *match: dict[str, object], pod_of: PodLookup = lambda path: PODS.get(path, NO_POD), **keys: Any
) -> tuple[WatchedProcess, ...]:
    return found_by(Processes.model_validate({"match": list(match), **keys}), kernel.procfs, (), pod_of)


def pids(found: tuple[WatchedProcess, ...]) -> list[int]:
    return [process.pid for process in found]


def test_a_name_must_be_exactly_that(kernel: FakeKernel) -> None:
    for pid, comm in ((42, "postgres"), (43, "postgresql"), (44, "Postgres")):
        kernel.add_process(pid, comm)
    assert pids(matching(kernel, {"comm": "postgres"})) == [42]


def test_processes_that_fit_any_entry_are_watched_once(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    kernel.add_process(43, "redis")
    assert sorted(pids(matching(kernel, {"comm": "postgres"}, {"pid": 43}, {"pid": 42}))) == [42, 43]


def test_all_keys_of_an_entry_must_fit(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    assert not matching(kernel, {"pid": 42, "comm": "redis"})
    assert matching(kernel, {"pid": 42, "comm": "postgres"})


def test_no_more_than_the_limit_are_watched_and_those_with_the_largest_resident_sets(kernel: FakeKernel) -> None:
    for pid, rss in ((41, 30), (42, 10), (43, 20), (44, 20)):
        kernel.add_process(pid, "postgres", rss=rss * MIB)
    assert pids(matching(kernel, {"comm": "postgres"}, limit=3)) == [41, 43, 44]
    assert pids(matching(kernel, {"comm": "postgres"}, limit=2)) == [41, 43]


def test_processes_come_in_the_order_of_their_pids_whatever_their_sizes(kernel: FakeKernel) -> None:
    for pid, rss in ((44, 10), (43, 20), (41, 15)):
        kernel.add_process(pid, "postgres", rss=rss * MIB)
    assert pids(matching(kernel, {"comm": "postgres"})) == [41, 43, 44]


WATCHED_42 = WatchedProcess(42, start_ticks=42, name="postgres")  # the fake kernel's processes start at their pid


def test_what_is_watched_stays_however_small_it_has_become_and_the_largest_join_it(kernel: FakeKernel) -> None:
    for pid, rss in ((41, 30), (42, 1), (43, 40)):
        kernel.add_process(pid, "postgres", rss=rss * MIB)
    chosen = Processes.model_validate({"match": [{"comm": "postgres"}], "limit": 2, "min_rss": "16MiB"})
    assert pids(found_by(chosen, kernel.procfs, [WATCHED_42])) == [42, 43]
    assert pids(found_by(chosen, kernel.procfs)) == [41, 43]


def test_what_was_watched_and_has_another_name_by_now_makes_way(kernel: FakeKernel) -> None:
    kernel.add_process(41, "postgres")
    kernel.add_process(42, "sh")
    chosen = Processes.model_validate({"match": [{"comm": "postgres"}]})
    assert pids(found_by(chosen, kernel.procfs, [WATCHED_42])) == [41]


def test_a_process_with_the_pid_of_a_watched_one_that_has_ended_has_no_place_of_its_own(kernel: FakeKernel) -> None:
    kernel.add_process(41, "postgres", rss=30 * MIB)
    kernel.add_process(42, "postgres", rss=20 * MIB)
    chosen = Processes.model_validate({"match": [{"comm": "postgres"}], "limit": 1})
    earlier = WatchedProcess(42, start_ticks=7, name="postgres")
    assert pids(found_by(chosen, kernel.procfs, [earlier])) == [41]


def test_small_ones_are_left_out(kernel: FakeKernel) -> None:
    for pid, rss in ((41, 16), (42, 15)):
        kernel.add_process(pid, "postgres", rss=rss * MIB)
    assert pids(matching(kernel, {"comm": "postgres"}, min_rss="16MiB")) == [41]


def test_zombies_and_kernel_threads_are_left_out(kernel: FakeKernel) -> None:
    kernel.add_process(42, "postgres")
    kernel.end_process(42)
    assert not matching(kernel, {"comm": "postgres"})
    assert not matching(kernel, {"pid": run_somebodys(kernel)})


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{comm}", "postgres"),
        ("{pid}", "42"),
        ("{comm}-{pid}", "postgres-42"),
        ("db {comm}", "db postgres"),
        ("db", "db"),
    ],
)
def test_groups_are_named_by_the_template(kernel: FakeKernel, template: str, name: str) -> None:
    kernel.add_process(42, "postgres")
    assert matching(kernel, {"comm": "postgres"}, group_by=template)[0].name == name


@pytest.mark.parametrize(
    ("comm", "name"),
    [
        ("a b", "a b"),
        ("naïve", "naïve"),
        ("{pid}", "{pid}"),
        ("{0.__class__}", "{0.__class__}"),
        ("evil) S 1 1", "evil) S 1 1"),
        ("two\nlines", r"two\x0alines"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("tab\there", r"tab\x09here"),
    ],
)
def test_names_that_processes_give_themselves_are_shown_printable_and_as_they_are(
    kernel: FakeKernel, comm: str, name: str
) -> None:
    kernel.add_process(42, comm)
    assert matching(kernel, {"pid": 42}, group_by="{comm}")[0].name == name


@given(st.binary(min_size=1, max_size=15).filter(lambda comm: b"\0" not in comm))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_makes_a_printable_label(tmp_path: Path, comm: bytes) -> None:
    (tmp_path / "42").mkdir(exist_ok=True)
    (tmp_path / "42/stat").write_bytes(b"42 (" + comm + b") S 1" + b" 0" * 48 + b"\n")
    (found,) = found_by(Processes.model_validate({"match": [{"pid": 42}]}), tmp_path)
    assert found.name.isprintable()
    found.name.encode()


def test_without_procfs_it_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        found_by(Processes.model_validate({"match": [{"comm": "a"}]}), tmp_path / "proc")


def test_what_is_looked_for_is_said_in_words() -> None:
    match = [{"comm": "postgres"}, {"pid": 42}, {"pid": 43, "comm": "redis"}]
    chosen = Processes.model_validate({"match": match})
    assert describe_selectors(chosen) == "comm 'postgres' or pid 42 or pid 43 with comm 'redis'"


def test_patterns_and_pods_are_said_in_words() -> None:
    match = [{"cmdline": "redis.*", "cgroup": "/a/**"}, {"pod": {"namespace": "shop", "labels": {"app": "cart"}}}]
    chosen = Processes.model_validate({"match": match})
    told = "cmdline 'redis.*' with cgroup '/a/**' or pod namespace 'shop', label app=cart"
    assert describe_selectors(chosen) == told


# Command lines


def test_a_command_line_must_match_as_a_whole(kernel: FakeKernel) -> None:
    kernel.add_process(42, "redis-server", cmdline=("redis-server", "*:6379"))
    kernel.add_process(43, "vi", cmdline=("vi", "redis-server notes"))
    assert pids(matching(kernel, {"cmdline": "redis-server .*"})) == [42]
    assert pids(matching(kernel, {"cmdline": ".*redis-server.*"})) == [42, 43]


def test_words_of_a_command_line_are_joined_by_one_space(kernel: FakeKernel) -> None:
    kernel.add_process(42, "java", cmdline=("java", "-jar", "a b.jar"))
    assert matching(kernel, {"cmdline": "java -jar a b\\.jar"})


def test_an_expression_that_would_take_for_ever_takes_no_time(kernel: FakeKernel) -> None:
    kernel.add_process(42, "a", cmdline=("a" * 4000,))
    assert not matching(kernel, {"cmdline": "(a*)*(a|aa)*(a?){50}b"})


# Cgroups


@pytest.fixture
def services(kernel: FakeKernel) -> FakeKernel:
    for pid, cgroup in ((41, "/system.slice/nginx.service"), (42, "/system.slice/nginx.service/worker"), (43, "/a/b")):
        kernel.add_process(pid, f"p{pid}", cgroup=cgroup)
    return kernel


def test_a_cgroup_includes_all_below_it(services: FakeKernel) -> None:
    assert pids(matching(services, {"cgroup": "/system.slice/nginx.service"})) == [41, 42]
    assert pids(matching(services, {"cgroup": "/system.slice/nginx.service/*"})) == [42]
    assert pids(matching(services, {"cgroup": "/**"})) == [1, 41, 42, 43]


def test_the_deepest_cgroup_that_matches_names_the_group(services: FakeKernel) -> None:
    found = matching(services, {"cgroup": "/system.slice/*"}, {"comm": "p43"}, group_by="{cgroup}")
    assert [process.name for process in found] == ["/system.slice/nginx.service"] * 2 + ["/a/b"]


def test_selectors_of_one_entry_must_all_fit(services: FakeKernel) -> None:
    assert pids(matching(services, {"cgroup": "/system.slice/*", "comm": "p42"})) == [42]
    assert not matching(services, {"cgroup": "/a/*", "comm": "p42"})


def test_the_memory_controllers_cgroup_counts_on_a_host_with_version_1(tmp_path: Path) -> None:
    (tmp_path / "42").mkdir()
    (tmp_path / "42/stat").write_text("42 (a) S 1" + " 0" * 48 + "\n")
    (tmp_path / "42/cgroup").write_text("9:cpuset:/\n5:cpu,memory:/a:b/c\n1:name=systemd:/d\n0::/e\n")
    chosen = Processes.model_validate({"match": [{"pid": 42}], "group_by": "{cgroup}"})
    assert found_by(chosen, tmp_path)[0].name == "/a:b/c"


@pytest.mark.parametrize("cgroup", ["/a\nb", "/" + "x" * 4094, '/a"b', "/\x1b[31m"])
def test_hostile_cgroups_make_printable_labels(kernel: FakeKernel, cgroup: str) -> None:
    kernel.add_process(42, "a", cgroup=cgroup)
    (found,) = matching(kernel, {"cgroup": "/*"}, {"comm": "a"}, group_by="{comm}{cgroup}", limit=1, min_rss="100MiB")
    assert found.name.isprintable()
    assert found.name.startswith("a/")


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ({"comm": "a"}, [41, 42]),
        ({"pid": 42}, [42]),
        ({"cmdline": "a b"}, [41, 42]),
        ({"cgroup": "/**", "comm": "a"}, [41]),
        ({"pod": {"namespace": "shop"}}, [41]),
    ],
)
def test_a_process_whose_cgroup_the_kernel_cannot_tell_is_found_by_what_it_says_of_itself_alone(
    kernel: FakeKernel, match: dict[str, object], found: list[int]
) -> None:
    for pid in (41, 42):
        kernel.add_process(pid, "a", cmdline=("a", "b"), cgroup="/kubepods/pod1/a")
    kernel.fail("proc/42/cgroup", "read", errno.ENAMETOOLONG)
    processes = matching(kernel, match)
    assert pids(processes) == found
    assert {process.owner for process in processes if process.pid == 42} <= {Owner("")}


# Pods


@pytest.fixture
def pods(kernel: FakeKernel) -> FakeKernel:
    for pid, cgroup in zip((41, 42, 43), PODS, strict=True):
        kernel.add_process(pid, "app", cgroup=cgroup)
    return kernel


@pytest.mark.parametrize(
    ("pod", "found"),
    [
        ({"namespace": "shop"}, [41]),
        ({"name": "ledger-*"}, [42]),
        ({"namespace": "*a*"}, [42]),
        ({"labels": {"app": "cart"}}, [41]),
        ({"labels": {"app": "cart", "tier": "back"}}, []),
        ({"namespace": "bank", "labels": {"app": "cart"}}, []),
    ],
)
def test_pods_are_found_by_namespace_name_and_labels(
    pods: FakeKernel, pod: dict[str, object], found: list[int]
) -> None:
    assert pids(matching(pods, {"pod": pod})) == found


def test_groups_are_named_by_pods_and_what_nobody_names_is_one_group(pods: FakeKernel) -> None:
    found = matching(pods, {"comm": "app"}, group_by="{namespace}/{pod}/{container}")
    assert [process.name for process in found] == [
        "shop/cart-7f/app",
        "bank/ledger-0/db",
        "unknown/unknown/unknown",
    ]


@pytest.mark.parametrize("order", [1, -1])
def test_of_all_entries_that_fit_the_deepest_cgroup_names_the_group(kernel: FakeKernel, order: int) -> None:
    kernel.add_process(41, "nginx", cgroup="/system.slice/nginx.service/workers")
    kernel.add_process(42, "other", cgroup="/system.slice/nginx.service")
    entries = [{"comm": "nginx"}, {"cgroup": "/system.slice/*"}][::order]
    found = matching(kernel, *entries, group_by="{cgroup}")
    assert {process.name for process in found} == {"/system.slice/nginx.service"}
    deeper = matching(kernel, *[*entries, {"cgroup": "/system.slice/**"}][::order], group_by="{cgroup}")
    assert [process.name for process in deeper] == [
        "/system.slice/nginx.service/workers",
        "/system.slice/nginx.service",
    ]


def test_a_process_knows_whose_it_is(pods: FakeKernel) -> None:
    (found,) = matching(pods, {"pid": 41})
    assert found.owner == Owner("/kubepods/pod1/a", "shop", "cart-7f", "app")


# What is left out


def test_what_matches_and_is_left_out_is_counted(kernel: FakeKernel) -> None:
    for pid, rss in ((41, 30), (42, 20), (43, 25), (44, 5)):
        kernel.add_process(pid, "postgres", rss=rss * MIB)
    chosen = Processes.model_validate({"match": [{"comm": "postgres"}], "limit": 2, "min_rss": "16MiB"})
    found = ProcessFinder(chosen, kernel.paths, no_pod).find()
    assert (pids(found.taken), found.dropped) == ([41, 43], 2)


def test_looking_keeps_a_quarter_of_a_processor_busy_at_most(tmp_path: Path) -> None:
    for pid in range(100, 4100):
        a_process(tmp_path, pid)
    a_process(tmp_path, KTHREADD_PID, "kthreadd")
    chosen = Processes.model_validate({"match": [{"comm": "a"}], "limit": 4096, "refresh": "100ms"})
    watched = MatchingProcesses(chosen, KernelPaths(tmp_path / "sys", tmp_path), no_pod)
    began = time.thread_time()
    assert len(watched.find(0.0)) == 4000
    cost = time.thread_time() - began
    a_process(tmp_path, 4100)
    assert cost > 0.1
    assert len(watched.find(cost)) == 4000
    assert len(watched.find(4 * cost)) == 4001


def a_process(procfs: Path, pid: int, comm: str = "a") -> None:
    (procfs / str(pid)).mkdir()
    (procfs / f"{pid}/stat").write_text(f"{pid} ({comm}) S 1" + " 0" * 48 + "\n")
    (procfs / f"{pid}/cgroup").write_text(f"0::/many/{pid}\n")


def test_a_glob_that_matches_very_many_keeps_to_the_limit(tmp_path: Path) -> None:
    for pid in range(100, 2100):
        a_process(tmp_path, pid)
    chosen = Processes.model_validate({"match": [{"cgroup": "/many/*"}], "limit": 64})
    found = ProcessFinder(chosen, KernelPaths(tmp_path / "sys", tmp_path), no_pod).find()
    assert (len(found.taken), found.dropped) == (64, 1936)
