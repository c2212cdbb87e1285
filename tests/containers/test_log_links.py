"""Names of pods from the names of links to logs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from damon_exporter.containers.errors import NamesUnavailable
from damon_exporter.containers.log_links import read_log_links
from damon_exporter.containers.named import Named

ID, OTHER_ID = "0123456789abcdef" * 4, "fedcba9876543210" * 4
LONGEST_NAME = 255
NOBODY = 65534


def link(folder: Path, name: str) -> None:
    """As the kubelet makes it: to where nothing needs to be that we could see."""
    (folder / name).symlink_to(f"/var/log/pods/shop_cart_uid/app/0.log.{len(name)}")


def test_a_link_names_a_container(tmp_path: Path) -> None:
    link(tmp_path, f"cart-5d8f7c6b9-x2x7k_shop_app-{ID}.log")
    assert read_log_links(tmp_path) == {ID: Named("shop", "cart-5d8f7c6b9-x2x7k", "app")}


def test_names_with_dashes_and_dots_stay_whole(tmp_path: Path) -> None:
    link(tmp_path, f"etcd-ip-10-0-0-1.ec2.internal_kube-system_etcd-2-main-{ID}.log")
    assert read_log_links(tmp_path) == {ID: Named("kube-system", "etcd-ip-10-0-0-1.ec2.internal", "etcd-2-main")}


def test_containers_of_one_pod_are_told_apart(tmp_path: Path) -> None:
    link(tmp_path, f"cart_shop_app-{ID}.log")
    link(tmp_path, f"cart_shop_proxy-{OTHER_ID}.log")
    assert {found.container for found in read_log_links(tmp_path).values()} == {"app", "proxy"}


@pytest.mark.parametrize(
    "name",
    [
        "syslog",
        f"cart_shop_app-{ID[1:]}.log",
        f"cart_shop_app-{ID}0.log",
        f"cart_shop_app-{ID}.log.gz",
        f"cart_shop_app-{ID}.log\n",
        f"cart_shop-{ID}.log",
        f"a_cart_shop_app-{ID}.log",
        f"cart_shop_{ID}.log",
        f"Cart_shop_app-{ID}.log",
        f"cart\n_shop_app-{ID}.log",
        f"c\udcffrt_shop_app-{ID}.log",
    ],
)
def test_what_is_no_such_link_names_nobody(tmp_path: Path, name: str) -> None:
    link(tmp_path, name)
    assert read_log_links(tmp_path) == {}


@pytest.mark.parametrize("pod", ["p" * 200, "p" * 181, "p" * 245])
def test_a_name_that_the_kubelet_had_to_cut_names_nobody(tmp_path: Path, pod: str) -> None:
    whole = f"{pod}_shop_app-{ID}.log"
    assert len(whole) > LONGEST_NAME
    link(tmp_path, whole[: LONGEST_NAME - len(".log")] + ".log")
    assert read_log_links(tmp_path) == {}


def test_the_longest_name_that_is_not_cut_names_a_container(tmp_path: Path) -> None:
    pod = "p" * (LONGEST_NAME - len(f"_shop_app-{ID}.log"))
    link(tmp_path, f"{pod}_shop_app-{ID}.log")
    assert read_log_links(tmp_path) == {ID: Named("shop", pod, "app")}


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A pipe that nobody writes to would hold whoever opens it."""
    folder = tmp_path / "containers"
    folder.mkdir()
    os.mkfifo(tmp_path / "pipe")
    (folder / f"cart_shop_app-{ID}.log").symlink_to(tmp_path / "pipe")
    assert ID in read_log_links(folder)


def test_without_the_folder_there_are_no_names(tmp_path: Path) -> None:
    assert read_log_links(tmp_path / "containers") == {}


def test_a_folder_that_cannot_be_read_is_told_with_the_cure(tmp_path: Path) -> None:
    file = tmp_path / "containers"
    file.touch()
    with pytest.raises(NamesUnavailable, match=r"containers: not a directory; mount the host's /var/log/containers"):
        read_log_links(file)


@pytest.fixture
def forbidden(tmp_path: Path) -> Iterator[Path]:
    """A folder, for as long as we are somebody who may not read it: root may read everything."""
    folder = tmp_path / "containers"
    folder.mkdir(mode=0)
    user = os.geteuid()
    os.seteuid(user or NOBODY)
    yield folder
    os.seteuid(user)


def test_a_forbidden_folder_is_told_with_the_cure(forbidden: Path) -> None:
    with pytest.raises(NamesUnavailable, match=r"permission denied; .* run as uid 0"):
        read_log_links(forbidden)
