"""What the file of ``--web.config.file`` asks of connections and requests, read again when it changes."""

import logging
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from damon_exporter.config import ConfigError
from damon_exporter.config.web_file import TlsServer, WebFile, load_web_file
from damon_exporter.web.passwords import Passwords
from damon_exporter.web.rate_limit import RateLimit
from damon_exporter.web.security import Encryption, Security
from damon_exporter.web.tls import TlsError, TlsFiles, TlsRules, certificate_problem, server_context

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0

_CLIENT_CERTIFICATES = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

Stamp = tuple[int, ...] | None
"""What tells one content of a file from another without reading it; None if there is no file."""


class SecurityFromFile:
    """The security that a file asks for, read anew when it or a file that it names has changed.

    Raises ConfigError, with everything that is wrong, only when made. A change that is no good is told of once and
    leaves everything as it was.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._checked = clock()
        self._stamps: dict[Path, Stamp] = {file: None}
        self._security = self._read()

    def __call__(self) -> Security:
        """Return what holds now; looks at the files once a second at most."""
        if self._clock() - self._checked < CHECK_SECONDS or not self._lock.acquire(blocking=False):
            return self._security
        try:
            self._checked = self._clock()
            if any(_stamp(path) != stamp for path, stamp in self._stamps.items()):
                self._reload()
        finally:
            self._lock.release()
        return self._security

    def _reload(self) -> None:
        try:
            self._security = self._read()
        except ConfigError as error:
            for problem in error.problems:
                log.error("%s has changed and cannot be used, so what was before holds on: %s", self._file, problem)
        else:
            log.info("%s has changed and is used now", self._file)

    def _read(self) -> Security:
        """Stamps come before what they are of, so that no later change is missed."""
        self._stamps = {path: _stamp(path) for path in self._stamps}
        web_file = load_web_file(self._file)
        files = _files(web_file.tls_server_config, self._file.parent)
        named = (files.certificate, files.key, files.client_authorities) if files else ()
        self._stamps = {self._file: self._stamps[self._file], **{path: _stamp(path) for path in named if path}}
        return _security(web_file, files)


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


def _security(web_file: WebFile, files: TlsFiles | None) -> Security:
    encryption = _encryption(web_file.tls_server_config, files) if files else None
    if web_file.http_server_config.http2:
        log.warning("http_server_config.http2: only HTTP/1.1 is spoken here, which every client can; set it to false")
    if web_file.basic_auth_users and encryption is None:
        log.warning("basic_auth_users: passwords travel unencrypted; give tls_server_config")
    limit = web_file.rate_limit
    return Security(
        encryption,
        Passwords(web_file.basic_auth_users) if web_file.basic_auth_users else None,
        RateLimit(limit.interval, limit.burst) if limit.interval else None,
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
