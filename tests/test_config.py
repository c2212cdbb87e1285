import os
import re
import socket
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from damon_exporter import config
from damon_exporter.config import (
    AutotunedIntervals,
    Config,
    ConfigError,
    FixedIntervals,
    Match,
    Otlp,
    PodMatch,
    load,
    schema,
)
from damon_exporter.config.fields import LARGEST_COUNT
from damon_exporter.config.loading import check
from damon_exporter.config.reading import LARGEST_FILE, parse, read
from damon_exporter.patterns import CgroupGlob
from damon_exporter.units import SIZE_MAX

FIXTURES = Path(__file__).parent / "fixtures/config"
PAGE = Path(__file__).parent.parent / "docs/configuration.md"

GOOD = sorted(FIXTURES.glob("*.good.yml"))
BAD = sorted(FIXTURES.glob("*.bad.yml"))
SCHEMA = schema()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return path.name.partition(".")[0]


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check(parse(text))
    return caught.value.problems


def is_refused_in_foreign_words(keys: Callable[[], dict[str, object]]) -> bool:
    """Whether a refusal is empty, pydantic's own, or our text for what we did not foresee."""
    try:
        check(keys(), FIXTURES)
    except ConfigError as error:
        return not error.problems or bool(re.search(r"Input should|\[type=|cannot stand here", str(error)))
    return False


@pytest.mark.parametrize("path", GOOD, ids=name)
def test_a_good_file_is_loaded(path: Path) -> None:
    assert isinstance(load(path), Config)


@pytest.mark.parametrize("path", BAD, ids=name)
def test_a_bad_file_is_refused_with_every_problem_that_it_states(path: Path) -> None:
    stated = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert caught.value.problems == stated
    assert str(caught.value) == "\n".join(stated)


def test_without_a_file_the_node_is_monitored_with_tuned_intervals() -> None:
    (monitor,) = load(None).monitors

    assert (monitor.name, monitor.operations) == ("node", "paddr")
    assert monitor.intervals == AutotunedIntervals(
        access_ratio_bp=400, aggregations=3, min_sample_us=5_000, max_sample_us=250_000, update_us=1_000_000
    )


def test_a_file_that_says_nothing_is_no_file() -> None:
    assert load(FIXTURES / "empty.good.yml") == load(None) == Config()


def test_a_key_without_value_counts_as_left_out() -> None:
    assert load(FIXTURES / "headings-without-content.good.yml") == load(None)


def test_every_value_arrives_in_the_unit_that_its_user_needs() -> None:
    loaded = load(FIXTURES / "everything.good.yml")
    node, databases, bench, buffer, *_ = loaded.monitors

    assert loaded.kernel.takeover == {"damon_stat", "idle_sysfs"}
    assert loaded.kernel.settle == 60.0
    assert node.ranges == ((4 << 30, 8 << 30), (12 << 30, 16 << 30))
    assert (node.regions.min, node.regions.max) == (10, 1000)
    assert databases.intervals == FixedIntervals(5_000, 100_000, 1_000_000)
    assert databases.processes is not None
    assert databases.processes.match == (
        Match(comm="postgres"),
        Match(pid=4711),
        Match(comm="redis-server", pid=4712),
        Match(cmdline=r"java .*-jar /srv/(search|index)\.jar.*"),
        Match(cgroup="/system.slice/**/nginx@*.service"),
        Match(
            comm="java",
            pod=PodMatch(namespace="shop-*", name="cart-?", labels={"app.kubernetes.io/name": "cart", "canary": ""}),
        ),
    )
    assert databases.processes.min_rss == 16 << 20
    assert databases.processes.refresh == 5.0
    assert bench.command == ("./masim", "configs/stairs.cfg")
    assert buffer.operations == "fvaddr"
    assert buffer.processes is not None
    assert buffer.processes.match == (Match(pid=4711), Match(pid=4712, ranges=((0x1000, 0x2000), (0x2000, 0x3000))))
    assert loaded.export.publish == 0.5
    assert loaded.export.bands == (("idle", 0.0), ("some", 0.5), ("all", 1.0))
    assert loaded.export.idle_age == (1.0, 60.0, 3600.0)
    assert loaded.export.working_set.window == 3600.0
    assert loaded.export.working_set.percentiles == (50, 100)
    assert (loaded.export.heatmap.bins, loaded.export.heatmap.processes) == (0, True)
    assert loaded.export.max_series == 50_000


def test_every_value_about_units_and_probes_arrives_as_its_user_needs_it() -> None:
    *_, whole, of_damo = load(FIXTURES / "everything.good.yml").monitors

    assert (whole.addr_unit, whole.ranges, whole.pause) == (4096, ((0, 1 << 20),), True)
    assert whole.intervals == AutotunedIntervals(
        400, 3, 1_000, 100_000, 1_000_000, asked_for=True, start=(10_000, 1_000_000)
    )
    assert whole.intervals.fallback == FixedIntervals(10_000, 1_000_000, 1_000_000)
    assert (whole.regions.min, whole.regions.max, whole.regions.raised(90)) == (10, 100, 100)
    anonymous, cgroup = whole.probes[0].filters
    assert (anonymous.type, anonymous.matching, anonymous.allow, anonymous.path) == ("anon", False, True, None)
    assert (cgroup.type, cgroup.matching, cgroup.allow, cgroup.path) == ("memcg", True, False, "/system.slice")
    assert whole.probes[1].filters == ()
    assert (of_damo.name, of_damo.ranges) == ("kdamond0", ((4 << 30, 8 << 30),))


def test_every_value_of_a_scheme_arrives_in_the_unit_that_the_kernel_takes() -> None:
    loaded = load(FIXTURES / "everything.good.yml")
    reclaim, promote = loaded.monitors[0].schemes

    assert (loaded.kernel.allow_actions, loaded.kernel.slots) == (True, 8)
    assert (reclaim.action, reclaim.apply_interval, reclaim.max_nr_snapshots) == ("pageout", 1_000_000, 1000)
    assert (reclaim.acts, reclaim.optional, promote.target_nid) == (True, True, 0)
    assert reclaim.access_pattern.size == (4096, SIZE_MAX)
    assert reclaim.access_pattern.accesses(100) == (0, 2)
    assert reclaim.access_pattern.ages(100_000) == (600, LARGEST_COUNT)
    marks = reclaim.watermarks
    assert marks is not None
    assert (marks.metric, marks.interval, marks.high, marks.mid, marks.low) == (
        "free_mem_rate",
        5_000_000,
        500,
        400,
        199,
    )


def test_every_value_of_a_quota_arrives_in_the_unit_that_the_kernel_takes() -> None:
    quotas = load(FIXTURES / "everything.good.yml").monitors[0].schemes[0].quotas

    assert quotas is not None
    assert (quotas.time, quotas.size, quotas.reset_interval) == (10, 128 << 20, 2000)
    assert (quotas.weights.size, quotas.weights.access, quotas.weights.age) == (1, 3, 7)
    assert quotas.goal_tuner == "temporal"
    assert quotas.fail_charge is not None
    assert (quotas.fail_charge.num, quotas.fail_charge.denom) == (1, 1024)
    assert [(goal.metric, goal.target, goal.current, goal.nid, goal.path) for goal in quotas.goals] == [
        ("some_mem_psi_us", 10_000, None, None, None),
        ("node_memcg_used_bp", 9970, None, 1, "/system.slice/a b.service"),
        ("user_input", 10_000, 9000, None, None),
    ]


def test_every_value_of_a_filter_arrives_as_the_kernel_takes_it() -> None:
    loaded = load(FIXTURES / "everything.good.yml")
    reclaim = loaded.monitors[0].schemes[0]

    assert [(each.type, each.matching, each.allow, each.range, each.target) for each in reclaim.core_filters] == [
        ("addr", False, False, (4 << 30, SIZE_MAX), None),
        ("target", True, True, None, 0),
    ]
    assert [(each.type, each.matching, each.allow, each.path, each.size) for each in reclaim.ops_filters] == [
        ("memcg", True, True, "/", None),
        ("hugepage_size", True, False, None, (2 << 20, 1 << 30)),
    ]
    demote = loaded.monitors[1].schemes[0]
    assert [(node.id, node.weight) for node in demote.dests] == [(1, 2), (2, 0)]


@pytest.mark.parametrize(
    ("pattern", "accesses", "ages"),
    [
        ("{}", (0, LARGEST_COUNT), (0, LARGEST_COUNT)),
        ("{access_ratio: [5%, 10%], age: [100ms, 200ms]}", (1, 2), (1, 2)),
        ("{access_ratio: [1%, 9%], age: [1ms, 199ms]}", (1, 1), (1, 1)),
        ("{access_ratio: [0%, 0%], age: [0s, 0s]}", (0, 0), (0, 0)),
        ("{access_ratio: [100%, 100%], age: [100ms, max]}", (20, LARGEST_COUNT), (1, LARGEST_COUNT)),
        ("{nr_accesses: [3, max], age_aggregations: [max, max]}", (3, LARGEST_COUNT), (LARGEST_COUNT, LARGEST_COUNT)),
    ],
)
def test_bounds_include_what_lies_between_them_and_no_more(
    pattern: str, accesses: tuple[int, int], ages: tuple[int, int]
) -> None:
    text = f"""
        monitors:
        - name: a
          operations: paddr
          intervals: {{sample: 5ms, aggregation: 100ms}}
          schemes: [{{name: a, action: stat, access_pattern: {pattern}}}]
    """
    (scheme,) = check(parse(text)).monitors[0].schemes

    assert scheme.access_pattern.accesses(20) == accesses
    assert scheme.access_pattern.ages(100_000) == ages


def test_every_value_about_cgroups_and_pods_arrives_as_its_user_needs_it() -> None:
    loaded = load(FIXTURES / "everything.good.yml")

    assert loaded.attribution is not None
    assert loaded.attribution.cgroups[0] == CgroupGlob("/kubepods.slice/**")
    swap = r"/system.slice/dev-disk-by\x2dlabel-swap.swap"
    assert loaded.attribution.cgroups[1].deepest(swap) == swap
    assert (loaded.attribution.kinds, loaded.attribution.interval) == (False, 60.0)
    assert (loaded.attribution.samples, loaded.attribution.limit) == (65_536, 500)
    assert loaded.kubernetes is not None
    assert loaded.kubernetes.kubelet_url == "https://[fd00::7]:10250"
    assert loaded.kubernetes.pod_labels == ("app.kubernetes.io/name", "team")
    assert loaded.kubernetes.token_file == Path("/run/secrets/token")
    assert loaded.kubernetes.ca_file == Path("/etc/kubernetes/pki/ca.crt")
    assert loaded.otlp == Otlp(endpoint="https://collector.example:4318/v1/metrics", interval="30s")
    assert loaded.otlp.interval == 30.0


@pytest.mark.parametrize("host", ["localhost", "node-1.Example.com.", "n_1", "10.0.0.7", "[::1]", "a" * 63, "1a"])
def test_a_kubelet_may_have_any_host(host: str) -> None:
    loaded = check(parse(f"kubernetes: {{kubelet_url: 'https://{host}:10250/'}}"))
    assert loaded.kubernetes is not None
    assert loaded.kubernetes.kubelet_url == f"https://{host}:10250"


@pytest.mark.parametrize(
    "host", ["a..b", ".", "*", "-a", "a-", "[v1.a]", "[10.0.0.7]", "10.0.0", "10.0.0.256", "a" * 64, "a." * 127 + "b"]
)
def test_what_is_no_host_has_no_kubelet(host: str) -> None:
    with pytest.raises(ConfigError, match="is not the URL of a kubelet"):
        check(parse(f"kubernetes: {{kubelet_url: 'https://{host}:10250'}}"))


@pytest.mark.parametrize(("address", "host"), [("10.0.0.7", "10.0.0.7"), ("fd00::7", "[fd00::7]")])
def test_the_host_of_the_kubelet_or_a_receiver_is_taken_from_the_environment(
    address: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_IP", address)
    kubelet = check(parse("kubernetes: {kubelet_url: 'https://${NODE_IP}:10250'}")).kubernetes
    receiver = check(parse("otlp: {endpoint: 'http://${NODE_IP}:4318/v1/metrics'}")).otlp
    assert kubelet is not None
    assert receiver is not None
    assert kubelet.kubelet_url == f"https://{host}:10250"
    assert receiver.endpoint == f"http://{host}:4318/v1/metrics"


def test_a_variable_of_the_environment_cannot_send_the_token_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_IP", "me@elsewhere.example")
    with pytest.raises(ConfigError, match="holds a user name"):
        check(parse("kubernetes: {kubelet_url: 'https://${NODE_IP}:10250'}"))


def test_patterns_are_ready_to_match() -> None:
    processes = load(FIXTURES / "everything.good.yml").monitors[1].processes
    assert processes is not None
    *_, command, cgroup, pod = processes.match

    assert command.cmdline is not None
    assert command.cmdline.fullmatch("java -Xmx4g -jar /srv/index.jar --port 80")
    assert cgroup.cgroup is not None
    assert cgroup.cgroup.deepest("/system.slice/web.slice/nginx@a.service/worker") == (
        "/system.slice/web.slice/nginx@a.service"
    )
    assert pod.pod is not None
    assert pod.pod.name is not None
    assert pod.pod.name.matches("cart-1")


def test_attribution_and_kubernetes_are_off_unless_they_are_given() -> None:
    assert (load(None).attribution, load(None).kubernetes) == (None, None)


def test_an_attribution_that_says_nothing_asks_for_kinds() -> None:
    attribution = load(FIXTURES / "attribution-of-kinds.good.yml").attribution

    assert attribution is not None
    assert (attribution.kinds, attribution.cgroups, attribution.interval) == (True, (), 15.0)


def test_an_empty_list_of_monitors_only_observes() -> None:
    assert load(FIXTURES / "observe-only.good.yml").monitors == ()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{sample: 10ms}", FixedIntervals(10_000, 100_000, 1_000_000)),
        ("{aggregation: 1s}", FixedIntervals(5_000, 1_000_000, 1_000_000)),
        ("{update: 5s}", AutotunedIntervals(400, 3, 5_000, 250_000, 5_000_000)),
        ("{autotune: {access_ratio: 0.01%}}", AutotunedIntervals(1, 3, 5_000, 250_000, 1_000_000, asked_for=True)),
    ],
)
def test_intervals_are_tuned_unless_one_is_fixed(written: str, expected: object) -> None:
    (monitor,) = check(parse(f"monitors: [{{name: a, operations: paddr, intervals: {written}}}]")).monitors

    assert monitor.intervals == expected


@pytest.mark.parametrize(
    ("bounds", "fixed"),
    [
        ((5_000, 250_000), FixedIntervals(5_000, 100_000, 1_000_000)),
        ((10_000, 250_000), FixedIntervals(10_000, 200_000, 1_000_000)),
        ((1_000, 2_000), FixedIntervals(2_000, 40_000, 1_000_000)),
    ],
)
def test_where_the_kernel_cannot_tune_the_intervals_lie_within_the_same_bounds(
    bounds: tuple[int, int], fixed: FixedIntervals
) -> None:
    assert AutotunedIntervals(400, 3, *bounds, 1_000_000).fallback == fixed


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(None).kernel.settle = 1.0  # type: ignore[misc]  # what the test is about


def test_a_problem_in_one_part_does_not_hide_those_of_others() -> None:
    assert problems_of("{kernel: {source: sysfs}, monitors: [{name: a, intervals: {aggregation: 25s}}], x: 1}") == [
        "monitors[0].operations: missing; it has no default, so write it",
        "monitors[0].intervals.aggregation: 25s is too long with kernel.source sysfs; the most is 20s",
        "x: unknown key; known here: kernel, monitors, monitors_from, attribution, export, kubernetes, otlp",
    ]


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"damon\.yml: cannot be read: No such file or directory; check"):
        load(tmp_path / "damon.yml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.fspath(tmp_path / "socket"))

    with pytest.raises(ConfigError, match="cannot be read: No such device or address"):
        load(tmp_path / "socket")


def test_text_that_is_not_utf_8_is_refused_with_the_position(tmp_path: Path) -> None:
    path = tmp_path / "latin1.yml"
    path.write_bytes("# naïve".encode("latin-1"))

    with pytest.raises(ConfigError, match="not UTF-8 at byte 4; save it as UTF-8"):
        load(path)


def test_characters_that_yaml_forbids_are_refused() -> None:
    assert problems_of("kernel: \x01") == [
        "not YAML: unacceptable character #x0001: special characters are not allowed; remove what is there"
    ]


def test_an_overlong_file_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "long.yml"
    path.write_bytes(b"#" * (LARGEST_FILE + 1))

    with pytest.raises(ConfigError, match="larger than 256KiB; is this the right file"):
        load(path)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "windows.yml"
    path.write_bytes(b"\xef\xbb\xbfmonitors: []\r\n")

    assert load(path).monitors == ()


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("no", "no"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2026-01-32", "2026-01-32"),
        ("0x_", "0x_"),
        ("'5'", "5"),
        ("5", 5),
        ("-5", -5),
        ("0x10", 16),
        ("0.25", 0.25),
        (".5e1", 5.0),
        ("True", True),
        ("9" * 31, "9" * 31),
    ],
)
def test_words_mean_what_they_mean_in_yaml_1_2(word: str, value: object) -> None:
    assert parse(f"key: {word}") == {"key": value}


WORDS = st.sampled_from([*re.findall(r"[a-z_0-9]+|[^\sa-z_0-9]", PAGE.read_text()), "\n", "\n  ", "&a", "*a", "!t"])


@given(st.lists(WORDS).map(" ".join) | st.text())
def test_any_text_is_a_configuration_or_refused_in_our_own_words(text: str) -> None:
    assert not is_refused_in_foreign_words(lambda: parse(text))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("5s"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: object) -> Iterator[tuple[Any, Any]]:
    """Every mapping or list in a value with each of its keys or indexes."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inside:
        yield value, key
        yield from places(below)


EVERYTHING = read(FIXTURES / "everything.good.yml")


@given(st.data())
def test_any_value_in_any_place_is_taken_or_refused_in_our_own_words(data: st.DataObject) -> None:
    keys = deepcopy(EVERYTHING)
    parent, key = data.draw(st.sampled_from(list(places(keys))))
    parent[key] = data.draw(VALUES)

    assert not is_refused_in_foreign_words(lambda: keys)


def test_the_schema_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", GOOD, ids=name)
def test_an_editor_finds_nothing_wrong_with_a_good_file(path: Path) -> None:
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(read(path))] == []


BEYOND_AN_EDITOR = {
    "access-patterns-that-nothing-fits",
    "actions-of-other-operations",
    "actions-without-leave",
    "ages-that-tuning-would-shift",
    "attribution-of-nothing",
    "bands-empty",
    "bands-not-ascending",
    "bands-not-complete",
    "damo-newer",
    "damo-refused",
    "damo-too-many",
    "damo-wrong",
    "filters-in-themselves",
    "fixed-ranges-of-many",
    "keep-with-module",
    "kubelet-url-of-an-unset-variable",
    "kubelet-url-with-bad-host",
    "kubelet-url-with-bad-port",
    "min-above-max",
    "not-ascending",
    "operations",
    "otlp-too-often",
    "otlp-too-rarely",
    "pod-labels-without-kubelet",
    "probes-in-themselves",
    "quotas-in-themselves",
    "ranges-of-processes",
    "same-name",
    "schemes-in-themselves",
    "start-of-tuning",
    "too-long-for-commands",
    "too-long-for-sysfs",
    "tuned-and-fixed",
    "watermarks-out-of-order",
    "zero-byte",
}
"""Files whose faults lie between keys, in what a text means, or in a file of damo's."""


def is_yaml_that_we_read(path: Path) -> bool:
    try:
        return bool(read(path))
    except ConfigError:
        return False


@pytest.mark.parametrize("path", [path for path in BAD if is_yaml_that_we_read(path)], ids=name)
def test_an_editor_finds_what_needs_no_knowledge_of_other_keys(path: Path) -> None:
    assert Draft202012Validator(SCHEMA).is_valid(read(path)) == (name(path) in BEYOND_AN_EDITOR)


def keys_of(part: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key below a part of the schema that is not itself a section, and what the schema says of it."""
    for choice in part.get("anyOf", ()):
        yield from keys_of(choice, path)
    if "$ref" in part:
        yield from keys_of(SCHEMA["$defs"][part["$ref"].rpartition("/")[2]], path)
    if part.get("type") == "array":
        yield from keys_of(part["items"], f"{path}[]")
    for key, below in part.get("properties", {}).items():
        here = f"{path}.{key}".removeprefix(".")
        inside = list(keys_of(below, here))
        if not inside or below.get("type") == "array":
            yield here, below
        yield from inside


DOCUMENTED = re.findall(r"^\| `([a-z_.\[\]]+)` \| (.*?) \|", PAGE.read_text(), re.MULTILINE)


def test_the_page_lists_every_key_in_the_order_of_the_schema() -> None:
    assert [key for key, _ in DOCUMENTED] == [key for key, _ in keys_of(SCHEMA)]


@pytest.mark.parametrize(("key", "stated"), DOCUMENTED)
def test_the_page_states_the_default_of_each_key(key: str, stated: str) -> None:
    default = dict(keys_of(SCHEMA))[key].get("default")

    assert parse(f"default: {stated.strip('`')}").get("default") == (default if default is not None else "none")


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_of_the_page_is_a_configuration(block: str) -> None:
    assert check(parse(block)).monitors


def test_the_page_has_examples() -> None:
    assert len(BLOCKS) >= 4


def test_every_problem_that_the_page_shows_is_told_like_that() -> None:
    (shown,) = re.findall(r"^```text\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    text = """
        kernel: {settle: 30}
        monitors: [{name: a, operations: paddr, intervals: {agregation: 1s}, regions: {min: 100, max: 10}}]
    """

    assert sorted(problems_of(text)) == sorted(shown.splitlines())


def test_the_package_offers_what_it_names_and_nothing_else() -> None:
    public = {name for name in vars(config) if not name.startswith("_")}
    modules = {path.stem for path in Path(str(config.__file__)).parent.glob("*.py")}

    assert public - modules == set(config.__all__)
