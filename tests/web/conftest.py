"""Certificates, made once for all tests of the web."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from damon_exporter.web.tls import TlsFiles


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    @property
    def pair(self) -> tuple[str, str]:
        """As requests and the ssl module want it."""
        return str(self.certificate), str(self.key)


class Authority:
    """A certificate authority that issues what tests need."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        folder.mkdir(exist_ok=True)
        self.certificate = folder / "ca.crt"
        self._authority.cert_pem.write_to_path(self.certificate)

    def issue(self, *names: str, called: str = "server", **options: object) -> Identity:
        """A certificate for ``names``, which may be of hosts, addresses or people."""
        issued = self._authority.issue_cert(*names, **options)
        identity = Identity(self._folder / f"{called}.crt", self._folder / f"{called}.key")
        identity.certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(identity.key)
        return identity


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom clients and servers of the tests believe."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server_files(authority: Authority) -> TlsFiles:
    """What a server on 127.0.0.1 shows."""
    server = authority.issue("127.0.0.1", "localhost")
    return TlsFiles(server.certificate, server.key, authority.certificate)
