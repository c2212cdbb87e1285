"""damo's parameter files make the kdamonds that damo makes of them.

Files are written and read by damo itself; see `written_by_damo`.
"""

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from running import run
from test_config import VALUES, places
from written_by_damo import damo_numbers, damo_tree, damo_writes

from damon_exporter.config import AutotunedIntervals, Config, ConfigError, Monitor, load
from damon_exporter.config import damo_numbers as numbers
from damon_exporter.config.damo_file import LARGEST_FILE
from damon_exporter.config.damo_numbers import Number
from damon_exporter.config.fields import LARGEST_COUNT
from damon_exporter.config.loading import check
from damon_exporter.kernel.plan import IntervalGoal, IntervalPlan, KdamondPlan, TargetPlan
from damon_exporter.kernel.scheme_features import SINCE
from damon_exporter.kernel.scheme_plan import FilterPlan
from damon_exporter.scheme_planning import plan_schemes
from damon_exporter.units import SIZE_MAX

PHYSICAL = ("--regions", "4294967296-8589934592 12884901888-17179869184")
PROCESSES = ("--target_pid", "4711", "--target_pid", "4713")
PAGEOUT = (*PHYSICAL, "--damos_action", "pageout")

FILTERS = (
    "allow anon",
    "reject none active",
    "reject young",
    "allow unmapped",
    "allow memcg /a\\x20b/\u00e4\U0001f40d",
    "allow none hugepage_size 2M max",
    "reject addr 4G max",
    "allow none target 0",
)

CASES: dict[str, tuple[str, ...]] = {
    "nothing but memory": PHYSICAL,
    "intervals": (*PHYSICAL, "--monitoring_intervals", "4500us", "1.001s", "2m"),
    "intervals one by one": (*PHYSICAL, "-s", "10000", "-a", "0.25 s", "-u", "1500000", "-n", "20", "-m", "2,000"),
    "tuned intervals": (
        *PHYSICAL,
        *("--monitoring_intervals", "10ms", "300ms", "1s"),
        *("--monitoring_intervals_goal", "4.29%", "5", "1ms", "200ms"),
        *("--damos_action", "stat", "--damos_age", "5s", "max", "--damos_access_rate", "10%", "90%"),
    ),
    "regions": (*PHYSICAL, "--monitoring_nr_regions_range", "15", "20000"),
    "unit, pause and refresh": (
        *("--regions", "1048576-2097152", "--damon_addr_unit", "4096", "--pause_ctx", "0", "--refresh_stat", "500"),
        *("--damos_action", "stat", "--damos_sz_region", "4", "1M"),
    ),
    "probes": (
        *PHYSICAL,
        *("--probe", "--probe_filter", "allow", "anon"),
        *("--probe", "--probe_filter", "reject", "non", "memcg", "/a b", "--probe_filter", "allow", "anon"),
    ),
    "processes": (*PROCESSES, "--nr_targets", "2", "--monitoring_nr_regions_range", "10", "100"),
    "ranges of processes": (
        *PROCESSES,
        *("--ops", "fvaddr", "--nr_targets", "2", "--regions", "4096-8192 16384-20480", "--regions", "0-4096"),
    ),
    "first guesses of mappings": ("--ops", "vaddr", "--target_pid", "42", "--regions", "4096-8192"),
    "access pattern": (
        *(*PAGEOUT, "--damos_sz_region", "4K", "max", "--damos_access_rate", "29%", "57%"),
        *("--damos_age", "5.35s", "1h", "--damos_apply_interval", "1.5s", "-s", "1ms"),
    ),
    "most of everything": (
        *(*PAGEOUT, "--damos_sz_region", "min", "max", "--damos_access_rate", "min", "max"),
        *("--damos_age", "min", "max", "-s", "4ms"),  # of 25 samples damo makes a "max" whose 32 lowest bits are 0
    ),
    "quota": (*PAGEOUT, "--damos_quotas", "10ms", "1.7G", "1s", "29%", "7", "70%"),
    "quota that never begins anew": (*PAGEOUT, "--damos_quotas", "0", "1G"),
    "quota one by one": (
        *(*PAGEOUT, "--damos_quota_interval", "2500", "--damos_quota_time", "15", "--damos_quota_space", "100M"),
        *("--damos_quota_weights", "3", "7", "1", "--damos_quota_fail_charge_ratio", "1", "1,024"),
    ),
    "goals": (
        *(*PAGEOUT, "--damos_quotas", "0", "0", "1s", "--damos_quota_goal_tuner", "temporal"),
        *("--damos_quota_goal", "user_input", "10,000", "9999"),
        *("--damos_quota_goal", "some_mem_psi_us", "10.5ms"),
        *("--damos_quota_goal", "node_mem_used_bp", "99.7%", "0"),
        *("--damos_quota_goal", "node_mem_free_bp", "0.29%", "1"),
        *("--damos_quota_goal", "node_memcg_used_bp", "29%", "0", "/a/b"),
        *("--damos_quota_goal", "node_memcg_free_bp", "57%", "1", "/"),
        *("--damos_quota_goal", "active_mem_bp", "5000"),
        *("--damos_quota_goal", "inactive_mem_bp", "50%"),
        *("--damos_quota_goal", "node_eligible_mem_bp", "5,000"),
    ),
    "filters": (  # one a scheme: damo 3.4.3 takes no more on its command line
        *PHYSICAL,
        *(word for text in FILTERS for word in ("--damos_action", "pageout", "--damos_filter", *text.split(" "))),
        *("--damos_nr_filters", *["1"] * len(FILTERS)),
    ),
    "migration": (
        *(*PROCESSES, "--nr_targets", "2", "--damos_action", "migrate_hot", "1"),
        *("--damos_action", "migrate_cold", "0", "1", "1", "2,000", "2", "0"),
    ),
    "physical migration": (*PHYSICAL, "--damos_action", "migrate_hot", "0", "--damos_action", "migrate_cold", "1"),
    "actions of processes": (
        *("--target_pid", "42"),
        *(word for action in ("willneed", "cold", "pageout", "hugepage", "nohugepage", "collapse", "stat")
          for word in ("--damos_action", action)),
    ),
    "actions of memory": (
        *PHYSICAL,
        *(word for action in ("pageout", "lru_prio", "lru_deprio", "stat") for word in ("--damos_action", action)),
    ),
    "several kdamonds": (
        *("--kdamond", "--damon_ctx", "--ops", "paddr", "--damon_target", "--target_pid", "1"),
        *("--regions", "4096-8192"),
        *("--damos_scheme", "--damos_action", "pageout", "--damos_access_rate", "0%", "0%"),
        *("--damos_scheme", "--damos_action", "stat", "--damos_access_rate", "50%", "max"),
        *("--kdamond", "--damon_ctx", "--ops", "vaddr", "--damon_target", "--target_pid", "42"),
    ),
}  # fmt: skip

WATERMARKS = (*PAGEOUT, "--damos_wmarks", "free_mem_rate", "5.5s", "57%", "29%", "20")
"""Not raw: damo reads the interval of a raw file a thousand times too long, longer than may be waited for."""

FORMS = [pytest.param("f.json", (), id="json"), pytest.param("f.yaml", ("--raw",), id="raw yaml")]
OTHER_FORMS = [
    pytest.param("f.yaml", (), id="yaml"),
    pytest.param("f.json", ("--raw",), id="raw json"),
    pytest.param("f.json", ("--omit_defaults",), id="brief json"),
]


def loaded(file: Path) -> Config:
    return check({"kernel": {"allow_actions": True}, "monitors_from": str(file)})


def problems_of(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(file)
    return [problem.removeprefix(f"{file}: ") for problem in caught.value.problems]


def our_tree(config: Config) -> dict[str, str]:
    """Every file of the kdamonds, but for the first scheme, which is not of the file."""
    return {f"{i}/{name}": value for i, monitor in enumerate(config.monitors) for name, value in files(monitor)}


def files(monitor: Monitor) -> Iterator[tuple[str, str]]:
    for name, value in plan(monitor).leaves():
        *folder, below = name.split("schemes/", 1)
        if not folder:
            yield name, value
        elif not below.startswith("0/"):
            number, _, rest = below.partition("/")
            yield f"{folder[0]}schemes/{int(number) - 1}/{rest}", value


def plan(monitor: Monitor) -> KdamondPlan:
    wanted, goal = monitor.intervals, IntervalGoal()
    if isinstance(wanted, AutotunedIntervals):
        goal = IntervalGoal(wanted.access_ratio_bp, wanted.aggregations, wanted.min_sample_us, wanted.max_sample_us)
        wanted = wanted.fallback
    intervals = IntervalPlan(wanted.sample_us, wanted.aggregation_us, wanted.update_us)
    schemes, _ = plan_schemes(monitor, intervals, frozenset(SINCE))
    targets = tuple(targets_of(monitor))
    return KdamondPlan(
        operations=monitor.operations,
        intervals=intervals,
        goal=goal,
        min_regions=monitor.regions.min,
        max_regions=monitor.regions.raised(len(targets)),
        targets=targets,
        refresh_ms=None,
        region_schemes=False,
        schemes=schemes,
        offers=tuple(SINCE),
        addr_unit=monitor.addr_unit,
        pause=monitor.pause,
        probes=tuple(
            tuple(
                FilterPlan(each.type, each.matching, each.allow, (("path", each.path),) if each.path else ())
                for each in probe.filters
            )
            for probe in monitor.probes
        ),
    )


def targets_of(monitor: Monitor) -> Iterator[TargetPlan]:
    if monitor.processes is None:
        yield TargetPlan(None, monitor.ranges or ())
        return
    for entry in sorted(monitor.processes.match, key=lambda entry: entry.pid or 0):
        yield TargetPlan(entry.pid, entry.ranges or ())


DEFAULTS = {
    **dict.fromkeys(
        ("obsolete_target", "nr_dests", "nr_probes", "nid", "weight", "max_nr_snapshots", "min", "max"), "0"
    ),
    **dict.fromkeys(("memcg_path", "path"), ""),
    "allow": "N",
    "target_nid": "-1",
}
"""What the kernel has in files that one of the two leaves alone."""

UNTOLD = ("refresh_ms", "nr_kdamonds", "nr_contexts", "nr_schemes")


def differences(ours: dict[str, str], damos: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """What is another value in the two trees, apart from files that the kernel does not look at then."""
    found = {}
    for file in sorted(ours.keys() | damos.keys()):
        name = file.rpartition("/")[2]
        default = DEFAULTS.get(name)
        mine, theirs = ours.get(file, default), as_the_kernel_keeps_it(file, damos.get(file, default))
        if mine != theirs and name not in UNTOLD and not is_idle(file, damos):
            found[file] = mine, theirs
    return found


def as_the_kernel_keeps_it(file: str, value: str | None) -> str | None:
    """Where damo writes more than 32 bits for "max", and in a raw file's case more than the 64 that any file takes."""
    if value is None or not value.isdigit():
        return value
    is_count = "/nr_accesses/" in file or "/age/" in file
    return str(min(int(value), LARGEST_COUNT if is_count else SIZE_MAX))


def is_idle(file: str, tree: dict[str, str]) -> bool:
    """Is this a file of a quota without limits, of watermarks without a metric, or of a filter of another type?"""
    quotas, watermarks, filter_ = (file.rpartition(f"/{part}")[0] for part in ("quotas/", "watermarks/", "filters/"))
    if quotas:
        return {tree.get(f"{quotas}/quotas/{limit}", "0") for limit in ("ms", "bytes", "goals/nr_goals")} == {"0"}
    if watermarks:
        return not file.endswith("/metric") and tree[f"{watermarks}/watermarks/metric"] == "none"
    return bool(filter_) and file.rpartition("/")[2] in {"memcg_path", "path"} and tree.get(file) == ""


@pytest.mark.parametrize(("name", "form"), FORMS)
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_a_file_makes_the_tree_that_damo_makes(
    tmp_path: Path, options: tuple[str, ...], name: str, form: tuple[str, ...]
) -> None:
    damo_writes(tmp_path / name, *options, *form)

    assert differences(our_tree(loaded(tmp_path / name)), damo_tree(tmp_path / name)) == {}


@pytest.mark.parametrize(("name", "form"), OTHER_FORMS)
@pytest.mark.parametrize(
    "options", [CASES["quota"], CASES["goals"], CASES["several kdamonds"]], ids=["quota", "goals", "several"]
)
def test_every_form_of_a_file_makes_the_tree_that_damo_makes(
    tmp_path: Path, options: tuple[str, ...], name: str, form: tuple[str, ...]
) -> None:
    damo_writes(tmp_path / name, *options, *form)

    assert differences(our_tree(loaded(tmp_path / name)), damo_tree(tmp_path / name)) == {}


def test_watermarks_are_those_that_damo_writes(tmp_path: Path) -> None:
    damo_writes(tmp_path / "f.json", *WATERMARKS)

    assert differences(our_tree(loaded(tmp_path / "f.json")), damo_tree(tmp_path / "f.json")) == {}


def test_an_interval_that_damo_reads_too_long_is_refused_as_damo_reads_it(tmp_path: Path) -> None:
    damo_writes(tmp_path / "f.json", *WATERMARKS, "--raw")

    assert problems_of(tmp_path / "f.json") == [
        "kdamonds[0].contexts[0].schemes[0].watermarks.interval_us: '5500s' is too long; the most is 30s"
    ]


def test_tuning_as_damo_has_it_by_default_is_refused_for_it_may_make_aggregations_of_200_s(tmp_path: Path) -> None:
    damo_writes(tmp_path / "f.json", *PHYSICAL, "--monitoring_intervals_autotune")

    assert problems_of(tmp_path / "f.json") == [
        "kdamonds[0].contexts[0].intervals.intervals_goal.max_sample_us: 10s is too long: aggregations would take "
        "20 times as long; the most is 1500ms"
    ]


HAND_WRITTEN = """
kdamonds:
- contexts:
  - ops: paddr
    pause: Yes
    targets: [{pid: null, regions: [{start: 4 GiB, end: 8.5 G}]}]
    intervals: {sample_us: 0.3 s 1 ms, aggr_us: 1e7, ops_update_us: 1 m 30 s 250 ms}
    schemes:
    - action: stat
      access_pattern:
        sz_bytes: {min: min, max: 1.5 TiB}
        nr_accesses: {min: 1 samples, max: '4,294,967,296 samples'}
        age: {min: 600 aggr_intervals, max: max aggr_intervals}
      apply_interval_us: 1.9
      filters:
      - {filter_type: anon, matching: y, filter_pass: true}
      - {filter_type: target, matching: yes, damon_target_idx: 0}
      - {filter_type: young, matching: true, allow: No}
      - {filter_type: addr, matching: n, address_range: {start: 1 G, end: 2.5 G}}
      quotas:
        time_ms: 10.9 ms
        sz_bytes: 4096.5
        reset_interval_ms: 1 s 999 us
        weights: {sz_permil: 0.29, nr_accesses_permil: 2.9 %, age_permil: 100.9 %}
        goals: [{target_value_bp: 10000, current_value_bp: 5000}]
"""


@pytest.mark.parametrize("ops", ["paddr", "vaddr"])
def test_what_damo_reads_but_does_not_write_is_read_alike(tmp_path: Path, ops: str) -> None:
    file = tmp_path / "f.yaml"
    pid = "null" if ops == "paddr" else "'42'"
    file.write_text(HAND_WRITTEN.replace("paddr", ops).replace("pid: null", f"pid: {pid}"))

    assert differences(our_tree(loaded(file)), damo_tree(file)) == {}


def test_a_quota_of_more_time_than_a_reset_interval_holds_is_read_alike(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(HAND_WRITTEN.replace("time_ms: 10.9 ms", "time_ms: 60 d"))
    assert "60 d" in file.read_text()
    assert differences(our_tree(loaded(file)), damo_tree(file)) == {}


def test_max_nr_snapshots_is_lost_in_a_file_as_damo_loses_it(tmp_path: Path) -> None:
    damo_writes(tmp_path / "f.json", *PAGEOUT, "--damos_max_nr_snapshots", "5")

    assert damo_tree(tmp_path / "f.json")["0/contexts/0/schemes/0/stats/max_nr_snapshots"] == "0"
    assert loaded(tmp_path / "f.json").monitors[0].schemes[0].max_nr_snapshots == 0


READERS: dict[str, Callable[[object], Number]] = {
    "text_to_nr": numbers.number,
    "text_to_us": numbers.microseconds,
    "text_to_ms": numbers.milliseconds,
    "text_to_bytes": numbers.size,
    "text_to_percent": numbers.percent,
    "text_to_permil": numbers.permil,
    "text_to_bp": numbers.basis_points,
}
UNITS = {
    "text_to_nr": [""],
    "text_to_us": ["", " ns", "us", " ms", "s", " m", " h", "d", " s 1 ms", " h 2 m 3.3 s"],
    "text_to_ms": ["", " ns", "us", " ms", "s", " m", " h", "d", " s 1 ms", " h 2 m 3.3 s"],
    "text_to_bytes": ["", " B", "K", " KB", "KiB", " M", "MiB", " GiB", " G", "T", " PiB", " EiB"],
    "text_to_percent": ["", "%", " %"],
    "text_to_permil": ["", "%", " %"],
    "text_to_bp": ["", "%", " %"],
}


def written_numbers(seed: int) -> Iterator[tuple[str, object]]:
    chance = random.Random(seed)
    for _ in range(3000):
        reader = chance.choice(list(READERS))
        amount = chance.choice(
            [f"{chance.randrange(10 ** chance.randrange(1, 12)):,}", f"{chance.uniform(0, 1000):.3f}"]
        )
        yield reader, amount + chance.choice(UNITS[reader])
    yield from (
        (reader, value)
        for reader in READERS
        for value in ("min", "max", 5, 2.9)
        if (reader, value) != ("text_to_nr", "min")
    )


def test_numbers_are_what_damo_makes_of_them() -> None:
    asked = list(written_numbers(seed=4))

    assert [str(int(READERS[reader](text))) for reader, text in asked] == damo_numbers(asked)


@pytest.mark.parametrize(
    "text",
    ["", "five", "5 parsecs", "-5", "+5", "010", "0x10", "1s500ms", "5 % %", "inf", "nan", "1 s 500", [5], None, True],
)
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_what_is_no_number_is_refused(reader: Callable[[object], Number], text: object) -> None:
    with pytest.raises(ValueError, match="as damo writes it"):
        reader(text)


def written(folder: Path, text: str | bytes, name: str = "f.json") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


PADDR = '"contexts": [{"ops": "paddr", "targets": [{"regions": [{"start": 0, "end": 4096}]}]}]'


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("f.json", "", "takes keys with values, not nothing"),
        ("f.json", '{"kdamonds": [}', "line 1, column 15: not JSON: Expecting value"),
        ("f.json", b'{"kdamonds": "\xff"}', "not UTF-8 at byte 14; save it as UTF-8"),
        ("f.json", "{" + " " * LARGEST_FILE + "}", "larger than 1024KiB; is this the right file?"),
        ("f.json", '{"kdamonds":' + "[" * 100_000, "nested too deep; is this a file of damo's parameters?"),
        (
            "f.json",
            '{"kdamonds": [], "kdamonds": []}',
            "'kdamonds' stands twice among the same keys; remove one of them",
        ),
        ("f.json", '{"kdamonds": {}}', "kdamonds: takes a list, not a mapping"),
        ("f.json", "{}", "kdamonds: missing; damo itself does not read the file without it, so write it"),
        ("f.yaml", "kdamonds: [", "line 1, column 12: while parsing a flow node: "),
        ("f.yaml", "[" * 100, "line 1, column 33: nested more than 32 deep; nothing here needs that"),
        ("f.yaml", "- kdamonds", "takes keys with values, not a list"),
    ],
)
def test_a_file_that_is_none_of_damos_is_refused(tmp_path: Path, name: str, content: str | bytes, problem: str) -> None:
    (told,) = problems_of(written(tmp_path, content, name))

    assert told.startswith(problem)


def test_json_may_hold_what_yaml_may_not(tmp_path: Path) -> None:
    filters = '[{"filter_type": "memcg", "matching": true, "memcg_path": "/\\ud83d\\udc0d\\/a"}]'
    scheme = f'"schemes": [{{"filters": {filters}, "quotas": null}}]'
    file = written(tmp_path, '{\t"kdamonds":[{' + PADDR.replace('"ops"', scheme + ', "ops"') + "}]}")

    (monitor,) = loaded(file).monitors

    assert monitor.schemes[0].ops_filters[0].path == "/\U0001f40d/a"


def test_numbers_of_millions_of_digits_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, '{"kdamonds": [{' + PADDR.replace("4096", "9" * 200_000) + "}]}")

    assert problems_of(file) == [
        f"kdamonds[0].contexts[0].targets[0].regions[0].end: '{'9' * 40}…' is not a size as damo writes it, "
        "such as 4.000 KiB",
    ]


def test_a_file_is_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    written(tmp_path, '{"kdamonds": [{' + PADDR + "}]}", "tuning.json")
    config = written(tmp_path, "monitors_from: tuning.json", "damon.yml")

    assert [monitor.name for monitor in load(config).monitors] == ["kdamond0"]


def test_its_monitors_stand_behind_those_of_the_configuration(tmp_path: Path) -> None:
    file = written(tmp_path, '{"kdamonds": [{' + PADDR + "}, {" + PADDR + "}]}")
    monitors = check({"monitors": [{"name": "node", "operations": "paddr"}], "monitors_from": str(file)}).monitors

    assert [monitor.name for monitor in monitors] == ["node", "kdamond0", "kdamond1"]


def test_what_is_wrong_with_one_kdamond_does_not_hide_what_is_wrong_with_another(tmp_path: Path) -> None:
    file = written(
        tmp_path, '{"kdamonds": [5, {' + PADDR.replace("[{", '[{"nr_regions": {"min": 1, "max": 5}, ', 1) + "}]}"
    )

    assert problems_of(file) == [
        "kdamonds[1].contexts[0].nr_regions.min: 1 is too small; the least is 3",
        "kdamonds[0]: takes keys with values, not 5",
    ]


def test_schemes_are_called_by_their_index_and_processes_by_name_and_pid(tmp_path: Path) -> None:
    options = ("--target_pid", "7", "--damos_action", "stat", "--damos_action", "cold")
    damo_writes(tmp_path / "f.json", *options)
    (monitor,) = loaded(tmp_path / "f.json").monitors

    assert [scheme.name for scheme in monitor.schemes] == ["0", "1"]
    assert monitor.processes is not None
    assert (monitor.processes.group_by, monitor.processes.limit) == ("{comm}/{pid}", 1)


def test_a_filter_finds_its_target_in_our_list_which_is_sorted_by_pid(tmp_path: Path) -> None:
    pids = ("--target_pid", "9", "--target_pid", "3", "--target_pid", "5", "--nr_targets", "3")
    damo_writes(tmp_path / "f.json", *pids, "--damos_action", "stat", "--damos_filter", "reject", "target", "0")
    (monitor,) = loaded(tmp_path / "f.json").monitors

    assert monitor.schemes[0].core_filters[0].target == 2


def test_no_target_is_taken_out_of_a_kdamond_that_does_not_run_yet(tmp_path: Path) -> None:
    damo_writes(tmp_path / "f.json", *PROCESSES, "--nr_targets", "2", "--obsolete_targets", "1")

    assert problems_of(tmp_path / "f.json") == [
        "kdamonds[0].contexts[0].targets[1].obsolete: takes a target out of a kdamond that runs already; "
        "leave the whole target out"
    ]


def test_actions_need_leave_as_everywhere(tmp_path: Path) -> None:
    damo_writes(tmp_path / "f.json", *PAGEOUT)

    with pytest.raises(ConfigError, match="pageout does something to memory; allow it with kernel"):
        check({"monitors_from": str(tmp_path / "f.json")})


def test_checking_the_configuration_checks_the_file(tmp_path: Path) -> None:
    written(tmp_path, '{"kdamonds": [{}]}', "tuning.json")
    config = written(tmp_path, "monitors_from: tuning.json", "damon.yml")

    ended = run("--config.check", "--config.file", str(config))

    assert ended.returncode == 2
    assert "tuning.json: kdamonds[0].contexts: missing; damo itself does not read" in ended.stderr + ended.stdout


WHOLE = """
kdamonds:
- state: 'off'
  pid: null
  refresh_ms: 0
  contexts:
  - ops: paddr
    addr_unit: 1 B
    targets: [{pid: null, obsolete: false, regions: [{start: '0', end: '4,096'}]}]
    intervals:
      sample_us: 5 ms
      aggr_us: 100 ms
      ops_update_us: 1 s
      intervals_goal: {access_bp: 4 %, aggrs: '3', min_sample_us: 1 ms, max_sample_us: 100 ms}
    nr_regions: {min: '10', max: '1,000'}
    probes: [{preps: [], filters: [{filter_type: memcg, matching: true, allow: false, path: /a}], weight: 0}]
    sample_control: {primitives_enabled: {page_table: true, page_fault: false}, sample_filters: []}
    pause: false
    schemes:
    - action: migrate_cold
      target_nid: 1
      access_pattern:
        sz_bytes: {min: 4.000 KiB, max: max}
        nr_accesses: {min: 0 %, max: 5 %}
        age: {min: 5 s, max: max}
      apply_interval_us: 1 s
      quotas:
        time_ms: 10 ms
        sz_bytes: 1.000 GiB
        reset_interval_ms: 1 s
        fail_charge_num: '1'
        fail_charge_denom: '4'
        goals:
        - {metric: node_memcg_used_bp, nid: '0', memcg_path: /a, target_value: '5,000', current_value: '0'}
        - {metric: some_mem_psi_us, complement: false, target_value: 10 ms, current_value: '0'}
        goal_tuner: temporal
        effective_sz_bytes: 0 B
        weights: {sz_permil: 0.3 %, nr_accesses_permil: 1 %, age_permil: 50 %}
      watermarks: {metric: free_mem_rate, interval_us: 5 s, high_permil: 50 %, mid_permil: 40 %, low_permil: 20 %}
      filters:
      - {filter_type: addr, matching: true, allow: false, memcg_path: '', address_range: {start: '0', end: '4,096'}}
      - {filter_type: target, matching: true, allow: true, damon_target_idx: '0'}
      - {filter_type: hugepage_size, matching: false, allow: true, hugepage_size: [2.000 MiB, max]}
      - {filter_type: memcg, matching: true, allow: true, memcg_path: /a}
- contexts:
  - ops: fvaddr
    targets:
    - {pid: 42, regions: [{start: '0', end: '4,096'}]}
    - {pid: '43', regions: [{start: '0', end: '4,096'}]}
    schemes: [{action: migrate_hot, dests: [{id: 0, weight: 1}]}]
"""


def test_the_whole_example_is_good(tmp_path: Path) -> None:
    assert len(loaded(written(tmp_path, yaml.safe_dump(example()), "f.yaml")).monitors) == 2


def example() -> dict[str, Any]:
    keys: dict[str, Any] = yaml.safe_load(WHOLE)
    return keys


@given(data=st.data())
def test_any_value_in_any_place_is_taken_or_refused_with_its_place(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    keys = example()
    parent, key = data.draw(st.sampled_from(list(places(keys))))
    parent[key] = data.draw(VALUES | st.sampled_from(["5 ms", "5 %", "max", "10 s", "5", "4 KiB"]))
    file = written(tmp_path_factory.getbasetemp(), json.dumps(keys), "any.json")

    told = refusals(file)

    assert not re.search(r"Input should|\[type=|cannot stand here", "\n".join(told))
    assert all(problem.startswith((f"{file}: ", "monitors, with those of")) for problem in told)


def refusals(file: Path) -> list[str]:
    try:
        loaded(file)
    except ConfigError as error:
        return error.problems
    return []
