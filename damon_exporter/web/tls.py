"""TLS contexts from files, and what is wrong with the files in words."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG


class TlsError(ValueError):
    """A context cannot be made; ``problems`` says what is wrong, with its cure, by the key that is to blame."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: our certificate and its chain, its key, and whose certificates clients may show."""

    certificate: Path
    key: Path
    client_authorities: Path | None = None


@dataclass(frozen=True, slots=True)
class TlsRules:
    """What is agreed on with clients. ``ciphers`` are OpenSSL's names, for TLS 1.2; empty for its own choice."""

    client_certificates: ssl.VerifyMode = ssl.CERT_NONE
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    max_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: tuple[str, ...] = ()
    curve: str | None = None
    prefer_server_ciphers: bool = True


def server_context(files: TlsFiles, rules: TlsRules) -> ssl.SSLContext:
    """Return what new connections are encrypted with; raises TlsError with everything that is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    problems: dict[str, str] = {}
    _apply_rules(context, rules, problems)
    _load_certificate(context, files, problems)
    if files.client_authorities:
        cure = "holds no certificate; it takes those of authorities, as PEM"
        _load("client_ca_file", files.client_authorities, context.load_verify_locations, cure, problems)
    if problems:
        raise TlsError(problems)
    context.verify_mode = rules.client_certificates
    return context


def certificate_problem(files: TlsFiles) -> str | None:
    """What a client would say to the certificate today even if it trusts it, such as ``certificate has expired``."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(files.certificate, files.key)
    client.load_verify_locations(files.certificate)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trust is not the question
    client.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours, clients = server.wrap_bio(to_server, to_client, server_side=True), client.wrap_bio(to_client, to_server)
    try:
        for side in (clients, ours, clients):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    return None


def _apply_rules(context: ssl.SSLContext, rules: TlsRules, problems: dict[str, str]) -> None:
    context.minimum_version, context.maximum_version = rules.min_version, rules.max_version
    context.options |= ssl.OP_NO_RENEGOTIATION
    if not rules.prefer_server_ciphers:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if rules.curve:
        context.set_ecdh_curve(rules.curve)
    if rules.ciphers:
        with suppress(ssl.SSLError):  # none of them
            context.set_ciphers(":".join(rules.ciphers))
        if lacking := set(rules.ciphers) - {cipher["name"] for cipher in context.get_ciphers()}:
            names = ", ".join(sorted(lacking))
            problems["cipher_suites"] = f"{ssl.OPENSSL_VERSION} does not offer {names}; leave it out"


def _load_certificate(context: ssl.SSLContext, files: TlsFiles, problems: dict[str, str]) -> None:
    """Load what clients are shown; a key only for a good certificate, as OpenSSL does not say which of them is bad."""
    try_loading = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations
    cure = "holds no certificate; it takes one as PEM, followed by those between it and the authority's"
    _load("cert_file", files.certificate, try_loading, cure, problems)

    def load_key(key: Path) -> None:
        if "cert_file" not in problems:
            context.load_cert_chain(files.certificate, key, _no_password)

    _load("key_file", files.key, load_key, "holds no key; it takes one as PEM, without a password", problems)


def _no_password() -> str:
    """Answer OpenSSL, which would ask at the terminal."""
    return ""


def _load(key: str, path: Path, load: Callable[[Path], None], cure: str, problems: dict[str, str]) -> None:
    """Load a file, or note under ``key`` why that is not possible."""
    try:
        if not S_ISREG(path.stat().st_mode):
            problems[key] = f"{path} is no regular file, which can be read again and again; write one, and name that"
            return
        path.read_bytes()  # OpenSSL does not tell a file that cannot be read from one that is no good
        load(path)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            cure = "is not the key of cert_file; take the two from one place"
        problems[key] = f"{path} {cure}"
    except OSError as error:
        problems[key] = f"{path} cannot be read: {error.strerror}; relative paths begin at the folder of this file"
