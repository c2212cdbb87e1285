"""The manifests of deploy/k8s: that Kubernetes takes them, and exactly which rights they ask for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from deploy.rendered import COMPONENTS, KUBERNETES, ROOT, VARIANTS, Object, objects, only, pod_spec
from jsonschema import Draft202012Validator
from running import run

from damon_exporter.config import load
from damon_exporter.metrics.otlp import NODE_VARIABLE

pytestmark = pytest.mark.xdist_group("kubectl")  # what is rendered is kept

CRDS = {path.stem: json.loads(path.read_text()) for path in Path(__file__).with_name("crds").glob("*.json")}
NAMESPACE: Object = yaml.safe_load((KUBERNETES / "namespace.yaml").read_text())
OLDEST, NEWEST = "1.30", kubernetes_validate.latest_version()
RULES = sorted((KUBERNETES / "rules").glob("*.yml"))
BOARDS = sorted((ROOT / "dashboards/grafana").glob("*.json"))
each_variant = pytest.mark.parametrize("variant", VARIANTS)


def container(variant: str) -> dict[str, Any]:
    (one,) = pod_spec(variant)["containers"]
    found: dict[str, Any] = one
    return found


def strict(schema: Any) -> Any:
    """The schema, with keys refused that the API server would drop in silence."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def refused(thing: Object) -> list[str]:
    """What the operator's own schema says against an object."""
    schema = strict(CRDS[thing["kind"]])
    schema["properties"]["metadata"] = {}  # the API server's own
    return [error.message for error in Draft202012Validator(schema).iter_errors(thing)]


def different_objects() -> Iterator[Object]:
    """Every object of every variant, once, and the namespace."""
    yield NAMESPACE
    yield from {json.dumps(thing): thing for variant in VARIANTS for thing in objects(variant)}.values()


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_knows_every_key_of_every_object(version: str) -> None:
    for thing in different_objects():
        if thing["kind"] not in CRDS:
            kubernetes_validate.validate(thing, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_a_key_that_kubernetes_does_not_know_would_be_noticed(version: str) -> None:
    daemonset = json.loads(json.dumps(only(objects("base"), "DaemonSet")))
    daemonset["spec"]["template"]["spec"]["hostPid"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="hostPid"):
        kubernetes_validate.validate(daemonset, version, strict=True)


def test_the_operator_knows_every_key_of_its_objects() -> None:
    custom = {thing["kind"]: refused(thing) for thing in objects("prometheus-operator") if thing["kind"] in CRDS}
    assert custom == {"PodMonitor": [], "PrometheusRule": []}


def test_a_key_that_the_operator_does_not_know_would_be_noticed() -> None:
    monitor = json.loads(json.dumps(only(objects("prometheus-operator"), "PodMonitor")))
    monitor["spec"]["podMetricsEndpoints"][0]["honourLabels"] = True
    assert refused(monitor) == ["Additional properties are not allowed ('honourLabels' was unexpected)"]


@each_variant
def test_everything_stands_in_the_one_namespace_and_is_there_once(variant: str) -> None:
    found = objects(variant)
    of_cluster = {"ClusterRole", "ClusterRoleBinding"}
    assert {each["metadata"].get("namespace") for each in found if each["kind"] not in of_cluster} == {"damon-exporter"}
    names = [(each["kind"], each["metadata"]["name"]) for each in found]
    assert len(names) == len(set(names))


# What a variant asks for, whole: the base's objects, and how those of the others differ

POD = "/DaemonSet/spec/template/spec"
CONTAINER = f"{POD}/containers/damon-exporter"
EXPECTED: dict[str, Object] = yaml.safe_load(Path(__file__).with_name("base.yaml").read_text())
ALIKE = {*EXPECTED, "ConfigMap"}
NAMES = {"ClusterRole", "ClusterRoleBinding"}
OPERATORS = {"PodMonitor", "PrometheusRule"}
KINDS = dict.fromkeys(VARIANTS, ALIKE) | {
    "example": ALIKE | NAMES | OPERATORS,
    "kubelet-names": ALIKE | NAMES,
    "prometheus-operator": ALIKE | OPERATORS,
}

TAKEOVER = {f"{CONTAINER}/volumeMounts/modules/readOnly": False}
SENDS_TOKEN = f"{POD}/automountServiceAccountToken"
TOKEN = {
    SENDS_TOKEN: True,
    "/NetworkPolicy/spec/egress": [{"ports": [{"port": 10250, "protocol": "TCP"}]}],
}
NO_MEMMAP = {
    f"{POD}/nodeSelector/kubernetes.io~arch": None,
    f"{POD}/volumes/firmware-memmap/hostPath/path": None,
    f"{POD}/volumes/firmware-memmap/hostPath/type": None,
    f"{POD}/volumes/firmware-memmap/name": None,
    f"{CONTAINER}/volumeMounts/firmware-memmap/mountPath": None,
    f"{CONTAINER}/volumeMounts/firmware-memmap/name": None,
    f"{CONTAINER}/volumeMounts/firmware-memmap/readOnly": None,
}
RECEIVERS = [{"port": port, "protocol": protocol} for port, protocol in [(4318, "TCP"), (53, "UDP"), (53, "TCP")]]
DIFFERENT: dict[str, dict[str, Any]] = {variant: {} for variant in VARIANTS} | {
    "example": TAKEOVER | TOKEN | NO_MEMMAP,
    "kubelet-names": TOKEN,
    "no-memmap": NO_MEMMAP,
    "observe-only": {f"{CONTAINER}/volumeMounts/damon/readOnly": True},
    "otlp": {"/NetworkPolicy/spec/egress": [{"ports": RECEIVERS}]},
    "privileged": {
        f"{CONTAINER}/securityContext/privileged": True,
        f"{CONTAINER}/securityContext/capabilities/drop": None,
        f"{CONTAINER}/securityContext/allowPrivilegeEscalation": None,
        f"{CONTAINER}/securityContext/seccompProfile/type": None,
        f"{CONTAINER}/securityContext/appArmorProfile/type": None,
    },
    "selinux": {f"{CONTAINER}/securityContext/seLinuxOptions/type": "spc_t"},
    "takeover": TAKEOVER,
}


def leaves(thing: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its place; elements of lists are found by their names where they have them."""
    if isinstance(thing, list) and thing and all("name" in each for each in thing):
        thing = {each["name"]: each for each in thing}
    if isinstance(thing, dict) and thing:
        for key, value in thing.items():
            yield from leaves(value, f"{place}/{key.replace('/', '~')}")
    else:
        yield place, thing


def asked_for(variant: str) -> dict[str, Any]:
    """The values in the objects that every variant has, but for the image and the name of the configuration."""
    found = json.loads(json.dumps({each["kind"]: each for each in objects(variant) if each["kind"] in EXPECTED}))
    pod = found["DaemonSet"]["spec"]["template"]["spec"]
    pod["containers"][0]["image"] = "damon-exporter:VERSION"
    del next(volume for volume in pod["volumes"] if volume["name"] == "config")["configMap"]["name"]
    return dict(leaves(found))


@each_variant
def test_a_variant_asks_for_what_the_base_does_but_for_these_differences(variant: str) -> None:
    base, found = dict(leaves(EXPECTED)), asked_for(variant)
    places = [place for place in base.keys() | found.keys() if base.get(place) != found.get(place)]
    assert {place: found.get(place) for place in places} == DIFFERENT[variant]


@each_variant
def test_a_variant_has_objects_of_these_kinds_alone(variant: str) -> None:
    dashboards = [each for each in objects(variant) if each["metadata"]["name"].startswith("damon-dashboards")]
    assert sorted(each["kind"] for each in objects(variant) if each not in dashboards) == sorted(KINDS[variant])
    assert [each["kind"] for each in dashboards] == (["ConfigMap"] if variant in ("example", "grafana") else [])


def test_the_namespace_lets_such_pods_in_and_is_not_deleted_with_them() -> None:
    assert NAMESPACE["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert NAMESPACE["metadata"]["name"] == EXPECTED["DaemonSet"]["metadata"]["namespace"]


def test_of_the_api_nothing_but_the_pods_of_a_node_may_be_read_by_the_account_of_the_pods() -> None:
    found = objects("kubelet-names")
    role = only(found, "ClusterRole")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes/pods"], "verbs": ["get"]}]
    binding, account = only(found, "ClusterRoleBinding"), only(found, "ServiceAccount")["metadata"]
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("ClusterRole", role["metadata"]["name"])
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]


# Whether they fit each other


@each_variant
def test_selectors_find_the_pods(variant: str) -> None:
    found = objects(variant)
    template = only(found, "DaemonSet")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        only(found, "DaemonSet")["spec"]["selector"]["matchLabels"],
        only(found, "Service")["spec"]["selector"],
        only(found, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(each["spec"]["selector"]["matchLabels"] for each in found if each["kind"] == "PodMonitor"),
    ]
    assert all(selector.items() <= template.items() for selector in selectors)


def test_the_port_is_the_one_that_the_exporter_serves_unless_told_otherwise() -> None:
    (port,) = container("base")["ports"]
    assert f"[default: :{port['containerPort']}]" in " ".join(run("--help").stdout.split())


def test_the_command_line_calls_the_configuration_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_IP", "10.0.0.7")
    for variant in ("base", "example"):
        config = tmp_path / f"{variant}.yaml"
        config.write_text(only(objects(variant), "ConfigMap")["data"]["config.yaml"])
        checked = run(f"--config.file={config}", "--config.check")
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "the configuration is good\n", "")


@each_variant
def test_the_configuration_is_mounted_and_asks_for_what_the_variant_allows(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = only(objects(variant), "ConfigMap")
    names = {volume["name"]: volume.get("configMap", {}).get("name") for volume in pod_spec(variant)["volumes"]}
    assert names["config"] == config["metadata"]["name"]
    assert config["data"].keys() == {"config.yaml"}
    (tmp_path / "config.yaml").write_text(config["data"]["config.yaml"])
    for variable in container(variant)["env"]:
        monkeypatch.setenv(variable["name"], "10.0.0.7")
    loaded = load(tmp_path / "config.yaml")
    assert loaded.kernel.control == ("never" if variant == "observe-only" else "auto")
    assert bool(loaded.kernel.takeover) == (TAKEOVER.items() <= DIFFERENT[variant].items())
    assert bool(loaded.kubernetes) == DIFFERENT[variant].get(SENDS_TOKEN, False)


def test_another_configuration_has_another_name_so_that_it_rolls_over_the_nodes() -> None:
    assert container("base")["image"] == container("takeover")["image"]
    names = {variant: only(objects(variant), "ConfigMap")["metadata"]["name"] for variant in ("base", "takeover")}
    assert names["base"] != names["takeover"]


def test_the_environment_tells_what_differs_between_nodes() -> None:
    told = {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in container("base")["env"]}
    assert told == {NODE_VARIABLE: "spec.nodeName", "NODE_IP": "status.hostIP"}


def test_the_next_node_waits_until_a_new_configuration_has_been_tried() -> None:
    assert only(objects("base"), "DaemonSet")["spec"]["minReadySeconds"] > load(None).kernel.settle


def test_the_prometheus_rule_has_every_rule() -> None:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    assert only(objects("prometheus-operator"), "PrometheusRule")["spec"]["groups"] == groups


def test_the_memorys_own_labels_win_and_nodes_are_told_by_name() -> None:
    (endpoint,) = only(objects("prometheus-operator"), "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["honorLabels"]) == ("metrics", True)
    named = {each["targetLabel"] for each in endpoint["relabelings"] if "targetLabel" in each}
    assert named == {"instance", "node"}


def test_grafana_is_given_every_dashboard() -> None:
    config = only(objects("grafana"), "ConfigMap", "damon-dashboards")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config["data"] == {path.name: path.read_text() for path in BOARDS}


def test_the_example_is_what_its_components_make() -> None:
    kinds = {each["kind"] for name in COMPONENTS for each in objects(name)}
    assert {each["kind"] for each in objects("example")} == kinds
    assert container("example")["image"].startswith("registry.example/damon-exporter@sha256:")
