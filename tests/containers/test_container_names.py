"""Whose a cgroup is, as links and a kubelet tell it while containers come and go."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest
from played_kubelet import AUTHORITY, PlayedKubelet, drip, late, pod, pod_list, status

from damon_exporter.containers.kubelet import Kubelet, Limits
from damon_exporter.containers.named import Named
from damon_exporter.containers.names import ContainerNames

ID, OTHER_ID, SANDBOX_ID = "0123456789abcdef" * 4, "fedcba9876543210" * 4, "00112233445566ff" * 4
UID, OTHER_UID = "91a8fc3a-0ecf-48b4-81bf-78a7275d348c", "5759a1ae-36ca-48a8-b20a-b0b5c8a90fb8"
HASH = "a5363f4f31e043bdae3c93aca4991903"

POD = f"/kubepods/burstable/pod{UID}"
CGROUP, OTHER_CGROUP, SANDBOX = (f"{POD}/{identifier}" for identifier in (ID, OTHER_ID, SANDBOX_ID))

NOBODY = Named()
CART = Named("shop", "cart-0", "app")

KUBELET_SECONDS = 2


class Node:
    """A node with a folder of links and, if it is asked, a kubelet; ``names`` are what we know of it."""

    def __init__(self, folder: Path, played: PlayedKubelet, token_file: Path) -> None:
        self.folder = folder
        self.played = played
        self.kubelet = Kubelet(played.url, token_file, AUTHORITY, Limits(seconds=KUBELET_SECONDS))
        self.by_links = ContainerNames(folder, None)
        self.names = ContainerNames(folder, self.kubelet, ["app", "tier"])

    def link(self, identifier: str, pod: str = "cart-0", container: str = "app") -> Path:
        entry = self.folder / f"{pod}_shop_{container}-{identifier}.log"
        entry.symlink_to("/var/log/pods/somewhere")
        return entry

    def tell(self, *pods: object) -> None:
        self.played.answer = status(200, pod_list(*pods))


@pytest.fixture
def node(tmp_path: Path, played: PlayedKubelet, token_file: Path) -> Node:
    folder = tmp_path / "containers"
    folder.mkdir()
    return Node(folder, played, token_file)


# By links


def test_a_container_is_named_by_its_link(node: Node) -> None:
    node.link(ID)
    node.by_links.refresh(100)
    assert node.by_links.pod_of(CGROUP) == CART


def test_what_lies_below_a_container_is_that_containers(node: Node) -> None:
    node.link(ID)
    node.by_links.refresh(100)
    assert node.by_links.pod_of(f"{CGROUP}/init") == CART


@pytest.mark.parametrize("own", ["user.slice/user-1000.slice/session-1.scope", "user@1000.service/x"])
def test_what_lies_below_a_user_of_a_container_that_runs_systemd_is_that_containers(node: Node, own: str) -> None:
    node.link(ID)
    node.link(OTHER_ID, pod="bank-0")
    node.by_links.refresh(100)
    assert node.by_links.pod_of(f"{CGROUP}/{own}") == CART
    assert node.by_links.pod_of(f"{CGROUP}/{own}{OTHER_CGROUP}") == CART


@pytest.mark.parametrize(
    "own",
    [
        "/user.slice/user-1000.slice/user@1000.service",
        "/user.slice",
        "/../user@1000.service",
        f"/docker/{SANDBOX_ID}/user.slice/user-1000.slice",
        "/system.slice/delegated.service",
        "/system.slice/delegated.service/app.slice",
        "/system.slice/run-r1.scope",
        f"/machine.slice/libpod-{SANDBOX_ID}.scope/container",
        f"/docker/{SANDBOX_ID}",
        f"/docker/{SANDBOX_ID}/kubelet",
        f"/kubepods/pod{OTHER_UID}/{SANDBOX_ID}",
        f"/kubepods.slice/kubepods-pod{OTHER_UID.replace('-', '_')}.slice/cri-containerd-{SANDBOX_ID}.scope",
        "/lxc.payload.guest",
    ],
)
def test_nothing_that_another_can_make_takes_the_name_of_a_pod(node: Node, own: str) -> None:
    node.tell(pod("cart-0", UID, {ID: "app"}))
    node.names.refresh(100)
    disguises = [f"{own}{path}" for path in (CGROUP, POD, SANDBOX)]
    assert [node.names.pod_of(path) for path in disguises] == [NOBODY] * 3
    node.link(ID)
    node.by_links.refresh(100)
    assert node.by_links.pod_of(f"{own}{CGROUP}") == NOBODY
    assert node.by_links.pod_of(f"/mine{CGROUP}") == CART


def test_what_is_no_container_has_no_owner(node: Node) -> None:
    node.by_links.refresh(100)
    assert node.by_links.pod_of("/system.slice/ssh.service") == NOBODY
    assert node.by_links.unnamed == 0


def test_a_container_that_nobody_names_has_no_names_and_is_counted(node: Node) -> None:
    node.by_links.refresh(100)
    assert [node.by_links.pod_of(path) for path in (CGROUP, f"{CGROUP}/init", OTHER_CGROUP)] == [NOBODY] * 3
    assert node.by_links.unnamed == 2


def test_a_pod_that_nobody_names_is_no_container_to_count(node: Node) -> None:
    node.by_links.refresh(100)
    assert node.by_links.pod_of(POD) == NOBODY
    assert node.by_links.unnamed == 0


def test_a_link_that_comes_later_names_its_container_two_seconds_later(node: Node) -> None:
    node.by_links.refresh(100)
    node.by_links.pod_of(CGROUP)
    node.link(ID)
    node.by_links.refresh(101.9)
    assert node.by_links.pod_of(CGROUP) == NOBODY
    node.by_links.refresh(102)
    assert node.by_links.pod_of(CGROUP) == CART
    assert node.by_links.unnamed == 0


def test_while_all_that_is_met_has_a_name_links_are_read_every_ten_seconds(node: Node) -> None:
    node.by_links.refresh(100)
    node.link(ID)
    node.by_links.refresh(109.9)
    assert node.by_links.pod_of(CGROUP) == NOBODY
    node.by_links.refresh(110)
    assert node.by_links.pod_of(CGROUP) == CART


def test_once_it_has_a_name_links_are_not_read_sooner_any_more(node: Node) -> None:
    node.by_links.refresh(100)
    node.by_links.pod_of(CGROUP)
    node.link(ID)
    node.by_links.refresh(102)
    node.link(OTHER_ID)
    node.by_links.refresh(104)
    assert node.by_links.pod_of(OTHER_CGROUP) == NOBODY


def test_a_link_that_has_gone_names_its_container_one_refresh_longer(node: Node) -> None:
    entry = node.link(ID)
    node.by_links.refresh(100)
    entry.unlink()
    node.by_links.refresh(110)
    assert node.by_links.pod_of(CGROUP) == CART
    node.by_links.refresh(120)
    assert node.by_links.pod_of(CGROUP) == NOBODY


def test_links_that_are_read_again_sooner_forget_nothing_sooner(node: Node) -> None:
    entry = node.link(ID)
    node.by_links.refresh(100)
    entry.unlink()
    for now in (102, 104, 106, 110, 112, 114):
        node.by_links.pod_of(OTHER_CGROUP)
        node.by_links.refresh(now)
    assert node.by_links.pod_of(CGROUP) == CART


def test_a_container_that_is_not_met_any_more_is_not_counted_any_more(node: Node) -> None:
    node.by_links.refresh(100)
    node.by_links.pod_of(CGROUP)
    node.by_links.refresh(110)
    assert node.by_links.unnamed == 1
    node.by_links.refresh(120)
    assert node.by_links.unnamed == 0


def test_a_sandbox_is_named_by_the_uid_that_it_shares_with_a_container(node: Node) -> None:
    node.link(ID)
    node.by_links.refresh(100)
    node.by_links.pod_of(CGROUP)
    assert node.by_links.pod_of(SANDBOX) == NOBODY
    node.by_links.refresh(102)
    assert [node.by_links.pod_of(path) for path in (SANDBOX, POD)] == [Named("shop", "cart-0")] * 2
    assert node.by_links.unnamed == 0


def test_uids_of_a_pod_that_is_made_anew_under_its_name_are_forgotten(node: Node) -> None:
    """As those of a StatefulSet are, for years."""
    for number in range(5):
        entry = node.link(f"{number:064x}")
        node.by_links.refresh(100 + 30 * number)
        node.by_links.pod_of(f"/kubepods/pod{number:032x}/{number:064x}")
        node.by_links.refresh(110 + 30 * number)
        assert node.by_links.pod_of(f"/kubepods/pod{number:032x}") == Named("shop", "cart-0")
        entry.unlink()
        node.by_links.refresh(120 + 30 * number)
    node.by_links.refresh(300)
    assert [node.by_links.pod_of(f"/kubepods/pod{number:032x}") for number in range(5)] == [NOBODY] * 5


def test_a_sandbox_keeps_its_name_while_its_container_is_made_anew(node: Node) -> None:
    entry = node.link(ID)
    node.by_links.refresh(100)
    node.by_links.pod_of(CGROUP)
    node.by_links.refresh(110)
    entry.unlink()
    node.link(OTHER_ID)
    for now in (120, 130, 140, 150):
        node.by_links.refresh(now)
        assert node.by_links.pod_of(OTHER_CGROUP) == CART
        assert node.by_links.pod_of(SANDBOX) == Named("shop", "cart-0")


def test_a_pod_that_has_no_container_any_more_has_no_name_either(node: Node) -> None:
    entry = node.link(ID)
    node.by_links.refresh(100)
    node.by_links.pod_of(CGROUP)
    entry.unlink()
    for now in (110, 120):
        node.by_links.refresh(now)
    assert node.by_links.pod_of(POD) == NOBODY


# By the kubelet


def test_a_container_is_named_by_the_kubelet_with_all_labels_of_its_pod(node: Node) -> None:
    node.tell(pod("cart-0", UID, {ID: "app"}, {"app": "cart", "version": "3"}))
    node.names.refresh(100)
    assert node.names.pod_of(CGROUP) == Named("shop", "cart-0", "app", {"app": "cart", "version": "3"})


def test_only_labels_that_are_allowed_are_shown(node: Node) -> None:
    node.tell(pod("cart-0", UID, {ID: "app"}, {"app": "cart", "version": "3"}), pod("other", OTHER_UID, {}))
    node.names.refresh(100)
    assert node.names.pod_labels_seen == {("shop", "cart-0"): {"app": "cart"}, ("shop", "other"): {}}


def test_none_are_shown_if_none_is_allowed(node: Node) -> None:
    node.tell(pod("cart-0", UID, {ID: "app"}, {"app": "cart"}))
    names = ContainerNames(node.folder, node.kubelet)
    names.refresh(100)
    assert names.pod_labels_seen == {}


def test_the_kubelet_knows_better_than_a_link(node: Node) -> None:
    node.link(ID, pod="stale", container="stale")
    node.tell(pod("cart-0", UID, {ID: "app"}))
    node.names.refresh(100)
    assert node.names.pod_of(CGROUP) == CART


def test_a_link_names_what_the_kubelet_does_not_tell_yet(node: Node) -> None:
    node.link(ID)
    node.tell(pod("cart-0", UID, {}, {"app": "cart"}))
    node.names.refresh(100)
    assert node.names.pod_of(CGROUP) == Named("shop", "cart-0", "app", {"app": "cart"})


def test_the_sandbox_and_the_pod_itself_are_named_by_uid(node: Node) -> None:
    node.tell(pod("cart-0", UID, {ID: "app"}, {"app": "cart"}))
    node.names.refresh(100)
    expected = Named("shop", "cart-0", "", {"app": "cart"})
    assert [node.names.pod_of(path) for path in (SANDBOX, POD)] == [expected] * 2
    assert node.names.unnamed == 0


def test_a_static_pod_is_named_by_the_hash_of_its_configuration(node: Node) -> None:
    node.tell(pod("etcd-node", UID, {}, annotations={"kubernetes.io/config.hash": HASH}))
    node.names.refresh(100)
    assert node.names.pod_of(f"/kubepods/burstable/pod{HASH}/{ID}") == Named("shop", "etcd-node")


def test_the_kubelet_is_asked_every_ten_seconds_whoever_is_met(node: Node) -> None:
    for now in (100, 102, 104, 106, 109.9):
        node.names.pod_of(CGROUP)
        node.names.refresh(now)
    assert len(node.played.requests) == 1
    node.names.refresh(110)
    assert len(node.played.requests) == 2


def test_a_container_that_the_kubelet_has_replaced_is_named_one_refresh_longer(node: Node) -> None:
    node.tell(pod("cart-0", UID, {ID: "app"}))
    node.names.refresh(100)
    node.tell(pod("cart-0", UID, {OTHER_ID: "app"}))
    node.names.refresh(110)
    assert [node.names.pod_of(path) for path in (CGROUP, OTHER_CGROUP)] == [CART, CART]
    node.names.refresh(120)
    assert node.names.pod_of(CGROUP) == Named("shop", "cart-0")


# Containers within containers


def test_what_a_container_runs_within_itself_is_its_own(node: Node) -> None:
    node.link(ID, container="dind")
    node.by_links.refresh(100)
    assert node.by_links.pod_of(f"{CGROUP}/docker/{OTHER_ID}") == Named("shop", "cart-0", "dind")


def test_a_container_cannot_make_itself_another(node: Node) -> None:
    node.tell(pod("cart-0", UID, {ID: "app"}), pod("bank-0", OTHER_UID, {OTHER_ID: "vault"}))
    node.names.refresh(100)
    disguised = f"kubepods/pod{OTHER_UID}/{OTHER_ID}"
    assert node.names.pod_of(f"{CGROUP}/{disguised}") == CART
    assert node.names.pod_of(f"{SANDBOX}/{disguised}") == Named("shop", "cart-0")


def test_a_container_cannot_make_another_pod_its_own(node: Node) -> None:
    """The uid of a pod that nobody has named yet does not become that of whoever claims to be in it."""
    node.link(ID, pod="bank-0")
    node.by_links.refresh(100)
    for own in (f"/docker/{OTHER_ID}", "/system.slice/delegated.service", f"/kubepods/pod{OTHER_UID}/{OTHER_ID}"):
        node.by_links.pod_of(f"{own}/kubepods/pod{UID}/{ID}")
        node.by_links.refresh(110)
        assert node.by_links.pod_of(POD) == NOBODY


def test_a_node_that_is_a_container_has_pods_below_the_root_of_its_own_cgroup_namespace(node: Node) -> None:
    node.tell(pod("cart-0", UID, {ID: "app"}))
    node.names.refresh(100)
    assert node.names.pod_of(f"/kubelet{CGROUP}") == CART
    assert node.names.pod_of(f"/docker/{OTHER_ID}/kubelet{CGROUP}") == NOBODY


# Failures


def test_what_was_known_stands_while_the_kubelet_fails(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.tell(pod("cart-0", UID, {ID: "app"}))
    node.names.refresh(100)
    node.played.answer = status(403)
    for now in (110, 120, 130, 140):
        node.names.refresh(now)
    assert node.names.pod_of(CGROUP) == CART
    assert node.names.errors == 4
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "RBAC must grant get on nodes/pods" in caplog.text


def test_another_failure_is_logged_again(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    for now, code in enumerate((403, 500, 403)):
        node.played.answer = status(code)
        node.names.refresh(100 + 10 * now)
    assert len(caplog.records) == 2
    assert node.names.errors == 3


def test_a_failure_after_a_success_is_logged_again(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    for now, code in enumerate((403, 403, 200, 403, 403)):
        node.played.answer = status(code, pod_list())
        node.names.refresh(100 + 10 * now)
        assert bool(node.names.problems) == (code != 200)
    assert len(caplog.records) == 2
    assert node.names.errors == 4


def test_one_pod_that_is_none_leaves_the_others_their_names_and_is_told(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    for now in (100, 110, 120):
        node.tell({"metadata": {"name": f"a\n{now}"}}, pod("cart-0", UID, {ID: "app"}))
        node.names.refresh(now)
    assert node.names.pod_of(CGROUP) == CART
    assert "some are not as Kubernetes has them (items.metadata.namespace: Field required)" in node.names.problems[0]
    assert node.names.errors == 3
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"metadata": {"name": "cart-0"}},
        {**pod("cart-0", UID, {}), "status": {"containerStatuses": [{"name": "app"}, 1]}},
        {**pod("cart-0", UID, {}), "status": {"containerStatuses": {}}},
    ],
    ids=["metadata", "container", "containers"],
)
def test_a_pod_keeps_its_names_while_the_kubelet_tells_garbage_of_it(node: Node, broken: object) -> None:
    node.tell(pod("cart-0", UID, {ID: "app"}, {"app": "cart"}), pod("bank-0", OTHER_UID, {OTHER_ID: "vault"}))
    node.names.refresh(100)
    node.tell(broken, pod("bank-1", OTHER_UID, {SANDBOX_ID: "vault"}))
    for now in (110, 120, 130, 140):
        node.names.refresh(now)
        assert node.names.pod_of(CGROUP) in (CART, Named("shop", "cart-0", "app", {"app": "cart"}))
        assert node.names.pod_of(f"/kubepods/pod{OTHER_UID}/{SANDBOX_ID}") == Named("shop", "bank-1", "vault")
    assert node.names.errors == 4
    assert node.names.pod_labels_seen == {("shop", "bank-1"): {}}
    node.tell(pod("bank-1", OTHER_UID, {SANDBOX_ID: "vault"}))
    for now in (150, 160):
        node.names.refresh(now)
    assert node.names.pod_of(CGROUP) == NOBODY


def test_a_kubelet_that_answers_again_is_believed_again(node: Node) -> None:
    node.tell(pod("cart-0", UID, {ID: "app"}))
    node.names.refresh(100)
    node.played.answer = status(500)
    node.names.refresh(110)
    node.tell(pod("bank-0", OTHER_UID, {OTHER_ID: "vault"}))
    node.names.refresh(120)
    assert node.names.pod_of(f"/kubepods/pod{OTHER_UID}/{OTHER_ID}") == Named("shop", "bank-0", "vault")
    node.names.refresh(130)
    assert node.names.pod_of(CGROUP) == NOBODY


def test_a_folder_that_cannot_be_read_leaves_the_kubelet(node: Node) -> None:
    node.folder.rmdir()
    node.folder.touch()
    node.tell(pod("cart-0", UID, {ID: "app"}))
    node.names.refresh(100)
    assert node.names.pod_of(CGROUP) == CART
    assert node.names.errors == 1


def test_a_kubelet_that_fails_leaves_the_links(node: Node) -> None:
    node.link(ID)
    node.played.answer = status(500)
    node.names.refresh(100)
    assert node.names.pod_of(CGROUP) == CART


# The thread


@contextmanager
def running(names: ContainerNames) -> Iterator[None]:
    names.start()
    try:
        yield
    finally:
        names.stop()


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_thread_reads_names_and_stops_within_a_second(node: Node) -> None:
    node.link(ID)
    with running(node.by_links):
        until(lambda: node.by_links.pod_of(CGROUP) == CART)
        began = time.monotonic()
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("code", [200, 500])
def test_a_kubelet_has_been_asked_when_it_has_answered_whatever_it_says(node: Node, code: int) -> None:
    node.played.answer = late(0.5, status(code, pod_list()))
    with running(node.names):
        assert not node.names.asked
        until(lambda: node.names.asked)
        assert len(node.played.requests) == 1


def test_lookups_and_links_do_not_wait_for_a_kubelet_that_is_slow(node: Node) -> None:
    node.link(ID)
    node.played.answer = drip(b"HTTP/1.1 200 OK\r\n\r\n")
    with running(node.names):
        until(lambda: node.played.requests)
        began = time.monotonic()
        assert node.names.pod_of(CGROUP) == CART
        assert time.monotonic() - began < 0.5
    assert time.monotonic() - began < KUBELET_SECONDS + 1


def test_names_can_be_looked_up_by_many_threads_while_they_are_read(node: Node) -> None:
    identifiers = [f"{number:064x}" for number in range(200)]
    for identifier in identifiers[::2]:
        node.link(identifier)

    def look(path: str) -> None:
        for identifier in identifiers:
            node.by_links.pod_of(f"{path}/{identifier}")

    with ThreadPoolExecutor(4) as others:
        looks = [others.submit(look, f"/kubepods/pod{number:032x}") for number in range(100)]
        now = 0.0
        while not all(each.done() for each in looks):
            node.by_links.refresh(now := now + 10)
        for each in looks:
            each.result()
    for _ in range(2):
        node.by_links.refresh(now := now + 10)
    look(POD)
    assert node.by_links.unnamed == 100


def test_a_failure_that_nobody_has_foreseen_is_told(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = Queue[str]()
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    names = ContainerNames(node.folder, None, on_failure=lambda: failures.put("failed"))
    monkeypatch.setattr(names, "refresh", lambda now: 1 // 0)
    names.start()
    assert failures.get(timeout=10) == "failed"
    names.stop()
