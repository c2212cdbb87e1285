"""What the file of ``--web.config.file`` asks of connections and requests, read again when it changes."""

import logging
import ssl
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from damon_exporter.config import ConfigError
from damon_exporter.config.web_file import TlsServer, WebFile, load_web_file
from damon_exporter.repeating import Repeating
from damon_exporter.web.passwords import Passwords
from damon_exporter.web.rate_limit import RateLimit
from damon_exporter.web.security import Encryption, Security
from damon_exporter.web.tls import TlsError, TlsFiles, TlsRules, certificate_problem, server_context

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
PATIENCE_SECONDS = 0.5
"""How long the end waits for files that are being read; those of a network may never be."""

_CLIENT_CERTIFICATES = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_STRICTNESS = list(_CLIENT_CERTIFICATES)
_GIVEN_UP = "protects now and would not any more; to give it up, restart"
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

Stamp = tuple[int, ...] | None
"""What tells one content of a file from another without reading it; None if there is no file."""


class SecurityFromFile:
    """The security that a file asks for; while entered, read anew when it or a file that it names has changed.

    Raises ConfigError, with everything that is wrong, only when made. A change that is no good, or gives up what
    protects, is told of once and leaves everything as it was. Files are looked at and read in a thread of its own, as
    they may be slow; asking what holds never waits.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamps: dict[Path, Stamp] = {file: None}
        self._seen = self._stamps
        self._web_file, self._security = WebFile(), Security()
        self._read()
        self._looking = Repeating("web config", self._look_on, self._tell_of_the_end, PATIENCE_SECONDS)

    def __call__(self) -> Security:
        """Return what holds now."""
        return self._security

    def look(self) -> None:
        """Look at the files, and read them if they have changed and were the same when last looked at.

        Who writes a file, or one after the other, may be in the middle of it.
        """
        seen = {path: _stamp(path) for path in self._stamps}
        is_written, self._seen = seen == self._seen, seen
        if is_written and seen != self._stamps:
            self._reload()

    def __enter__(self) -> Self:
        self._looking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._looking.stop()

    def _look_on(self) -> float:
        self.look()
        return CHECK_SECONDS

    def _tell_of_the_end(self) -> None:
        log.error("%s is not looked at any more, so what it says now holds on; restart the exporter", self._file)

    def _reload(self) -> None:
        try:
            self._read()
        except ConfigError as error:
            for problem in error.problems:
                log.error("%s has changed and cannot be used, so what was before holds on: %s", self._file, problem)
        else:
            log.info("%s has changed and is used now", self._file)

    def _read(self) -> None:
        """Stamps come before what they are of, so that no later change is missed."""
        self._stamps = {path: _stamp(path) for path in self._stamps}
        web_file = load_web_file(self._file)
        if given_up := _given_up(self._web_file, web_file):
            raise ConfigError(given_up)
        files = _files(web_file.tls_server_config, self._file.parent)
        named = (files.certificate, files.key, files.client_authorities) if files else ()
        self._stamps = {self._file: self._stamps[self._file], **{path: _stamp(path) for path in named if path}}
        self._security = _security(web_file, files, self._web_file, self._security)
        self._web_file = web_file


def _given_up(before: WebFile, now: WebFile) -> list[str]:
    """What protects by ``before`` and not by ``now``, which looks like a file that somebody has begun to write."""
    if before != WebFile() and now == WebFile():
        return ["the file says nothing any more; to give up what it said, restart"]
    old, new = before.tls_server_config, now.tls_server_config
    lost = {
        "tls_server_config": old.cert_file and not new.cert_file,
        "tls_server_config.client_auth_type": (
            _STRICTNESS.index(old.client_auth_type) > _STRICTNESS.index(new.client_auth_type)
        ),
        "tls_server_config.client_allowed_sans": old.client_allowed_sans and not new.client_allowed_sans,
        "tls_server_config.min_version": old.min_version > new.min_version,
        "basic_auth_users": before.basic_auth_users and not now.basic_auth_users,
    }
    return [f"{key} {_GIVEN_UP}" for key, is_lost in lost.items() if is_lost]


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _files(tls: TlsServer, folder: Path) -> TlsFiles | None:
    if tls.cert_file is None or tls.key_file is None:
        return None
    return TlsFiles(folder / tls.cert_file, folder / tls.key_file, tls.client_ca_file and folder / tls.client_ca_file)


def _security(web_file: WebFile, files: TlsFiles | None, before: WebFile, held: Security) -> Security:
    """Return what ``web_file`` asks for; of what ``held`` by the one before it, passwords known to be right stay so."""
    encryption = _encryption(web_file.tls_server_config, files) if files else None
    if web_file.http_server_config.http2:
        log.warning("http_server_config.http2: only HTTP/1.1 is spoken here, which every client can; set it to false")
    if web_file.basic_auth_users and encryption is None:
        log.warning("basic_auth_users: passwords travel unencrypted; give tls_server_config")
    users, limit = web_file.basic_auth_users, web_file.rate_limit
    passwords = Passwords(users) if users else None
    rate_limit = RateLimit(limit.interval, limit.burst) if limit.interval else None
    return Security(
        encryption,
        held.passwords if users == before.basic_auth_users else passwords,
        held.rate_limit if limit == before.rate_limit else rate_limit,
        web_file.http_server_config.headers,
    )


def _encryption(tls: TlsServer, files: TlsFiles) -> Encryption:
    rules = TlsRules(
        _CLIENT_CERTIFICATES[tls.client_auth_type],
        _VERSIONS[tls.min_version],
        _VERSIONS[tls.max_version],
        tls.cipher_suites,
        tls.curve_preferences[0] if tls.curve_preferences else None,
        tls.prefer_server_cipher_suites,
    )
    try:
        context = server_context(files, rules)
    except TlsError as error:
        raise ConfigError([f"tls_server_config.{key}: {text}" for key, text in error.problems.items()]) from error
    with suppress(OSError):  # the files may be changing just now; then they are read again
        if problem := certificate_problem(files):
            log.warning("%s: %s, so clients will refuse it; renew it", files.certificate, problem)
    return Encryption(context, tls.client_allowed_sans)
