"""What a kubelet tells, and what it may do to us while it does."""

import gzip
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, create_connection, create_server

import pytest
from played_kubelet import AUTHORITY, Answer, PlayedKubelet, bytes_and_close, drip, late, playing, pod, pod_list, status

from damon_exporter.containers.errors import NamesUnavailable
from damon_exporter.containers.kubelet import Kubelet, Limits

ID = "0123456789abcdef" * 4
UID = "91a8fc3a-0ecf-48b4-81bf-78a7275d348c"
HASH = "a5363f4f31e043bdae3c93aca4991903"
SMALL = Limits(body_bytes=1 << 20)
SHORT = Limits(seconds=0.5)
PATIENCE_SECONDS = 2
"""For a machine that others use, too: who waits for each byte would wait for ever."""

CART = pod("cart-0", UID, {ID: "app"}, {"app": "cart"})

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def kubelet(played: PlayedKubelet, token_file: Path) -> Kubelet:
    """Ours, of the one that is played."""
    return Kubelet(played.url, token_file, AUTHORITY, SMALL)


@pytest.fixture
def refusal(played: PlayedKubelet, kubelet: Kubelet) -> Callable[[Answer], str]:
    """What is said when the kubelet answers like this."""

    def of(answer: Answer) -> str:
        played.answer = answer
        with pytest.raises(NamesUnavailable) as caught:
            kubelet.pods()
        return str(caught.value).removeprefix(f"pods are not named by {played.url}/pods: ")

    return of


# What it tells


def test_pods_are_told_with_names_labels_and_containers(played: PlayedKubelet, kubelet: Kubelet) -> None:
    played.answer = status(200, pod_list(CART))
    (found,) = kubelet.pods().pods
    assert (found.namespace, found.name, found.labels) == ("shop", "cart-0", {"app": "cart"})
    assert (found.containers, found.cgroup_uids) == ({ID: "app"}, (UID,))


@pytest.mark.parametrize("kind", ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"])
def test_containers_of_every_kind_are_told(played: PlayedKubelet, kubelet: Kubelet, kind: str) -> None:
    played.answer = status(200, pod_list(pod("cart-0", UID, {ID: "some"}, kind=kind)))
    assert [found.containers for found in kubelet.pods().pods] == [{ID: "some"}]


@pytest.mark.parametrize("runtime", ["containerd", "cri-o", "docker"])
def test_an_id_is_told_without_its_runtime(played: PlayedKubelet, kubelet: Kubelet, runtime: str) -> None:
    played.answer = status(200, pod_list(CART).replace(b"containerd://", f"{runtime}://".encode()))
    assert [found.containers for found in kubelet.pods().pods] == [{ID: "app"}]


def test_a_container_that_waits_for_its_start_has_no_id_yet(played: PlayedKubelet, kubelet: Kubelet) -> None:
    waiting = pod_list(pod("cart-0", UID, {ID: "app", "": "late"})).replace(b'containerd://"', b'"')
    played.answer = status(200, waiting)
    assert [found.containers for found in kubelet.pods().pods] == [{ID: "app"}]


def test_a_mirror_pod_has_the_uid_of_its_cgroups_beside_its_own(played: PlayedKubelet, kubelet: Kubelet) -> None:
    annotations = {"kubernetes.io/config.hash": HASH, "kubernetes.io/config.source": "file"}
    played.answer = status(200, pod_list(pod("etcd-node", UID, {}, annotations=annotations)))
    assert [found.cgroup_uids for found in kubelet.pods().pods] == [(UID, HASH)]


def test_a_static_pod_is_told_by_its_hash_once(played: PlayedKubelet, kubelet: Kubelet) -> None:
    played.answer = status(200, pod_list(pod("etcd-node", HASH, {}, annotations={"kubernetes.io/config.hash": HASH})))
    assert [found.cgroup_uids for found in kubelet.pods().pods] == [(HASH,)]


def test_a_pod_that_the_kubelet_has_only_begun_with_is_told(played: PlayedKubelet, kubelet: Kubelet) -> None:
    played.answer = status(200, pod_list({"metadata": CART["metadata"], "spec": {}}))
    assert [(found.name, found.containers) for found in kubelet.pods().pods] == [("cart-0", {})]


def test_a_node_without_pods_has_none(played: PlayedKubelet, kubelet: Kubelet) -> None:
    played.answer = status(200, pod_list())
    assert kubelet.pods().pods == ()


def test_entries_without_a_pod_are_left_out(played: PlayedKubelet, kubelet: Kubelet) -> None:
    played.answer = status(200, pod_list(None, CART))
    assert [found.name for found in kubelet.pods().pods] == ["cart-0"]


def test_a_compressed_answer_is_read(played: PlayedKubelet, kubelet: Kubelet) -> None:
    played.answer = status(200, gzip.compress(pod_list(CART)), Content_Encoding="gzip")
    assert [found.name for found in kubelet.pods().pods] == ["cart-0"]


def test_a_kubelet_may_be_reached_through_the_api_server(played: PlayedKubelet, token_file: Path) -> None:
    Kubelet(f"{played.url}/api/v1/nodes/one/proxy/", token_file, AUTHORITY).pods()
    assert [path for path, _ in played.requests] == ["/api/v1/nodes/one/proxy/pods"]


# The token


def test_a_token_that_has_changed_is_read_anew(played: PlayedKubelet, kubelet: Kubelet, token_file: Path) -> None:
    kubelet.pods()
    token_file.write_text("second-token\n")
    kubelet.pods()
    assert [token for _, token in played.requests] == ["Bearer first-token", "Bearer second-token"]


def test_without_a_token_file_none_is_sent(played: PlayedKubelet, kubelet: Kubelet, token_file: Path) -> None:
    token_file.unlink()
    kubelet.pods()
    assert [token for _, token in played.requests] == [None]


def test_passwords_of_the_environment_do_not_take_its_place(
    played: PlayedKubelet, kubelet: Kubelet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    kubelet.pods()
    assert [token for _, token in played.requests] == ["Bearer first-token"]


@pytest.mark.parametrize("token", [b"", b" \n", b"two words", b"two\nlines", b"\xff", "tokèn".encode()])
def test_what_is_no_token_is_not_sent_and_not_told(
    played: PlayedKubelet, kubelet: Kubelet, token_file: Path, token: bytes
) -> None:
    token_file.write_bytes(token)
    with pytest.raises(
        NamesUnavailable, match=rf"{token_file} .*: give the file of a service account's token"
    ) as caught:
        kubelet.pods()
    assert "words" not in str(caught.value)
    assert played.requests == []


def test_a_redirect_is_not_followed(refusal: Callable[[Answer], str], played: PlayedKubelet) -> None:
    with playing() as elsewhere:
        said = refusal(status(302, Location=f"{elsewhere.url}/pods"))
        assert elsewhere.requests == []
    assert said.startswith("it redirects elsewhere")
    assert len(played.requests) == 1


def test_the_body_of_a_redirect_is_not_read(refusal: Callable[[Answer], str]) -> None:
    """Compressed twice, in a way that we do not ask for, a few kilobytes are gigabytes."""
    bomb = gzip.compress(gzip.compress(bytes(64 << 20)))
    tracemalloc.start()
    try:
        said = refusal(status(302, bomb, Location="/pods", Content_Encoding="gzip, gzip"))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert said.startswith("it redirects elsewhere")
    assert most < 16 << 20


def test_no_proxy_of_the_environment_is_used(
    played: PlayedKubelet, kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    kubelet.pods()
    assert len(played.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:10250",
        "127.0.0.1:10250",
        "https://",
        "https://a:b@127.0.0.1:10250",
        "https://a/?b",
        "https://a/#b",
    ],
)
def test_a_url_that_would_give_the_token_away_is_refused(token_file: Path, url: str) -> None:
    with pytest.raises(ValueError, match="is not https://NODE:10250"):
        Kubelet(url, token_file, None)


# What it refuses


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (401, "it does not know us (401): give a service account's token, and RBAC that grants get on nodes/pods"),
        (403, "it forbids it (403): RBAC must grant get on nodes/pods, which Kubernetes before 1.33 does not know"),
        (500, "it answers with status 500: give the URL of a kubelet, and see its log"),
        (204, "it answers with status 204: give the URL of a kubelet, and see its log"),
    ],
)
def test_a_refusal_is_told_with_the_cure(refusal: Callable[[Answer], str], code: int, said: str) -> None:
    assert refusal(status(code)) == said


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "Invalid JSON: "),
        (b"<html>", "Invalid JSON: "),
        (pod_list(CART)[:-9], "Invalid JSON: "),
        (b"[" * 100_000, "Invalid JSON: "),
        (b"\xff\xfe", "Invalid JSON: "),
        (b"[]", "Input should be an object"),
        (b"{}", "items: "),
        (b'{"items": {}}', "items: "),
        (pod_list({"metadata": {}}), "items.metadata.namespace: "),
        (pod_list({**CART, "status": 1}), "items.status: "),
        (pod_list(CART).replace(b'"name": "cart-0"', b'"name": "a\\n"'), "items.metadata.name: "),
        (b'{"items": [' + b"1, " * 300_000 + b"1]}", "items: "),
    ],
    ids=["nothing", "html", "torn", "deep", "binary", "list", "empty", "items", "metadata", "status", "name", "many"],
)
def test_what_is_no_list_of_pods_is_told(refusal: Callable[[Answer], str], body: bytes, fault: str) -> None:
    said = refusal(status(200, body))
    assert said.startswith(f"its answer is no list of pods: {fault}")
    assert said.endswith("; give the URL of a kubelet")


def test_the_same_fault_in_another_place_is_told_in_the_same_words(refusal: Callable[[Answer], str]) -> None:
    broken = {"metadata": {}}
    assert refusal(status(200, pod_list(broken))) == refusal(status(200, pod_list(None, broken)))


BAD_NAMES = ["", "a\n", "a\\x0a", 'a"', "a" * 254, "é", 1, None]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("field", ["name", "namespace"])
def test_a_pod_that_is_called_as_no_pod_can_be_leaves_the_others(
    played: PlayedKubelet, kubelet: Kubelet, field: str, name: object
) -> None:
    misnamed = {**CART, "metadata": {**CART["metadata"], field: name}}
    played.answer = status(200, pod_list(misnamed, CART, misnamed))
    told = kubelet.pods()
    assert [found.name for found in told.pods] == ["cart-0"]
    assert told.fault.startswith(f"items.metadata.{field}: ")
    assert len(told.fault) < 100
    assert not told.whole


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_container_that_is_called_as_none_can_be_leaves_other_pods(
    played: PlayedKubelet, kubelet: Kubelet, name: str
) -> None:
    played.answer = status(200, pod_list(CART, pod("bank-0", UID, {ID: "app", "f" * 64: name})))
    told = kubelet.pods()
    assert [found.name for found in told.pods] == ["cart-0"]
    assert told.fault.startswith("items.status.containerStatuses.name: ")
    assert not told.whole


@pytest.mark.parametrize(
    ("key", "value"), [("app", "a\n"), ("app", "a" * 64), ("app", 1), ("k" * 1000, "a"), ("", "a")]
)
def test_a_label_as_no_pod_can_have_it_leaves_the_others(
    played: PlayedKubelet, kubelet: Kubelet, key: str, value: str
) -> None:
    labels = {"tier": "back", "empty": "", "example.com/of_All.Kinds-9": "Some_Value.1-a", key: value}
    played.answer = status(200, pod_list(pod("cart-0", UID, {}, labels)))
    told = kubelet.pods()
    assert [found.labels for found in told.pods] == [
        {"tier": "back", "empty": "", "example.com/of_All.Kinds-9": "Some_Value.1-a"}
    ]
    assert told.fault.startswith("labels: ")
    assert told.whole


@pytest.mark.parametrize(
    "broken",
    [
        b'{"items":[%s1]}' % (b"1," * 1_000_000),
        b'{"items":[{"metadata":{"name":"a","namespace":"b","uid":"c","labels":{%s}}}]}'
        % b",".join(b'"%d":1' % number for number in range(1_000_000)),
    ],
    ids=["pods", "labels"],
)
def test_what_is_wrong_a_million_times_takes_no_memory_for_each(broken: bytes) -> None:
    """Pydantic keeps hundreds of bytes for every fault that it finds."""
    read = "import sys; from damon_exporter.containers.pods import read_pods; text = sys.stdin.buffer.read()\n"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))\n"
    attempt = "try: read_pods(text)\nexcept ValueError as error: print(error)\nprint('done')"
    ended = subprocess.run(
        [sys.executable, "-c", read + limit + attempt], input=broken, capture_output=True, check=True
    )
    assert ended.stdout.endswith(b"done\n")


# What it does to the connection


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Long: ",
        OK + b"Content-Length: 1000\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1",
    ],
    ids=["status line", "header", "body", "chunk"],
)
def test_who_answers_byte_by_byte_is_left_when_the_time_is_over(
    played: PlayedKubelet, token_file: Path, beginning: bytes
) -> None:
    played.answer = drip(beginning)
    began = time.monotonic()
    with pytest.raises(NamesUnavailable, match=r"it takes too long, of 0\.5 s in all"):
        Kubelet(played.url, token_file, AUTHORITY, SHORT).pods()
    assert SHORT.seconds <= time.monotonic() - began < SHORT.seconds + PATIENCE_SECONDS


def test_who_does_not_even_greet_is_left_when_the_time_is_over(token_file: Path) -> None:
    with create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(NamesUnavailable, match=r"it takes too long, of 0\.5 s in all"):
            Kubelet(url, token_file, AUTHORITY, SHORT).pods()
        assert time.monotonic() - began < SHORT.seconds + PATIENCE_SECONDS


def test_many_addresses_share_the_time(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with create_server(("127.0.0.1", 0), backlog=0) as full, create_connection(full.getsockname()):
        port = full.getsockname()[1]
        address = (AF_INET, SOCK_STREAM, 6, "", ("127.0.0.1", port))
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [address] * 8)
        began = time.monotonic()
        with pytest.raises(NamesUnavailable, match=r"it takes too long, of 0\.5 s in all"):
            Kubelet(f"https://node.example:{port}", token_file, AUTHORITY, SHORT).pods()
        assert time.monotonic() - began < 2 * SHORT.seconds


def test_a_kubelet_may_use_the_time_for_one_long_thought(played: PlayedKubelet, token_file: Path) -> None:
    played.answer = late(1.2, status(200, pod_list(CART)))
    assert len(Kubelet(played.url, token_file, AUTHORITY, Limits(seconds=2)).pods().pods) == 1


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "compressed"])
def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    refusal: Callable[[Answer], str], compress: Callable[[bytes], bytes]
) -> None:
    headers = {} if compress is bytes else {"Content_Encoding": "gzip"}
    said = refusal(status(200, compress(b" " * (SMALL.body_bytes + 1)), **headers))
    assert said == "its answer is larger than 1 MiB: give the URL of a kubelet"


def test_the_largest_answer_is_read(played: PlayedKubelet, kubelet: Kubelet) -> None:
    played.answer = status(200, pod_list(CART).ljust(SMALL.body_bytes))
    assert len(kubelet.pods().pods) == 1


def test_a_compression_that_was_not_asked_for_is_refused(refusal: Callable[[Answer], str]) -> None:
    assert refusal(status(200, b"x", Content_Encoding="zstd")).startswith(
        "it compresses in a way that we have not asked"
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no whole answer has come (RemoteDisconnected)"),
        (OK + b"Content-Length: 1000\r\n\r\n{", "no whole answer has come (IncompleteRead)"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no whole answer has come (BadStatusLine)"),
    ],
    ids=["nothing", "half", "not HTTP"],
)
def test_a_connection_that_is_closed_too_early_is_told(
    refusal: Callable[[Answer], str], data: bytes, said: str
) -> None:
    assert refusal(bytes_and_close(data)) == said


def test_broken_compression_is_told(refusal: Callable[[Answer], str]) -> None:
    assert refusal(status(200, b"nonsense", Content_Encoding="gzip")).startswith("no whole answer has come (")


def test_a_port_without_kubelet_is_told_with_the_cure(token_file: Path) -> None:
    with create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(NamesUnavailable, match=r"connection refused: give the kubelet's URL, https://NODE:10250"):
        Kubelet(f"https://127.0.0.1:{port}", token_file, AUTHORITY).pods()


# Whom we trust


def test_a_kubelet_whose_authority_nobody_knows_is_not_told_the_token(played: PlayedKubelet, token_file: Path) -> None:
    with pytest.raises(
        NamesUnavailable, match=r"its certificate is not trusted \(.*\): give who has signed it as ca_file"
    ):
        Kubelet(played.url, token_file, None).pods()
    assert played.requests == []


def test_a_certificate_for_another_host_is_not_trusted(played: PlayedKubelet, token_file: Path) -> None:
    with pytest.raises(NamesUnavailable, match="Hostname mismatch"):
        Kubelet(played.url.replace("127.0.0.1", "localhost"), token_file, AUTHORITY).pods()


def test_who_does_not_speak_tls_is_told(token_file: Path) -> None:
    with playing(tls=False) as plain, pytest.raises(NamesUnavailable, match="there is no TLS with it") as caught:
        Kubelet(plain.url, token_file, AUTHORITY).pods()
    assert str(caught.value).endswith("(WRONG_VERSION_NUMBER): give the kubelet's URL, https://NODE:10250")


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_file_of_nobody_to_trust_is_told(
    played: PlayedKubelet, token_file: Path, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "ca.crt"
    if text:
        file.write_text(text)
    with pytest.raises(NamesUnavailable, match=rf"{file} holds nobody to trust: "):
        Kubelet(played.url, token_file, file).pods()


def test_without_requests_it_is_said_what_to_install(
    played: PlayedKubelet, kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    monkeypatch.delitem(sys.modules, "damon_exporter.containers.kubelet_request", raising=False)
    with pytest.raises(NamesUnavailable, match=r"requests is missing: pip install damon-exporter\[kubelet\]"):
        kubelet.pods()
