"""TLS contexts from files, and what is wrong with the files in words."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


class TlsError(ValueError):
    """A context cannot be made; ``found`` says what is wrong, with its cure, by the key that is to blame."""

    def __init__(self, found: dict[str, str]) -> None:
        super().__init__("; ".join(found.values()))
        self.found = found


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: our certificate and its chain, its key, and whose certificates clients may show."""

    certificate: Path
    key: Path
    client_authorities: Path | None = None


@dataclass(frozen=True, slots=True)
class TlsRules:
    """What is agreed on with clients. ``ciphers`` are OpenSSL's names, for TLS 1.2; empty for its own choice."""

    clients: ssl.VerifyMode = ssl.CERT_NONE
    least: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: tuple[str, ...] = ()
    curve: str | None = None
    server_chooses: bool = True


def server_context(files: TlsFiles, rules: TlsRules) -> ssl.SSLContext:
    """Return what new connections are encrypted with; raises TlsError with everything that is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found: dict[str, str] = {}
    _agree(context, rules, found)
    _show(context, files, found)
    if files.client_authorities:
        cure = "holds no certificate; it takes those of authorities, as PEM"
        _use("client_ca_file", files.client_authorities, context.load_verify_locations, cure, found)
    if found:
        raise TlsError(found)
    context.verify_mode = rules.clients
    return context


def doubts(files: TlsFiles) -> str | None:
    """What a client would say to the certificate today even if it trusts it, such as ``certificate has expired``."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(files.certificate, files.key)
    client.load_verify_locations(files.certificate)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trust is not the question
    client.check_hostname = False
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours, theirs = server.wrap_bio(there, back, server_side=True), client.wrap_bio(back, there)
    try:
        for side in (theirs, ours, theirs):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    return None


def _agree(context: ssl.SSLContext, rules: TlsRules, found: dict[str, str]) -> None:
    context.minimum_version, context.maximum_version = rules.least, rules.most
    context.options |= ssl.OP_NO_RENEGOTIATION
    if not rules.server_chooses:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if rules.curve:
        context.set_ecdh_curve(rules.curve)
    if rules.ciphers:
        with suppress(ssl.SSLError):  # none of them
            context.set_ciphers(":".join(rules.ciphers))
        lacking = set(rules.ciphers) - {cipher["name"] for cipher in context.get_ciphers()}
        if lacking:
            found["cipher_suites"] = f"{ssl.OPENSSL_VERSION} does not offer {', '.join(sorted(lacking))}; leave it out"


def _show(context: ssl.SSLContext, files: TlsFiles, found: dict[str, str]) -> None:
    """Load what clients are shown; a key only for a good certificate, as OpenSSL does not say which of them is bad."""
    look = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations
    cure = "holds no certificate; it takes one as PEM, followed by those between it and the authority's"
    _use("cert_file", files.certificate, look, cure, found)

    def load(key: Path) -> None:
        if "cert_file" not in found:
            context.load_cert_chain(files.certificate, key, _no_password)

    _use("key_file", files.key, load, "holds no key; it takes one as PEM, without a password", found)


def _no_password() -> str:
    """Answer OpenSSL, which would ask at the terminal."""
    return ""


def _use(key: str, path: Path, load: Callable[[Path], None], cure: str, found: dict[str, str]) -> None:
    """Load a file, or note under ``key`` why that is not possible."""
    try:
        path.read_bytes()  # OpenSSL does not tell a file that cannot be read from one that is no good
        load(path)
    except ssl.SSLError as error:
        is_anothers = error.reason == "KEY_VALUES_MISMATCH"
        found[key] = f"{path} {'is not the key of cert_file; take the two from one place' if is_anothers else cure}"
    except OSError as error:
        found[key] = f"{path} cannot be read: {error.strerror}; relative paths begin at the folder of this file"
