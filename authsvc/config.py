"""Owns the settings: their names, defaults and limits, and reading them. Alone reads the environment.

Settings are `AUTHSVC_…` variables; a secret is given as a file, `AUTHSVC_…_FILE`. Every mistake is reported at once,
each with the variable it is in, and never with the value of a secret.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretBytes, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from authsvc.core.clock import DAY, HOUR, MINUTE, SECOND
from authsvc.core.lifetimes import ACCESS_TTL_CAP, Lifetimes
from authsvc.core.secrets import DeploymentSecrets, SecretsUnusable

PREFIX = "AUTHSVC_"
_UNITS = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)")
# Secrets that may also be given as a file, by the setting they fill.
_FILES = {
    "secret_keys": "SECRET_KEYS_FILE",
    "signing_key": "SIGNING_KEY_FILE",
    "client_key": "CLIENT_KEY_FILE",
}


class SettingsWrong(Exception):
    """The settings cannot be used. `mistakes` names every one, a sentence each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__(
            "the settings cannot be used:\n" + "\n".join(f"  - {mistake}" for mistake in mistakes)
        )
        self.mistakes = mistakes


def duration_ms(value: object) -> object:
    """Return milliseconds from a text such as `30m`, `12h`, `14d`, `500ms`. Raises ValueError."""
    if isinstance(value, int):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a whole number and a unit: ms, s, m, h or d, such as 30m")
    return int(match[1]) * _UNITS[match[2]]


Duration = Annotated[int, BeforeValidator(duration_ms), Field(gt=0)]


_Kind = TypeVar("_Kind", bound="_Environment")


class _Environment(BaseSettings):
    """Settings that come from variables, and from nothing else."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  pydantic-settings passes them all by name
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `_read` passes: it has read the environment already, and knows what it did not use."""
        return (init_settings,)


class Settings(_Environment):
    """What a server runs with. Times in milliseconds."""

    listen: str = "127.0.0.1:50051"
    issuer: str
    database_url: SecretStr
    cache_url: SecretStr
    secret_keys: SecretBytes
    """One secret a line, each at least 32 bytes; the first is current."""
    signing_key: SecretBytes | None = None
    signing_algorithm: str = Field(default="ES256", pattern="^(ES256|EdDSA|RS256)$")
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    plaintext: bool = False
    session_idle: Duration = 30 * MINUTE
    session_absolute: Duration = 12 * HOUR
    remember_idle: Duration = 14 * DAY
    remember_absolute: Duration = 90 * DAY
    refresh_idle: Duration = 30 * DAY
    refresh_absolute: Duration = 90 * DAY
    access_ttl: Duration = Field(default=5 * MINUTE, le=ACCESS_TTL_CAP)
    password_min_length: int = Field(default=15, ge=8, le=128)
    password_slots: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    calls_at_once: int = Field(default=2000, ge=1)
    database_pool: int = Field(default=10, ge=2)
    drain_delay: Annotated[int, BeforeValidator(duration_ms), Field(ge=0)] = 2 * SECOND
    metrics_listen: str = ""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @model_validator(mode="after")
    def _check(self) -> "Settings":
        mistakes = [*self._address_mistakes(), *self._secret_mistakes(), *self._lifetime_mistakes()]
        if mistakes:
            raise SettingsWrong(mistakes)
        return self

    @property
    def secrets(self) -> DeploymentSecrets:
        """The deployment secrets."""
        return DeploymentSecrets(self.secret_keys.get_secret_value().split())

    @property
    def lifetimes(self) -> Lifetimes:
        """How long things live."""
        return Lifetimes(
            self.session_idle,
            self.session_absolute,
            self.remember_idle,
            self.remember_absolute,
            self.refresh_idle,
            self.refresh_absolute,
            self.access_ttl,
        )

    def _address_mistakes(self) -> list[str]:
        found = []
        issuer = urlsplit(self.issuer)
        if issuer.scheme not in ("https", "http") or not issuer.hostname or issuer.query or issuer.fragment:
            found.append(f"{PREFIX}ISSUER must be a URL such as https://auth.example.com")
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            found.append(f"{PREFIX}TLS_CERT_FILE and {PREFIX}TLS_KEY_FILE must be given together")
        found += [
            f"{PREFIX}{name.upper()}: cannot read {path}"
            for name, path in (("tls_cert_file", self.tls_cert_file), ("tls_key_file", self.tls_key_file))
            if path is not None and not os.access(path, os.R_OK)
        ]
        if self.tls_cert_file is None and not (self.plaintext and is_local_address(self.listen)):
            found.append(
                f"{PREFIX}TLS_CERT_FILE is missing; plaintext needs {PREFIX}PLAINTEXT=true and a {PREFIX}LISTEN "
                "on loopback or a Unix socket"
            )
        return found

    def _secret_mistakes(self) -> list[str]:
        try:
            self.secrets.derive("check")
        except SecretsUnusable as error:
            return [f"{PREFIX}SECRET_KEYS_FILE: {error}"]
        return []

    def _lifetime_mistakes(self) -> list[str]:
        pairs = (
            ("SESSION_IDLE", self.session_idle, "SESSION_ABSOLUTE", self.session_absolute),
            ("REMEMBER_IDLE", self.remember_idle, "REMEMBER_ABSOLUTE", self.remember_absolute),
            ("REFRESH_IDLE", self.refresh_idle, "REFRESH_ABSOLUTE", self.refresh_absolute),
        )
        return [
            f"{PREFIX}{a} must not be longer than {PREFIX}{b}" for a, idle, b, most in pairs if idle > most
        ]


class DatabaseSettings(_Environment):
    """What `authsvc migrate` needs."""

    database_url: SecretStr


class AdminSettings(_Environment):
    """What the administration commands need to reach a server."""

    address: str = "127.0.0.1:50051"
    client_key: SecretStr = SecretStr("")
    tls_ca_file: Path | None = None
    plaintext: bool = False


def is_local_address(listen: str) -> bool:
    """Whether an address to listen on, or to call, is on this machine only."""
    if listen.startswith("unix:"):
        return True
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the server's settings. Raises SettingsWrong."""
    return _read(Settings, os.environ if environ is None else environ)


def read_database_settings(environ: Mapping[str, str] | None = None) -> DatabaseSettings:
    """Return the database's settings. Raises SettingsWrong."""
    return _read(DatabaseSettings, os.environ if environ is None else environ)


def read_admin_settings(environ: Mapping[str, str] | None = None) -> AdminSettings:
    """Return the administration commands' settings. Raises SettingsWrong."""
    return _read(AdminSettings, os.environ if environ is None else environ)


def _read(kind: type[_Kind], environ: Mapping[str, str]) -> _Kind:
    given = {
        name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)
    }
    mistakes = [*_unknown(given), *_read_files(given)]
    try:
        settings = kind(**{name: value for name, value in given.items() if name in kind.model_fields})
    except SettingsWrong as error:
        raise SettingsWrong(mistakes + error.mistakes) from None
    except ValidationError as error:
        raise SettingsWrong(mistakes + [_sentence(each) for each in error.errors()]) from None
    if mistakes:
        raise SettingsWrong(mistakes)
    return settings


def _unknown(given: Mapping[str, str]) -> list[str]:
    known = {name for kind in (Settings, DatabaseSettings, AdminSettings) for name in kind.model_fields}
    known |= {name.lower() for name in _FILES.values()}
    return [f"{PREFIX}{name.upper()} is no setting of this version" for name in sorted(set(given) - known)]


def _read_files(given: dict[str, str]) -> list[str]:
    """Put the contents of secret files in the place of their settings; return what cannot be read."""
    mistakes = []
    for name, variable in _FILES.items():
        path = given.pop(variable.lower(), None)
        if path is None:
            continue
        try:
            given[name] = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError):
            mistakes.append(f"{PREFIX}{variable}: cannot read {path}")
    return mistakes


def _sentence(error: Any) -> str:
    """One mistake, with the variable and without the value: it may be a secret."""
    name = str(error["loc"][0]) if error["loc"] else ""
    variable = PREFIX + _FILES.get(name, name.upper())
    if error["type"] == "missing":
        return f"{variable} is missing"
    return f"{variable}: {error['msg'].removeprefix('Value error, ')}"
