"""Containers by the paths of cgroups as real machines have shown them, and by whatever else a path may be."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from damon_exporter.containers.cgroup_path import Container, containers_on, made_by_root

ROWS = yaml.safe_load((Path(__file__).parent / "cgroup_paths.yaml").read_text())

ID, OTHER_ID = "0123456789abcdef" * 4, "fedcba9876543210" * 4
UID, OTHER_UID = "91a8fc3a-0ecf-48b4-81bf-78a7275d348c", "5759a1ae-36ca-48a8-b20a-b0b5c8a90fb8"

pieces = st.sampled_from(
    [
        "/",
        "..",
        "pod",
        "-",
        ":",
        "_",
        ".scope",
        ".slice",
        "docker",
        "crio-conmon",
        "a" * 63,
        ID,
        UID,
        "\n",
        "é",
        "\udcff",
    ]
)


def deepest(path: str) -> Container | None:
    return next(reversed(containers_on(path)), None)


@pytest.mark.parametrize("row", ROWS, ids=[row["seen"] for row in ROWS])
def test_a_real_path_tells_its_container(row: dict[str, Any]) -> None:
    expected = Container(row["id"], row["pod_uid"], row["runtime"]) if "id" in row else None
    assert deepest(row["path"]) == expected


def test_the_table_holds_no_path_twice() -> None:
    paths = [row["path"] for row in ROWS]
    assert len(set(paths)) == len(paths) >= 30


def test_containers_within_containers_are_told_the_outermost_first() -> None:
    path = f"/kubepods/pod{UID}/{ID}/docker/{OTHER_ID}/init"
    assert containers_on(path) == (Container(ID, UID, ""), Container(OTHER_ID, UID, "docker"))


def test_a_pod_within_a_container_is_not_that_containers() -> None:
    path = f"/docker/{ID}/kubepods/pod{UID}"
    assert containers_on(path) == (Container(ID, "", "docker"), Container("", UID, ""))


def test_a_pod_within_a_pod_is_the_deeper_one() -> None:
    path = f"/kubepods/pod{UID}/{ID}/kubepods/pod{OTHER_UID}/crio-conmon-{OTHER_ID}"
    assert deepest(path) == Container("", OTHER_UID, "")


@pytest.mark.parametrize("name", [f"{ID}0", ID[1:], f"x{ID}", ID.upper(), f"{ID}\n", f"\n{ID}", f"docker-{ID}.scope\n"])
def test_what_only_resembles_an_id_is_none(name: str) -> None:
    assert deepest(f"/docker/{name}") is None


@pytest.mark.parametrize("name", [f"tripod{UID}", f"pod{UID}0", f"pod{UID[:-1]}", f"pod{UID.upper()}", f"pod{UID}\n"])
def test_what_only_resembles_a_pod_is_none(name: str) -> None:
    assert deepest(f"/kubepods/{name}") is None


def test_a_runtime_that_we_do_not_know_is_a_runtime_all_the_same() -> None:
    assert deepest(f"/kubepods.slice/isulad-{ID}.scope") == Container(ID, "", "")


@pytest.mark.parametrize(
    ("path", "above"),
    [
        ("/system.slice/a.service", "/system.slice/a.service"),
        ("/system.slice/a.service/b", "/system.slice/a.service"),
        ("/system.slice/a\nb.service/c", "/system.slice/a\nb.service"),
        ("/system.slice/containerd.service/b", "/system.slice/containerd.service/b"),
        ("/system.slice/docker.service/b.scope/c", "/system.slice/docker.service/b.scope"),
        ("/system.slice/my-docker.service/b", "/system.slice/my-docker.service"),
        (f"/a.slice/a-b.slice/docker-{ID}.scope/c", f"/a.slice/a-b.slice/docker-{ID}.scope"),
        (f"/kubepods/{ID}/user.slice/user-1.slice/{ID}", f"/kubepods/{ID}/user.slice"),
        ("/../user@1000.service/a", "/../user@1000.service"),
        ("/lxc.payload.guest/kubepods", "/lxc.payload.guest"),
        ("/lxc/guest/kubepods", "/lxc"),
        ("/user.slices/lxcs/a.services", "/user.slices/lxcs/a.services"),
    ],
)
def test_what_root_has_made_ends_where_a_cgroup_is_handed_over(path: str, above: str) -> None:
    assert made_by_root(path) == above


@pytest.mark.parametrize("row", [row for row in ROWS if len(containers_on(row["path"])) == 1])
def test_a_real_container_that_lies_in_no_other_is_roots_unless_a_user_or_a_service_runs_it(
    row: dict[str, Any],
) -> None:
    by_others = "/user.slice/" in row["path"] or "/kepler.service/" in row["path"]
    assert bool(containers_on(made_by_root(row["path"]))) != by_others


@given(st.one_of(st.text(max_size=4096), st.lists(pieces, max_size=60).map("".join)))
def test_any_text_has_a_well_formed_answer(path: str) -> None:
    for container in containers_on(path):
        assert len(container.id) in (0, 64)
        assert len(container.pod_uid) in (0, 32, 36)
        assert container.id or container.pod_uid


@pytest.mark.parametrize(
    "piece",
    ["/", "a", "pod", "-pod", "a/", f"{ID}/", f"-pod{UID}", f"-pod{UID}/", "-pod0123", ":", f"pod{UID}\n", "\n"],
)
def test_a_hostile_path_takes_time_in_proportion_to_its_length(piece: str) -> None:
    """Of 1 MiB, 256 times what a path can be: if its square counted, minutes."""
    path = piece * ((1 << 20) // len(piece))
    began = time.process_time()
    containers_on(path)
    assert time.process_time() - began < 5
