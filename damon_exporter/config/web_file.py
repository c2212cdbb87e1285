"""The file of ``--web.config.file``: who may connect, in the format that Prometheus' exporters share.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. What this server cannot do as
the format says is refused, never left out in silence.
"""

import re
from contextlib import suppress
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from stat import S_ISREG
from typing import Annotated, Literal, Self

import bcrypt
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from damon_exporter.config.fields import (
    Count,
    Flag,
    Place,
    Problems,
    Section,
    Written,
    as_written,
    converted,
    printable_text,
)
from damon_exporter.config.json_schema import Schema
from damon_exporter.config.messages import ConfigError, path, problems
from damon_exporter.config.near_match import nearest
from damon_exporter.config.reading import parse, read_text
from damon_exporter.units import parse_duration, shown

FLAG = "--web.config.file"

CIPHERS = {
    f"TLS_{exchange}_WITH_{name}": f"{prefix}{openssl}"
    for exchange, prefix in {"ECDHE_ECDSA": "ECDHE-ECDSA-", "ECDHE_RSA": "ECDHE-RSA-", "RSA": ""}.items()
    for name, openssl in {
        "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "AES_128_CBC_SHA": "AES128-SHA",
        "AES_256_CBC_SHA": "AES256-SHA",
        "AES_128_CBC_SHA256": "AES128-SHA256",
        "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
    }.items()
    if (exchange, name) != ("RSA", "CHACHA20_POLY1305_SHA256")
}
"""OpenSSL's names of cipher suites by those of the format."""

CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
"""OpenSSL's names of curves by those of the format."""

MISSING = "missing; without it nothing is encrypted, so write it or leave tls_server_config out"
Version = Literal["TLS12", "TLS13"]

HIGHEST_COST = 16
"""Of a bcrypt hash: each step doubles the time, and this one takes seconds."""

_HASH = r"\$2[abxy]\$([0-9]{2})\$([./A-Za-z0-9]{22})[./A-Za-z0-9]{31}"
_VERIFYING = {
    "RequestClientCert": "VerifyClientCertIfGiven",
    "RequireAnyClientCert": "RequireAndVerifyClientCert",
    "RequireClientCert": "RequireAndVerifyClientCert",
}
HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}


def _cipher(value: object) -> str:
    name = printable_text(value, 100)
    if name in CIPHERS:
        return CIPHERS[name]
    if re.fullmatch(r"TLS_(AES|CHACHA20)_.*", name):
        raise ValueError(f"{shown(name)} is of TLS 1.3, whose suites cannot be chosen, in Go neither; leave it out")
    raise ValueError(f"{shown(name)} is not offered; {nearest(name, list(CIPHERS), 'choose among')}")


def _curve(value: object) -> str:
    name = printable_text(value, 100)
    if name not in CURVES:
        raise ValueError(f"{shown(name)} cannot be chosen here; {nearest(name, list(CURVES), 'choose one of')}")
    return CURVES[name]


def _bcrypt(value: object) -> bytes:
    """The hash, which no message shows."""
    found = re.fullmatch(_HASH, value) if isinstance(value, str) else None
    if not found:
        raise ValueError(
            "is no bcrypt hash, which looks like $2y$10$ and 53 characters; make one with htpasswd -nBC 10"
        )
    if not 4 <= int(found[1]) <= HIGHEST_COST:
        raise ValueError(f"has the cost {found[1]}; hash the password with one from 4 to {HIGHEST_COST}, such as 10")
    try:
        bcrypt.hashpw(b"", f"$2b$04${found[2]}".encode())  # at the least cost; not every text of 22 letters is a salt
    except ValueError:
        raise ValueError("is no hash that bcrypt has made; make one with htpasswd -nBC 10") from None
    return found[0].encode()


def _user(value: object) -> str:
    user = printable_text(value, 256)
    if ":" in user:
        raise ValueError(f"{shown(user)} has a colon, which ends the name in a request; choose another name")
    return user


def _file(value: object) -> Path:
    return Path(printable_text(value, 4096))


def _go_duration(value: object) -> float:
    """Seconds; 0 needs no unit in Go."""
    return 0.0 if value == 0 and not isinstance(value, bool) else parse_duration(value) / 1e6


def _alternative_name(value: object) -> str:
    """A name as certificates are asked for it: addresses in Go's spelling."""
    name = printable_text(value, 1024)
    try:
        return str(ip_address(name))
    except ValueError:
        return name


def _headers(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The headers to be sent, without those that are left blank."""
    found: list[tuple[Place, str]] = []
    for name, value in headers.items():
        words = HEADERS.get(name, ())
        if name not in HEADERS:
            found.append(((name,), f"cannot be set; {nearest(name, list(HEADERS), 'these can')}"))
        elif words and value and value.lower() not in words:
            found.append(((name,), f"{shown(value)} is not known; choose one of: {', '.join(words)}"))
        elif not value.isascii() or not value.isprintable():
            found.append(((name,), "has characters that no header can hold; write it in ASCII, on one line"))
    if found:
        raise Problems(found)
    return tuple((name, value) for name, value in headers.items() if value)


FILE = Written(_file, {"type": "string", "minLength": 1, "maxLength": 4096})
CIPHER = Written(_cipher, {"enum": list(CIPHERS)})
CURVE = Written(_curve, {"enum": list(CURVES)})
ALTERNATIVE_NAME = Written(_alternative_name, {"type": "string", "minLength": 1})
BCRYPT = Written(_bcrypt, {"type": "string", "pattern": f"^{_HASH}$"})
USER = Written(_user, {"type": "string", "pattern": "^[^:]+$"})
INTERVAL = Written(_go_duration, {"type": ["string", "integer"]})


class TlsServer(Section):
    """How connections are encrypted, and which clients must prove who they are."""

    cert: None = Field(default=None, description="Not possible here; see cert_file.")
    key: None = Field(default=None, description="Not possible here; see key_file.")
    client_ca: None = Field(default=None, description="Not possible here; see client_ca_file.")
    cert_file: Annotated[Path, FILE] | None = Field(default=None, description="Our certificate, then its chain.")
    key_file: Annotated[Path, FILE] | None = Field(default=None, description="The key of the certificate.")
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = Field(
        default="NoClientCert", description="Whether clients show a certificate."
    )
    client_ca_file: Annotated[Path, FILE] | None = Field(
        default=None, description="The authorities whose certificates clients may show."
    )
    client_allowed_sans: frozenset[Annotated[str, ALTERNATIVE_NAME]] | None = Field(
        default=None, min_length=1, description="Names, one of which a certificate that a client shows must have."
    )
    min_version: Version = Field(default="TLS12", description="The lowest version of TLS.")
    max_version: Version = Field(default="TLS13", description="The highest version of TLS.")
    cipher_suites: tuple[Annotated[str, CIPHER], ...] = Field(default=(), description="Suites, for TLS 1.2.")
    prefer_server_cipher_suites: Flag = Field(default=True, description="Does our order of suites decide?")
    curve_preferences: tuple[Annotated[str, CURVE], ...] = Field(
        default=(), description="The curve of the key exchange; one at most."
    )

    @field_validator("cert", "key", "client_ca", mode="before")
    @classmethod
    def _stands_in_a_file(cls, value: object, info: ValidationInfo) -> None:
        if value is not None:
            raise ValueError(
                f"cannot be given in this file; write it to one of its own, and name that: {info.field_name}_file"
            )

    @field_validator("client_auth_type", mode="before")
    @classmethod
    def _is_verified(cls, value: object) -> object:
        if isinstance(value, str) and value in _VERIFYING:
            raise ValueError(f"{value} would believe any certificate, which is not offered; use {_VERIFYING[value]}")
        return value

    @field_validator("min_version", "max_version", mode="before")
    @classmethod
    def _is_safe(cls, value: object) -> object:
        if value in ("TLS10", "TLS11"):
            raise ValueError(f"{value} is broken and not offered; use TLS12")
        return value

    @field_validator("curve_preferences")
    @classmethod
    def _is_one(cls, curves: tuple[str, ...]) -> tuple[str, ...]:
        if len(curves) > 1:
            raise ValueError("has several, of which Python can offer one only; name that one, or leave the key out")
        return curves

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        found: list[tuple[Place, str]] = []
        if self.model_fields_set:
            found += [((key,), MISSING) for key in ("cert_file", "key_file") if getattr(self, key) is None]
        if self.client_auth_type == "NoClientCert":
            idle = [key for key in ("client_ca_file", "client_allowed_sans") if getattr(self, key) is not None]
            found += [((key,), "has no effect; set client_auth_type: RequireAndVerifyClientCert") for key in idle]
        elif self.client_ca_file is None:
            found.append((("client_ca_file",), f"missing; {self.client_auth_type} needs to know whom to believe"))
        if self.min_version > self.max_version:
            found.append((("min_version",), f"is above max_version {self.max_version}; leave one of them out"))
        if found:
            raise Problems(found)
        return self


class HttpServer(Section):
    """What is said over HTTP."""

    http2: Flag = Field(default=False, description="Only HTTP/1.1 is spoken; true is told of in the log.")
    headers: Annotated[tuple[tuple[str, str], ...], converted(dict[str, str], _headers)] = Field(
        default=as_written({}), description="Headers of every response, instead of ours of the same name."
    )


class RateLimit(Section):
    """How often requests are answered: a bucket of ``burst`` of them, with one more every ``interval``."""

    interval: Annotated[float, INTERVAL] = Field(default=0, description="One more request every so often; 0: no limit.")
    burst: Count = Field(default=0, ge=0, le=1_000_000, description="How many may come at once.")

    @model_validator(mode="after")
    def _answers_some(self) -> Self:
        if self.interval and not self.burst:
            raise Problems([(("burst",), "0 would refuse every request; give at least 1")])
        return self


class WebFile(Section):
    """Everything that the file says; ``WebFile()`` is what no file says."""

    tls_server_config: TlsServer = Field(default_factory=TlsServer)
    http_server_config: HttpServer = Field(default_factory=HttpServer)
    basic_auth_users: dict[Annotated[str, USER], Annotated[bytes, BCRYPT]] = Field(
        default={}, max_length=1000, description="bcrypt hashes of passwords by user; none: nobody is asked."
    )
    rate_limit: RateLimit = Field(default_factory=RateLimit)


@cache
def web_schema() -> Schema:
    """The JSON Schema of the file. Not to be changed."""
    return WebFile.model_json_schema()


def load_web_file(file: Path) -> WebFile:
    """What a file says; ConfigError with one line per problem. Whatever may not end, such as a pipe, is not read."""
    with suppress(OSError):  # which reading it tells
        if not S_ISREG(file.stat().st_mode):
            raise ConfigError([f"{file}: is no regular file, which can be read again and again; check {FLAG}"])
    keys = parse(read_text(file, FLAG, f"{file}: "), "tls_server_config: {cert_file: server.crt, key_file: server.key}")
    try:
        return WebFile.model_validate(keys)
    except ValidationError as error:
        raise ConfigError([f"{path(place)}: {text}" for place, text in problems(error, web_schema())]) from error
