"""The file of --web.config.file, as text."""

import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from damon_exporter.config import ConfigError
from damon_exporter.config.reading import parse
from damon_exporter.config.web_file import CIPHERS, WebFile, load_web_file, web_schema
from damon_exporter.web.tls import TlsFiles, TlsRules, server_context

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests/fixtures/web"
GOOD = sorted(FIXTURES.glob("*.good.yml"))
BAD = sorted(FIXTURES.glob("*.bad.yml"))
PAGE = (ROOT / "docs/web.md").read_text()
KEYS = [
    *(f"tls_server_config.{key}" for key in WebFile.model_fields["tls_server_config"].annotation.model_fields),
    *(f"http_server_config.{key}" for key in WebFile.model_fields["http_server_config"].annotation.model_fields),
    *(f"rate_limit.{key}" for key in WebFile.model_fields["rate_limit"].annotation.model_fields),
    "basic_auth_users",
]


def name(path: Path) -> str:
    return path.name.partition(".")[0]


@pytest.mark.parametrize("path", GOOD, ids=name)
def test_a_good_file_is_loaded_and_fits_the_schema(path: Path) -> None:
    load_web_file(path)

    Draft202012Validator(web_schema()).validate(parse(path.read_text()))


@pytest.mark.parametrize("path", BAD, ids=name)
def test_a_bad_file_is_refused_with_every_problem_that_it_states(path: Path) -> None:
    stated = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]

    with pytest.raises(ConfigError) as caught:
        load_web_file(path)

    assert caught.value.problems == stated


@pytest.mark.parametrize(
    "path", [FIXTURES / "empty.good.yml", FIXTURES / "headings-without-content.good.yml"], ids=name
)
def test_a_file_that_says_nothing_asks_for_nothing(path: Path) -> None:
    assert load_web_file(path) == WebFile()


def test_a_file_that_is_missing_is_named_with_the_flag(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"web\.yml: cannot be read: No such file .*; check --web\.config\.file"):
        load_web_file(tmp_path / "web.yml")


def test_names_of_clients_are_compared_as_certificates_are_read() -> None:
    names = load_web_file(FIXTURES / "everything.good.yml").tls_server_config.client_allowed_sans

    assert names == {"prometheus.example", "192.0.2.7", "::1", "spiffe://example/prometheus"}


def test_a_hash_that_is_none_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text("basic_auth_users: {alice: hunter2}")

    with pytest.raises(ConfigError) as caught:
        load_web_file(file)

    assert "hunter2" not in str(caught.value)


def test_a_hash_that_bcrypt_cannot_have_made_is_refused_before_it_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text(f"basic_auth_users: {{alice: $2y$10${'z' * 53}}}")

    with pytest.raises(
        ConfigError, match=r"basic_auth_users\.alice: is no hash that bcrypt has made; make one with ht"
    ):
        load_web_file(file)


@pytest.mark.parametrize("cipher", CIPHERS.values())
def test_every_cipher_that_can_be_named_is_one_of_openssl(cipher: str, server_files: TlsFiles) -> None:
    context = server_context(server_files, TlsRules(ciphers=(cipher,)))

    assert cipher in {found["name"] for found in context.get_ciphers()}


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_documented(key: str) -> None:
    assert f"`{key}`" in PAGE


def test_the_examples_of_the_page_are_good(tmp_path: Path) -> None:
    blocks = re.findall(r"^```yaml title=web\.yml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for block in blocks:
        (tmp_path / "web.yml").write_text(block)
        load_web_file(tmp_path / "web.yml")

    assert len(blocks) >= 2
