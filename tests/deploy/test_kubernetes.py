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


# Rights

LEAST = {
    "runAsUser": 0,
    "runAsGroup": 0,
    "capabilities": {"drop": ["ALL"]},
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "seccompProfile": {"type": "RuntimeDefault"},
    "appArmorProfile": {"type": "Unconfined"},
}
PRIVILEGED = {"runAsUser": 0, "runAsGroup": 0, "privileged": True, "readOnlyRootFilesystem": True}
RIGHTS = dict.fromkeys(VARIANTS, LEAST) | {
    "privileged": PRIVILEGED,
    "selinux": {**LEAST, "seLinuxOptions": {"type": "spc_t"}},
}
HOST_PATHS = {
    "/sys/kernel/mm/damon": "rw",
    "/sys/kernel/tracing": "rw",
    "/sys/module": "ro",
    "/sys/firmware/memmap": "ro",
    "/sys/devices/system": "ro",
    "/sys/fs/cgroup": "ro",
    "/var/log/containers": "ro",
}
EVERYWHERE = {path: mode for path, mode in HOST_PATHS.items() if path != "/sys/firmware/memmap"}
MOUNTED = dict.fromkeys(VARIANTS, HOST_PATHS) | {
    "arm64": EVERYWHERE,
    "example": {**EVERYWHERE, "/sys/module": "rw"},
    "observe-only": {**HOST_PATHS, "/sys/kernel/mm/damon": "ro"},
    "takeover": {**HOST_PATHS, "/sys/module": "rw"},
}
TOKEN = {variant: variant in ("example", "kubelet-names") for variant in VARIANTS}


@each_variant
def test_a_variant_has_exactly_these_rights(variant: str) -> None:
    spec = pod_spec(variant)
    assert container(variant)["securityContext"] == RIGHTS[variant]
    assert (spec["hostPID"], spec["hostNetwork"], spec["automountServiceAccountToken"]) == (True, False, TOKEN[variant])
    assert {"hostIPC", "securityContext", "initContainers"} & spec.keys() == set()


@each_variant
def test_a_variant_sees_exactly_these_paths_of_the_host_where_the_flags_say(variant: str) -> None:
    volumes = {volume["name"]: volume for volume in pod_spec(variant)["volumes"]}
    mounted = {mount["name"]: mount for mount in container(variant)["volumeMounts"]}
    assert volumes.keys() == mounted.keys()
    (config,) = (volumes.pop(name) for name in [name for name in volumes if "hostPath" not in volumes[name]])
    assert mounted[config["name"]] == {"name": "config", "mountPath": "/etc/damon-exporter", "readOnly": True}

    paths = {volume["hostPath"]["path"]: mounted[name] for name, volume in volumes.items()}
    assert {path: "ro" if mount.get("readOnly") else "rw" for path, mount in paths.items()} == MOUNTED[variant]
    assert all(mount["mountPath"] == f"/host{path}" for path, mount in paths.items())
    assert {volume["hostPath"]["type"] for volume in volumes.values()} == {"Directory"}
    assert container(variant)["args"] == [
        "--path.sysfs=/host/sys",
        "--path.tracefs=/host/sys/kernel/tracing",
        "--path.rootfs=/host",
        "--config.file=/etc/damon-exporter/config.yaml",
    ]


def test_the_namespace_lets_such_pods_in_and_is_not_deleted_with_them() -> None:
    assert NAMESPACE["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert NAMESPACE["metadata"]["name"] == only(objects("base"), "DaemonSet")["metadata"]["namespace"]
    assert [variant for variant in VARIANTS for each in objects(variant) if each["kind"] == "Namespace"] == []


EGRESS = {"kubelet-names": [10250], "example": [10250], "otlp": [4318, 53, 53]}


@each_variant
def test_only_the_metrics_port_is_reached_and_only_what_a_variant_asks(variant: str) -> None:
    policy = only(objects(variant), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [{"ports": [{"port": "metrics", "protocol": "TCP"}]}]
    ports = [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    assert ports == EGRESS.get(variant, [])


def test_of_the_api_nothing_but_the_pods_of_a_node_may_be_read() -> None:
    found = objects("kubelet-names")
    assert only(found, "ClusterRole")["rules"] == [{"apiGroups": [""], "resources": ["nodes/pods"], "verbs": ["get"]}]
    (subject,) = only(found, "ClusterRoleBinding")["subjects"]
    account = only(found, "ServiceAccount")["metadata"]
    assert (subject["name"], subject["namespace"]) == (account["name"], account["namespace"])
    kinds = {each["kind"] for variant in VARIANTS for each in objects(variant) if variant not in EGRESS}
    assert "ClusterRole" not in kinds


# Whether they fit each other


@each_variant
def test_selectors_find_the_pods_and_ports_agree(variant: str) -> None:
    found = objects(variant)
    template = only(found, "DaemonSet")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        only(found, "DaemonSet")["spec"]["selector"]["matchLabels"],
        only(found, "Service")["spec"]["selector"],
        only(found, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(each["spec"]["selector"]["matchLabels"] for each in found if each["kind"] == "PodMonitor"),
    ]
    assert all(selector.items() <= template.items() for selector in selectors)
    (port,) = container(variant)["ports"]
    assert port == {"name": "metrics", "containerPort": 10555}
    assert only(found, "Service")["spec"]["ports"] == [{"name": "metrics", "port": 10555, "targetPort": "metrics"}]


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
    assert bool(loaded.kernel.takeover) == (MOUNTED[variant]["/sys/module"] == "rw")
    assert bool(loaded.kubernetes) == TOKEN[variant]


def test_another_configuration_has_another_name_so_that_it_rolls_over_the_nodes() -> None:
    assert container("base")["image"] == container("takeover")["image"]
    names = {variant: only(objects(variant), "ConfigMap")["metadata"]["name"] for variant in ("base", "takeover")}
    assert names["base"] != names["takeover"]


def test_the_environment_tells_what_differs_between_nodes() -> None:
    told = {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in container("base")["env"]}
    assert told == {NODE_VARIABLE: "spec.nodeName", "NODE_IP": "status.hostIP"}


def test_nodes_of_every_architecture_get_a_pod_where_no_firmware_map_is_mounted() -> None:
    assert pod_spec("base")["nodeSelector"] == {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    assert pod_spec("arm64")["nodeSelector"] == {"kubernetes.io/os": "linux"}


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
