"""What docs/deploy.md shows is run, rendered or read by who will read it, and agrees with what is shipped."""

import re
import subprocess
import textwrap
from pathlib import Path

import pytest
import yaml
from deploy.rendered import COMPONENTS, ROOT, Object, objects, only, pod_spec, render

pytestmark = pytest.mark.xdist_group("kubectl")

PAGE = (ROOT / "docs/deploy.md").read_text()
UNIT = ROOT / "deploy/systemd/damon-exporter.service"


def blocks(language: str, holds: str) -> list[str]:
    """The blocks of a language in which this stands."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", PAGE, re.M | re.S)
    return [textwrap.dedent(text) for _, text in found if holds in text]


def block(language: str, holds: str) -> str:
    (one,) = blocks(language, holds)
    return one


def rendered_beside_a_checkout(folder: Path, more: str = "") -> tuple[Object, ...]:
    """All objects of the page's own kustomization."""
    (folder / "damon-exporter").symlink_to(ROOT)
    own = folder / "own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(block("yaml", "kind: Kustomization") + more)
    (own / "config.yaml").write_text("kernel: {takeover: [damon_stat]}\n")
    return render(own)


def test_another_namespace_is_everythings(tmp_path: Path) -> None:
    found = rendered_beside_a_checkout(tmp_path, "namespace: elsewhere\n")
    assert {each["metadata"].get("namespace") for each in found} == {"elsewhere"}


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
    lines = block("sh", "systemctl enable").splitlines()
    installs = [line.replace(" /etc/", f" {tmp_path}/etc/") for line in lines if line.startswith("install")]
    subprocess.run("\n".join(["set -e", *installs]), shell=True, check=True, cwd=ROOT)
    unit = (tmp_path / "etc/systemd/system/damon-exporter.service").read_text()
    assert "EnvironmentFile=-/etc/default/damon-exporter\n" in unit
    defaults = (tmp_path / "etc/default/damon-exporter").read_text()
    (config,) = re.findall(r"--config\.file=(/\S+)\"", defaults)
    assert (tmp_path / config.lstrip("/")).exists()
    (link,) = (line.split()[-1] for line in lines if line.startswith("ln -s"))
    assert f"ExecStart={link} $ARGS\n" in unit


@pytest.mark.parametrize("drop_in", blocks("ini", "[Service]"))
def test_systemd_understands_the_drop_ins(drop_in: str, tmp_path: Path) -> None:
    unit = tmp_path / "drop-in.service"
    unit.write_text(UNIT.read_text().replace("/usr/bin/damon-exporter", "/bin/true") + drop_in)
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_container_mounts_what_the_daemonset_does_but_for_what_only_a_cluster_or_x86_has() -> None:
    command = block("sh", "docker run")
    mounted = {tuple(each.split(":")) for each in re.findall(r"--volume (\S+)", command)}
    spec = pod_spec("base")
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}
    of_pod = {
        (paths[mount["name"]], mount["mountPath"], *(["ro"] if mount.get("readOnly") else []))
        for mount in spec["containers"][0]["volumeMounts"]
        if mount["name"] in paths
    }
    assert {path for path, *_ in of_pod - mounted} == {"/sys/firmware/memmap", "/var/log/containers"}
    assert mounted <= of_pod
    assert set(re.findall(r"--path\.\S+", command)) <= set(spec["containers"][0]["args"])


def test_every_path_of_the_host_has_a_row_among_the_rights() -> None:
    rights = PAGE.partition("## Which right")[2]
    told = {path for row in re.findall(r"^\| (.*?) \|", rights, re.M) for path in re.findall(r"`(/[\w/]+)`", row)}
    mounted = {volume["hostPath"]["path"] for volume in pod_spec("base")["volumes"] if "hostPath" in volume}
    assert told == mounted


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
