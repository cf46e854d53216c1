"""Owns what each kind of setting may look like. Leaves which settings there are to `authsvc.config`.

A check raises ValueError, in words that follow the setting's name and that never hold a secret.
"""

import os
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretBytes, SecretStr

from authsvc.core.clock import DAY, HOUR, MINUTE, SECOND
from authsvc.core.secrets import DeploymentSecrets, SecretsUnusable
from authsvc.settings.certificate_files import read_authorities

_UNITS = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_HOST_AND_PORT = re.compile(r"([^:\s]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
_METRICS_LISTEN = re.compile(r"([^:\s]*|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")


def duration_ms(value: object) -> object:
    """Return milliseconds from a text such as `30m`, `12h`, `14d`, `500ms`. Raises ValueError."""
    if isinstance(value, int):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a whole number and a unit: ms, s, m, h or d, such as 30m")
    return int(match[1]) * _UNITS[match[2]]


def _host_and_port(value: str) -> str:
    if value.startswith("unix:") or _HOST_AND_PORT.fullmatch(value):
        return value
    raise ValueError("must be host:port, [IPv6 address]:port or unix:/path")


def _host_and_port_or_nothing(value: str) -> str:
    return _host_and_port(value) if value else value


def _metrics_listen(value: str) -> str:
    if value and not _METRICS_LISTEN.fullmatch(value):
        raise ValueError("must be host:port, or :port for loopback")
    return value


def _issuer(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("https", "http") or not url.hostname or url.query or url.fragment:
        raise ValueError("must be a URL such as https://auth.example.com")
    return value


def _secrets(value: SecretBytes) -> SecretBytes:
    try:
        DeploymentSecrets(value.get_secret_value().split())
    except SecretsUnusable as error:
        raise ValueError(str(error)) from None
    return value


def _database_url(value: SecretStr) -> SecretStr:
    from authsvc.stores.sql import address  # late: what does not open a database need not load the library

    address.parse(value.get_secret_value())
    return value


def _cache_url(value: SecretStr) -> SecretStr:
    from authsvc.stores.valkey import NO_CACHE, parse_cache_url  # late, like the database's

    if value.get_secret_value() != NO_CACHE:
        parse_cache_url(value.get_secret_value())
    return value


def _signing_key(value: SecretBytes) -> SecretBytes:
    from authsvc.core.signing_keys import SigningKeyUnusable, ring_from_pem  # late: it is seldom given

    try:
        ring_from_pem(value.get_secret_value(), now=0)
    except SigningKeyUnusable as error:
        raise ValueError(str(error)) from None
    return value


def _readable(value: Path) -> Path:
    if not value.is_file() or not os.access(value, os.R_OK):
        raise ValueError(f"cannot read {value}")
    return value


def _authorities_file(value: Path) -> Path:
    read_authorities(_readable(value))
    return value


Duration = Annotated[int, BeforeValidator(duration_ms), Field(gt=0)]
DurationOrNone = Annotated[int, BeforeValidator(duration_ms), Field(ge=0)]
Listen = Annotated[str, AfterValidator(_host_and_port)]
ListenOrNot = Annotated[str, AfterValidator(_host_and_port_or_nothing)]
MetricsListen = Annotated[str, AfterValidator(_metrics_listen)]
Issuer = Annotated[str, AfterValidator(_issuer)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
CacheUrl = Annotated[SecretStr, AfterValidator(_cache_url)]
SecretKeys = Annotated[SecretBytes, AfterValidator(_secrets)]
SigningKeyPem = Annotated[SecretBytes, AfterValidator(_signing_key)]
ReadableFile = Annotated[Path, AfterValidator(_readable)]
AuthoritiesFile = Annotated[Path, AfterValidator(_authorities_file)]
