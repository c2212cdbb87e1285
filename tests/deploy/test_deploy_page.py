"""What docs/deploy.md shows is run, rendered or read by who will read it, and agrees with what is shipped."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from deploy.page import PAGE, block, blocks, shell
from deploy.rendered import COMPONENTS, ROOT, Object, objects, only, pod_spec, render

pytestmark = pytest.mark.xdist_group("kubectl")

UNIT = ROOT / "deploy/systemd/damon-exporter.service"


def test_pip_knows_the_extra_that_the_page_names() -> None:
    (extra,) = re.findall(r"'\.\[(\w+)\]'", block("sh", "pip install"))
    assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def rendered_beside_a_checkout(folder: Path, *changes: tuple[str, str]) -> tuple[Object, ...]:
    """All objects of the page's own kustomization, in which one text takes the place of another."""
    text = block("yaml", "kind: Kustomization")
    for old, new in changes:
        text = text.replace(old, new)
    (folder / "damon-exporter").symlink_to(ROOT)
    own = folder / "own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(text)
    (own / "config.yaml").write_text("kernel: {takeover: [damon_stat]}\n")
    return render(own)


def test_another_namespace_is_everythings_and_that_of_the_account_with_the_rights(tmp_path: Path) -> None:
    more = "- ../damon-exporter/deploy/k8s/components/kubelet-names\nimages:\n"
    found = rendered_beside_a_checkout(
        tmp_path, ("images:\n", more), ("resources:\n", "namespace: elsewhere\nresources:\n")
    )
    of_cluster = {"ClusterRole", "ClusterRoleBinding"}
    assert {each["metadata"].get("namespace") for each in found if each["kind"] not in of_cluster} == {"elsewhere"}
    (subject,) = only(found, "ClusterRoleBinding")["subjects"]
    assert subject["namespace"] == only(found, "ServiceAccount")["metadata"]["namespace"]


def test_the_kustomization_renders_beside_a_checkout(tmp_path: Path) -> None:
    found = rendered_beside_a_checkout(tmp_path)
    (container,) = only(found, "DaemonSet")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/damon-exporter:1.2.3"
    assert only(found, "ConfigMap")["data"]["config.yaml"] == "kernel: {takeover: [damon_stat]}\n"
    assert {"PodMonitor", "PrometheusRule"} <= {each["kind"] for each in found}


def test_every_component_is_told_of() -> None:
    told = {Path(name).name for name in re.findall(r"^\| `([\w/-]+)` \|", PAGE, re.M)}
    assert told >= COMPONENTS.keys()


def test_the_systemd_files_are_installed_where_they_are_looked_for(tmp_path: Path) -> None:
    link, *installs, reload, enable = block("sh", "systemctl enable").splitlines()
    shell("\n".join(installs).replace(" /etc/", f" {tmp_path}/etc/"))
    unit = (tmp_path / "etc/systemd/system/damon-exporter.service").read_text()
    assert "EnvironmentFile=-/etc/default/damon-exporter\n" in unit
    defaults = (tmp_path / "etc/default/damon-exporter").read_text()
    (config,) = re.findall(r"--config\.file=(/\S+)\"", defaults)
    assert (tmp_path / config.lstrip("/")).exists()
    _, _, program, place = link.split()
    assert link == f"ln -s {program} {place}"
    assert f"ExecStart={place} $ARGS\n" in unit
    assert f"{program} demo" in " ".join(block("sh", "pip install").split())
    assert reload == "systemctl daemon-reload"
    shell(enable.replace("enable --now", f"--root={tmp_path} enable"))
    assert (tmp_path / "etc/systemd/system/multi-user.target.wants/damon-exporter.service").is_symlink()


def test_systemctl_knows_what_it_is_told() -> None:
    known = re.findall(r"^  ([a-z-]+)", shell("systemctl --help"), re.M)
    told = re.findall(r"\bsystemctl ([\w-]+)(?: --now)?(?: ([\w-]+))?", PAGE)
    assert {verb for verb, _ in told} <= {*known}
    assert {unit for _, unit in told} == {"", "damon-exporter"}


@pytest.mark.parametrize("drop_in", blocks("ini", "[Service]"))
def test_systemd_understands_the_drop_ins(drop_in: str, tmp_path: Path) -> None:
    unit = tmp_path / "drop-in.service"
    unit.write_text(UNIT.read_text().replace("/usr/bin/damon-exporter", "/bin/true") + drop_in)
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def docker_run() -> tuple[list[tuple[str, ...]], list[str]]:
    """The flags of the page's `docker run`, each with its value, and what the exporter itself is told."""
    docker, run, *words = shlex.split(block("sh", "docker run").replace("\\\n", ""))
    assert (docker, run) == ("docker", "run")
    image = words.index("damon-exporter:VERSION")
    flags = re.findall(r"(--[\w-]+)(?: ((?!--)\S+))?", " ".join(words[:image]))
    return flags, words[image + 1 :]


def test_the_container_has_the_rights_of_the_daemonset_and_no_other() -> None:
    spec = pod_spec("base")
    (container,) = spec["containers"]
    (port,) = (each["containerPort"] for each in container["ports"])
    rights = dict(container["securityContext"])
    engines_own = {"runAsUser": 0, "runAsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}}
    assert engines_own.items() <= rights.items()
    same = {
        ("--cap-drop", "ALL"): rights.pop("capabilities") == {"drop": ["ALL"]},
        ("--security-opt", "no-new-privileges"): rights.pop("allowPrivilegeEscalation") is False,
        ("--security-opt", "apparmor=unconfined"): rights.pop("appArmorProfile") == {"type": "Unconfined"},
        ("--read-only", ""): rights.pop("readOnlyRootFilesystem"),
        ("--pid", "host"): spec["hostPID"],
        ("--publish", f"{port}:{port}"): not spec["hostNetwork"],
        ("--stop-timeout", str(spec["terminationGracePeriodSeconds"])): True,
    }
    assert rights.keys() == engines_own.keys()
    no_rights = {("--detach", ""), ("--name", "damon-exporter"), ("--restart", "unless-stopped")}
    flags = [flag for flag in docker_run()[0] if flag[0] != "--volume"]
    assert sorted(flags) == sorted({*same, *no_rights})
    assert all(same.values())


def test_the_container_mounts_what_the_daemonset_does() -> None:
    flags, arguments = docker_run()
    mounted = {tuple(value.split(":")) for flag, value in flags if flag == "--volume"}
    spec = pod_spec("base")
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}
    of_pod = {
        (paths[mount["name"]], mount["mountPath"], *(["ro"] if mount.get("readOnly") else []))
        for mount in spec["containers"][0]["volumeMounts"]
        if mount["name"] in paths
    }
    assert mounted == of_pod
    assert arguments == [flag for flag in spec["containers"][0]["args"] if flag.startswith("--path")]


def test_selinux_is_told_the_same_of_a_container_as_of_a_pod() -> None:
    (kind,) = re.findall(r"`--security-opt label=type:(\w+)`", PAGE)
    assert pod_spec("selinux")["containers"][0]["securityContext"]["seLinuxOptions"] == {"type": kind}


def test_every_right_that_some_variant_gives_or_drops_has_its_row_and_no_other_has() -> None:
    table = PAGE.partition("## Which right")[2].partition("\n## ")[0]
    rows = [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in re.findall(r"^\|.*\|$", table, re.M)]
    assert {len(row) for row in rows} == {3}
    assert all(cell for row in rows for cell in row)
    others = {
        "uid 0",
        "any capability",
        "`hostPID`, `--pid host`",
        "AppArmor unconfined, or the profile above",
        "SELinux type `spc_t`, where it enforces",
        "a token with `get` of `nodes/pods`",
    }
    assert sorted(right for right, *_ in rows[2:]) == sorted(others | paths_to_have())


def paths_to_have() -> set[str]:
    """What the table must call the paths of the host: to write what is writable only, both where variants differ."""
    found = set()
    for variant in ("base", "takeover"):
        spec = pod_spec(variant)
        writable = {each["name"]: not each.get("readOnly") for each in spec["containers"][0]["volumeMounts"]}
        found |= {(each["hostPath"]["path"], writable[each["name"]]) for each in spec["volumes"] if "hostPath" in each}
    read = {path for path, may_write in found if not may_write}
    both = read & {path for path, may_write in found if may_write}
    return {
        f"`{path}`" + (", to write" if may_write else ", to read" if path in both else "") for path, may_write in found
    }


def test_doctor_is_asked_about_the_paths_of_the_pod() -> None:
    command = block("sh", "doctor --path").replace("\\\n", " ")
    assert set(re.findall(r"--path\.\S+", command)) == {
        flag for flag in pod_spec("base")["containers"][0]["args"] if flag.startswith("--path")
    }


def test_apparmor_reads_the_profile_which_lets_write_what_the_pod_may(tmp_path: Path) -> None:
    profile = tmp_path / "damon-exporter"
    profile.write_text(block("apparmor", "profile damon-exporter"))
    command = ["apparmor_parser", "--skip-kernel-load", "--skip-cache", profile]
    parsed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert parsed.returncode == 0, parsed.stderr  # which says that this kernel has no AppArmor
    written = set(re.findall(r"^  (/host/\S+)/\*\* rwk,$", profile.read_text(), re.M))
    peers = re.findall(r"^  signal \(receive\) peer=(\S+),$", profile.read_text(), re.M)
    assert peers == ["{unconfined,runc,crun}"]  # who ends a pod: AppArmor 4 confines runtimes, if only by name
    mounts = pod_spec("base")["containers"][0]["volumeMounts"]
    assert written == {mount["mountPath"] for mount in mounts if not mount.get("readOnly")}


def test_the_constraints_of_openshift_let_just_this_pod_in() -> None:
    allowed = yaml.safe_load(block("yaml", "SecurityContextConstraints"))
    account = only(objects("base"), "ServiceAccount")["metadata"]
    assert allowed["users"] == [f"system:serviceaccount:{account['namespace']}:{account['name']}"]
    spec = pod_spec("selinux")
    asked = spec["containers"][0]["securityContext"]
    assert allowed["requiredDropCapabilities"] == asked["capabilities"]["drop"]
    assert allowed["seLinuxContext"]["seLinuxOptions"] == asked["seLinuxOptions"]
    assert (allowed["allowHostPID"], allowed["allowHostNetwork"]) == (spec["hostPID"], spec["hostNetwork"])
    kinds = {kind for volume in pod_spec("kubelet-names")["volumes"] for kind in volume if kind != "name"}
    assert kinds | {"projected"} == set(allowed["volumes"])
