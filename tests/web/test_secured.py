"""What --web.config.file asks for, as clients see it: TLS, clients' names, passwords, headers, and changes of them."""

import datetime
import logging
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import bcrypt
import pytest
import requests
from conftest import Authority, Identity
from example_state import STATE
from prometheus_server import prometheus
from running import Running, run

from damon_exporter.config import ConfigError
from damon_exporter.securing import CHECK_SECONDS, SecurityFromFile
from damon_exporter.web.app import PROBES, make_app
from damon_exporter.web.limits import Limits
from damon_exporter.web.security import Security
from damon_exporter.web.server import Server
from damon_exporter.web.tls import TlsFiles

VERIFIED = "client_auth_type: RequireAndVerifyClientCert"


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def written(tmp_path: Path, server_files: TlsFiles) -> Callable[..., Path]:
    """Writes a web configuration with TLS, and what else is given, beside copies of the server's files."""

    def write(tls: str = "", others: str = "") -> Path:
        for source, name in zip(
            (server_files.certificate, server_files.key, server_files.client_authorities),
            ("server.crt", "server.key", "ca.crt"),
            strict=True,
        ):
            if not (tmp_path / name).exists():
                shutil.copy(source, tmp_path / name)
        file = tmp_path / "web.yml"
        file.write_text(f"tls_server_config: {{cert_file: server.crt, key_file: server.key, {tls}}}\n{others}\n")
        return file

    return write


@contextmanager
def serving(secured: SecurityFromFile, limits: Limits | None = None) -> Iterator[str]:
    """The URL of a server with these settings."""
    with Server(["127.0.0.1:0"], make_app(lambda: STATE), limits, secured, PROBES) as server:
        yield f"https://{server.bound[0]}"


def status(url: str, authority: Authority, client: Identity | None = None) -> int:
    """What somebody gets who believes the authority; 0 for no connection."""
    try:
        response = requests.get(
            f"{url}/metrics", verify=str(authority.certificate), cert=client and client.pair, timeout=5
        )
    except (requests.exceptions.SSLError, requests.exceptions.ConnectionError):
        return 0
    return response.status_code


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.certificate)


def spoken(url: str, context: ssl.SSLContext) -> tuple[str, str]:
    """The version of TLS and the cipher that are agreed on; SSLError if there is none."""
    host, port = url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), 5) as plain,
        context.wrap_socket(plain, server_hostname=host) as it,
    ):
        return str(it.version()), it.cipher()[0]


def test_pages_are_served_over_tls(written: Callable[..., Path], authority: Authority) -> None:
    with serving(SecurityFromFile(written())) as url:
        assert status(url, authority) == 200
        assert spoken(url, trusting(authority))[0] == "TLSv1.3"


def test_plain_http_on_a_port_of_tls_is_told_so(written: Callable[..., Path]) -> None:
    with serving(SecurityFromFile(written())) as url:
        answer = requests.get(url.replace("https", "http"), timeout=5)

    assert (answer.status_code, answer.text) == (400, "this port speaks TLS only: ask for https://\n")


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01"], ids=["nothing", "a bit of it"])
def test_a_handshake_that_does_not_go_on_is_cut_off(written: Callable[..., Path], begun: bytes) -> None:
    with serving(SecurityFromFile(written()), Limits(idle_seconds=0.5)) as url:
        host, port = url.removeprefix("https://").split(":")
        with socket.create_connection((host, int(port)), 5) as client:
            client.sendall(begun)
            assert client.recv(1) == b""


def test_only_clients_of_the_authority_are_served(
    written: Callable[..., Path], authority: Authority, tmp_path: Path
) -> None:
    ours = authority.issue("prometheus.example", called="client")
    strangers = Authority(tmp_path / "another").issue("prometheus.example", called="client")

    with serving(SecurityFromFile(written(f"client_ca_file: ca.crt, {VERIFIED}"))) as url:
        assert [status(url, authority, client) for client in (ours, None, strangers)] == [200, 0, 0]


def test_a_certificate_may_be_left_out_where_it_is_only_verified_if_given(
    written: Callable[..., Path], authority: Authority, tmp_path: Path
) -> None:
    ours = authority.issue("prometheus.example", called="client")
    strangers = Authority(tmp_path / "another").issue("prometheus.example", called="client")

    with serving(SecurityFromFile(written("client_ca_file: ca.crt, client_auth_type: VerifyClientCertIfGiven"))) as url:
        assert [status(url, authority, client) for client in (ours, None, strangers)] == [200, 200, 0]


@pytest.mark.parametrize("name", ["prometheus.example", "192.0.2.7", "::1", "a@b.example"])
def test_a_client_needs_one_of_the_allowed_names(written: Callable[..., Path], authority: Authority, name: str) -> None:
    allowed = authority.issue("other.example", name, called="allowed")
    another = authority.issue("other.example", "192.0.2.8", called="another")

    with serving(
        SecurityFromFile(written(f'client_ca_file: ca.crt, {VERIFIED}, client_allowed_sans: ["{name}"]'))
    ) as url:
        assert [status(url, authority, client) for client in (allowed, another)] == [200, 0]


def test_a_version_below_the_least_is_refused(written: Callable[..., Path], authority: Authority) -> None:
    context = trusting(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    with (
        serving(SecurityFromFile(written("min_version: TLS13"))) as url,
        pytest.raises(ssl.SSLError, match="EOF occurred"),
    ):
        spoken(url, context)
    with serving(SecurityFromFile(written("min_version: TLS12"))) as url:
        assert spoken(url, context)[0] == "TLSv1.2"


def test_broken_versions_are_refused_whatever_is_configured(written: Callable[..., Path], authority: Authority) -> None:
    context = trusting(authority)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    with serving(SecurityFromFile(written())) as url, pytest.raises(ssl.SSLError, match="EOF occurred"):
        spoken(url, context)


def test_the_ciphers_and_the_curve_are_the_chosen_ones(written: Callable[..., Path], authority: Authority) -> None:
    chosen = (
        "max_version: TLS12, curve_preferences: [CurveP384], cipher_suites: "
        "[TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"
    )
    others = trusting(authority)
    others.set_ecdh_curve("prime256v1")

    with serving(SecurityFromFile(written(chosen))) as url:
        assert spoken(url, trusting(authority)) == ("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305")
        with pytest.raises(ssl.SSLError):
            spoken(url, others)
    with serving(SecurityFromFile(written(f"{chosen}, prefer_server_cipher_suites: false"))) as url:
        theirs = trusting(authority)
        theirs.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305")
        assert spoken(url, theirs) == ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256")


def test_configured_headers_are_on_every_response_in_place_of_ours(
    written: Callable[..., Path], authority: Authority
) -> None:
    policy = "default-src 'self'"
    file = written(
        others=f"http_server_config: {{headers: {{X-Frame-Options: deny, Content-Security-Policy: {policy}}}}}\n"
        f"basic_auth_users: {{alice: '{hashed('secret')}'}}"
    )
    with serving(SecurityFromFile(file)) as url, requests.Session() as session:
        session.trust_env, session.verify = False, str(authority.certificate)
        refused = session.get(f"{url}/metrics", timeout=5)
        too_large = session.get(f"{url}/metrics", timeout=5, headers={"X": "x" * 20_000})
        session.auth = ("alice", "secret")
        landing = session.get(f"{url}/", timeout=5)

    assert [refused.status_code, too_large.status_code, landing.status_code] == [401, 431, 200]
    for answer in (refused, too_large, landing):
        assert answer.headers["X-Frame-Options"] == "deny"
        assert answer.headers["Content-Security-Policy"] == policy


# What is wrong with files


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("server.crt", None, "cert_file: {} cannot be read: No such file or directory; relative paths begin"),
        ("server.crt", "junk", "cert_file: {} holds no certificate; it takes one as PEM"),
        ("server.key", "junk", "key_file: {} holds no key; it takes one as PEM, without a password"),
        ("server.key", None, "key_file: {} cannot be read: No such file or directory"),
        ("ca.crt", "junk", "client_ca_file: {} holds no certificate; it takes those of authorities"),
    ],
)
def test_a_file_that_is_no_good_is_told_with_the_cure(
    written: Callable[..., Path], tmp_path: Path, name: str, content: str | None, told: str
) -> None:
    file = written(f"client_ca_file: ca.crt, {VERIFIED}")
    (tmp_path / name).unlink()
    if content:
        (tmp_path / name).write_text(content)

    with pytest.raises(ConfigError) as caught:
        SecurityFromFile(file)

    (problem,) = caught.value.problems
    assert problem.startswith(f"tls_server_config.{told}".format(tmp_path / name))


def test_everything_that_is_wrong_with_files_is_told_at_once(written: Callable[..., Path], tmp_path: Path) -> None:
    file = written(f"client_ca_file: ca.crt, {VERIFIED}")
    for name in ("server.crt", "server.key", "ca.crt"):
        (tmp_path / name).unlink()

    with pytest.raises(ConfigError) as caught:
        SecurityFromFile(file)

    assert len(caught.value.problems) == 3


def test_the_key_of_another_certificate_is_refused(
    written: Callable[..., Path], authority: Authority, tmp_path: Path
) -> None:
    file = written()
    shutil.copy(authority.issue("localhost", called="another").key, tmp_path / "server.key")

    with pytest.raises(
        ConfigError, match=r"key_file: .*server\.key is not the key of cert_file; take the two from one"
    ):
        SecurityFromFile(file)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(
    written: Callable[..., Path], server_files: TlsFiles, tmp_path: Path
) -> None:
    file = written()
    command = f"openssl pkcs8 -topk8 -passout pass:a -in {server_files.key} -out {tmp_path}/server.key"
    subprocess.run(command.split(), check=True)

    with pytest.raises(ConfigError, match="holds no key; it takes one as PEM, without a password"):
        SecurityFromFile(file)


def test_an_expired_certificate_is_served_with_a_warning(
    written: Callable[..., Path], authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    expired = authority.issue("127.0.0.1", called="expired", not_before=past, not_after=past.replace(year=2021))
    file = written()
    shutil.copy(expired.certificate, tmp_path / "server.crt")
    shutil.copy(expired.key, tmp_path / "server.key")

    SecurityFromFile(file)

    assert f"{tmp_path}/server.crt: certificate has expired, so clients will refuse it; renew it" in caplog.text


def test_what_is_doubtful_is_told_and_nothing_else(
    tmp_path: Path, written: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    SecurityFromFile(written())
    assert caplog.text == ""

    (tmp_path / "plain.yml").write_text(
        f"http_server_config: {{http2: true}}\nbasic_auth_users: {{a: '{hashed('b')}'}}"
    )
    SecurityFromFile(tmp_path / "plain.yml")

    assert "only HTTP/1.1 is spoken here" in caplog.text
    assert "passwords travel unencrypted" in caplog.text


def test_a_bad_file_ends_the_start_with_2_and_every_problem(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: none.crt, key_file: none.key}")

    ended = run("demo", f"--web.config.file={tmp_path}/web.yml")

    assert ended.returncode == 2
    assert [line.partition(": ")[0] for line in ended.stderr.splitlines()] == [
        "tls_server_config.cert_file",
        "tls_server_config.key_file",
    ]


# Changes


def look_again(secured: SecurityFromFile) -> None:
    """Look until what has changed has been the same twice, and at files that are named only since."""
    for _ in range(3):
        secured.look()


def serial_of(url: str) -> bytes:
    host, port = url.removeprefix("https://").split(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((host, int(port)), 5) as plain, context.wrap_socket(plain) as wrapped:
        return wrapped.getpeercert(binary_form=True) or b""


def test_a_new_certificate_is_shown_to_who_comes_next_and_nobody_is_disconnected(
    written: Callable[..., Path], authority: Authority, tmp_path: Path
) -> None:
    secured = SecurityFromFile(written())
    renewed = authority.issue("127.0.0.1", called="renewed")
    with serving(secured) as url, closing(requests.Session()) as session:
        session.trust_env, session.verify = False, str(authority.certificate)
        session.get(f"{url}/metrics", timeout=5)
        (pool,) = session.get_adapter(url).poolmanager.pools._container.values()
        before = serial_of(url)

        shutil.copy(renewed.certificate, tmp_path / "server.crt")
        shutil.copy(renewed.key, tmp_path / "server.key")
        look_again(secured)

        assert serial_of(url) != before
        assert session.get(f"{url}/metrics", timeout=5).status_code == 200
        assert pool.num_connections == 1


def test_a_swap_of_the_folder_as_kubernetes_does_it_is_noticed(
    authority: Authority, tmp_path: Path, server_files: TlsFiles
) -> None:
    old, new = tmp_path / "..old", tmp_path / "..new"
    renewed = authority.issue("127.0.0.1", called="swapped")
    for folder, pair in ((old, (server_files.certificate, server_files.key)), (new, renewed.pair)):
        folder.mkdir()
        for source, name in zip(pair, ("tls.crt", "tls.key"), strict=True):
            shutil.copy(source, folder / name)
        (folder / "web.yml").write_text("tls_server_config: {cert_file: tls.crt, key_file: tls.key}")
    (tmp_path / "..data").symlink_to("..old")
    for name in ("tls.crt", "tls.key", "web.yml"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    secured = SecurityFromFile(tmp_path / "web.yml")
    with serving(secured) as url:
        before = serial_of(url)

        (tmp_path / "..data_tmp").symlink_to("..new")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        look_again(secured)

        assert serial_of(url) != before


def test_a_change_that_is_no_good_is_told_once_and_changes_nothing(
    written: Callable[..., Path], authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secured = SecurityFromFile(written())
    good = (tmp_path / "server.key").read_bytes()
    with serving(secured) as url:
        (tmp_path / "server.key").write_text("junk")
        for _ in range(3):
            look_again(secured)
            assert status(url, authority) == 200
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert "has changed and cannot be used, so what was before holds on: tls_server_config.key_file" in caplog.text

        (tmp_path / "server.key").write_bytes(good)
        look_again(secured)
        assert status(url, authority) == 200


PROTECTED = """\
http_server_config:
  headers:
    X-Frame-Options: deny
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_ca_file: ca.crt
  client_auth_type: RequireAndVerifyClientCert
  min_version: TLS13
  client_allowed_sans:
  - prometheus.example
  - other.example
basic_auth_users:
  alice: "{alice}"
  bob: "{bob}"
"""


def changed(secured: SecurityFromFile, file: Path, text: str) -> Security:
    file.write_text(text)
    look_again(secured)
    return secured()


def protects(security: Security) -> bool:
    """Is it TLS with certificates of certain clients and a password?"""
    encryption = security.encryption
    return (
        encryption is not None
        and encryption.context.verify_mode is ssl.CERT_REQUIRED
        and encryption.context.minimum_version is ssl.TLSVersion.TLSv1_3
        and bool(encryption.allowed_names)
        and security.passwords is not None
    )


@pytest.mark.parametrize("order", [1, -1], ids=["as it is", "backwards"])
def test_no_beginning_of_a_file_opens_what_the_whole_protects(written: Callable[..., Path], order: int) -> None:
    whole = PROTECTED.format(alice=hashed("alice's"), bob=hashed("bob's"))
    sections = re.findall(r"^\w.*\n(?: .*\n)+", whole, re.MULTILINE)
    text = "".join(sections[::order])
    file = written()
    file.write_text(text)
    secured = SecurityFromFile(file)

    opened = [size for size in range(len(text)) if not protects(changed(secured, file, text[:size]))]

    assert opened == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            r"basic_auth_users:\n(  .*\n)*",
            "basic_auth_users protects now and would not any more; to give it up, restart",
        ),
        (r"tls_server_config:\n(  .*\n)*", "tls_server_config protects now"),
        (r"  client_.*\n(  -.*\n)*", "tls_server_config.client_auth_type protects now"),
        (r"  client_allowed.*\n(  -.*\n)*", "tls_server_config.client_allowed_sans protects now"),
        (r"  min_version.*\n", "tls_server_config.min_version protects now"),
        (r"(.*\n)*", "the file says nothing any more; to give up what it said, restart"),
    ],
    ids=["users", "tls", "certificates", "names", "version", "everything"],
)
def test_what_protects_is_given_up_by_a_restart_only(
    written: Callable[..., Path], change: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = written()
    text = PROTECTED.format(alice=hashed("alice's"), bob=hashed("bob's"))
    file.write_text(text)
    secured = SecurityFromFile(file)

    assert protects(changed(secured, file, re.sub(change, "", text)))

    assert f"what was before holds on: {told}" in caplog.text
    assert protects(SecurityFromFile(file)()) is False


def test_a_change_is_read_when_it_has_been_the_same_twice(written: Callable[..., Path]) -> None:
    file = written()
    secured = SecurityFromFile(file)
    before = secured()

    file.write_text(file.read_text() + "http_server_config: {headers: {X-Frame-Options: deny}}\n")
    secured.look()
    assert secured() is before
    file.write_text(file.read_text() + "# and more\n")
    secured.look()
    assert secured() is before
    secured.look()
    assert secured().headers == (("X-Frame-Options", "deny"),)


def test_who_was_known_is_known_after_a_renewal(
    written: Callable[..., Path], authority: Authority, tmp_path: Path
) -> None:
    secured = SecurityFromFile(written(others=f"basic_auth_users: {{alice: '{hashed('secret')}'}}"))
    before = secured()
    renewed = authority.issue("127.0.0.1", called="renewed-known")

    shutil.copy(renewed.certificate, tmp_path / "server.crt")
    shutil.copy(renewed.key, tmp_path / "server.key")
    look_again(secured)

    assert secured().encryption is not before.encryption
    assert secured().passwords is before.passwords


def test_a_password_that_was_right_is_computed_anew_when_users_have_changed(written: Callable[..., Path]) -> None:
    secured = SecurityFromFile(written(others=f"basic_auth_users: {{alice: '{hashed('old')}'}}"))
    before = secured()

    written(others=f"basic_auth_users: {{alice: '{hashed('new')}'}}")
    look_again(secured)

    assert secured().passwords is not before.passwords


@pytest.mark.parametrize("name", ["server.crt", "server.key", "web.yml"])
def test_a_pipe_in_place_of_a_file_is_refused_and_nobody_waits_for_it(
    written: Callable[..., Path], tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    secured = SecurityFromFile(written())
    before = secured()
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)

    look_again(secured)

    assert secured() is before
    assert f"{tmp_path / name}" in caplog.text
    assert "is no regular file, which can be read again and again" in caplog.text


def test_a_running_exporter_takes_a_new_password_and_certificate_without_a_restart(
    written: Callable[..., Path], authority: Authority, tmp_path: Path
) -> None:
    file = written(others=f"basic_auth_users: {{alice: '{hashed('old')}'}}")
    with Running("demo", f"--web.config.file={file}") as running, requests.Session() as session:
        url = f"https://127.0.0.1:{running.port}"
        session.trust_env, session.verify = False, str(authority.certificate)

        def answers(password: str) -> int:
            return session.get(f"{url}/metrics", auth=("alice", password), timeout=10).status_code

        assert [answers("old"), answers("new"), answers("old")] == [200, 401, 200]
        before = serial_of(url)

        renewed = authority.issue("127.0.0.1", called="renewed-running")
        shutil.copy(renewed.certificate, tmp_path / "server.crt")
        shutil.copy(renewed.key, tmp_path / "server.key")
        written(others=f"basic_auth_users: {{alice: '{hashed('new')}'}}")
        time.sleep(3 * CHECK_SECONDS)

        assert [answers("old"), answers("new")] == [401, 200]
        assert serial_of(url) != before
        assert running.stop() == 0


def test_prometheus_scrapes_with_its_own_certificate_and_password(
    written: Callable[..., Path], authority: Authority, tmp_path: Path
) -> None:
    client = authority.issue("prometheus.example", called="prometheus")
    file = written(
        f"client_ca_file: ca.crt, {VERIFIED}, client_allowed_sans: [prometheus.example], min_version: TLS13",
        f"basic_auth_users: {{prometheus: '{hashed('secret')}'}}",
    )
    with serving(SecurityFromFile(file)) as url:
        tls = {"ca_file": str(authority.certificate), "cert_file": client.pair[0], "key_file": client.pair[1]}
        common = {"scheme": "https", "static_configs": [{"targets": [url.removeprefix("https://")]}]}
        password = {"basic_auth": {"username": "prometheus", "password": "secret"}}
        jobs = [
            {"job_name": "both", "tls_config": tls, **password, **common},
            {"job_name": "no-password", "tls_config": tls, **common},
            {"job_name": "no-certificate", "tls_config": {"ca_file": tls["ca_file"]}, **password, **common},
        ]
        with prometheus(tmp_path, jobs) as scraping:
            scraping.wait_for("count(count_over_time(up[1m]) >= 2) == 3")
            found = {one["metric"]["job"]: one["value"][1] for one in scraping.query("up")}

    assert found == {"both": "1", "no-password": "0", "no-certificate": "0"}
