"""Owns the settings: their names, defaults and limits, and reading them. Alone reads the environment.

Leaves what each kind of setting may look like to `setting_kinds`.

Settings are `AUTHSVC_…` variables; a secret is given as a file, `AUTHSVC_…_FILE`. Every mistake is reported at once,
each with the variable it is in, and never with the value of a secret.
"""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from authsvc.core.clock import DAY, HOUR, MINUTE, SECOND
from authsvc.core.lifetimes import ACCESS_TTL_CAP, Lifetimes
from authsvc.core.secrets import DeploymentSecrets
from authsvc.setting_kinds import (
    CacheUrl,
    DatabaseUrl,
    Duration,
    DurationOrNone,
    Issuer,
    Listen,
    MetricsListen,
    ReadableFile,
    SecretKeys,
    SigningKeyPem,
    check_pair,
)

PREFIX = "AUTHSVC_"
# Secrets that may also be given as a file, by the setting they fill.
_FILES = {
    "secret_keys": "SECRET_KEYS_FILE",
    "signing_key": "SIGNING_KEY_FILE",
    "client_key": "CLIENT_KEY_FILE",
    "database_url": "DATABASE_URL_FILE",
    "cache_url": "CACHE_URL_FILE",
}
# Of those, the ones that are nearly always given as a file: a mistake in one names that variable.
_NAMED_BY_FILE = ("secret_keys", "client_key")
DEFAULT_LISTEN = "127.0.0.1:50051"


class SettingsWrong(Exception):
    """The settings cannot be used. `mistakes` names every one, a sentence each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__(
            "the settings cannot be used:\n" + "\n".join(f"  - {mistake}" for mistake in mistakes)
        )
        self.mistakes = mistakes


_Kind = TypeVar("_Kind", bound="_Environment")


class _Environment(BaseSettings):
    """Settings that come from variables, and from nothing else."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", hide_input_in_errors=True)

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

    listen: Listen = DEFAULT_LISTEN
    issuer: Issuer
    database_url: DatabaseUrl
    cache_url: CacheUrl
    secret_keys: SecretKeys
    """One secret a line, each at least 32 bytes; the first is current."""
    signing_key: SigningKeyPem | None = None
    signing_algorithm: str = Field(default="ES256", pattern="^(ES256|EdDSA|RS256)$")
    key_rotation: DurationOrNone = 7 * DAY
    """How long a managed key signs; 0s: until `authsvc key rotate`."""
    tls_cert_file: ReadableFile | None = None
    tls_key_file: ReadableFile | None = None
    plaintext: bool = Field(default=False, validate_default=True)
    session_idle: Duration = 30 * MINUTE
    session_absolute: Duration = Field(default=12 * HOUR, validate_default=True)
    remember_idle: Duration = 14 * DAY
    remember_absolute: Duration = Field(default=90 * DAY, validate_default=True)
    refresh_idle: Duration = 30 * DAY
    refresh_absolute: Duration = Field(default=90 * DAY, validate_default=True)
    audit_retention: DurationOrNone = 365 * DAY
    """How long audit events are kept; 0s: for ever."""
    access_ttl: Duration = Field(default=5 * MINUTE, le=ACCESS_TTL_CAP)
    password_min_length: int = Field(default=15, ge=8, le=128)
    password_slots: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    calls_at_once: int = Field(default=2000, ge=1)
    database_pool: int = Field(default=10, ge=2)
    drain_delay: DurationOrNone = 2 * SECOND
    metrics_listen: MetricsListen = ""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    # A field that is wrong itself is absent from `info.data`; then what it takes part in is not judged.

    @field_validator("plaintext")
    @classmethod
    def _check_transport(cls, plaintext: bool, info: ValidationInfo) -> bool:
        """Judge listen, tls_cert_file, tls_key_file and plaintext together."""
        if not {"listen", "tls_cert_file", "tls_key_file"} <= info.data.keys():
            return plaintext
        cert, key = info.data["tls_cert_file"], info.data["tls_key_file"]
        if bool(cert) != bool(key):
            raise ValueError(f"{PREFIX}TLS_CERT_FILE and {PREFIX}TLS_KEY_FILE must be given together")
        if cert is not None:
            check_pair(cert, key)
        elif not (plaintext and is_local_address(info.data["listen"])):
            raise ValueError(
                f"{PREFIX}TLS_CERT_FILE is missing; plaintext needs {PREFIX}PLAINTEXT=true and a {PREFIX}LISTEN "
                "on loopback or a Unix socket"
            )
        return plaintext

    @field_validator("key_rotation")
    @classmethod
    def _check_key_rotation(cls, rotation: int) -> int:
        if 0 < rotation < HOUR:
            raise ValueError("must be at least 1h, or 0s for never by itself")
        return rotation

    @field_validator("audit_retention")
    @classmethod
    def _check_audit_retention(cls, retention: int) -> int:
        if 0 < retention < DAY:
            raise ValueError("must be at least 1d, or 0s for ever")
        return retention

    @field_validator("session_absolute", "remember_absolute", "refresh_absolute")
    @classmethod
    def _check_lifetime(cls, absolute: int, info: ValidationInfo) -> int:
        idle = str(info.field_name).replace("absolute", "idle")
        if info.data.get(idle, 0) > absolute:
            raise ValueError(f"must not be shorter than {PREFIX}{idle.upper()}")
        return absolute

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

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port to show metrics on; None: nowhere."""
        host, _, port = self.metrics_listen.rpartition(":")
        return (host.strip("[]") or "127.0.0.1", int(port)) if port else None


class DatabaseSettings(_Environment):
    """What `authsvc migrate` needs."""

    database_url: DatabaseUrl


class OfflineSettings(DatabaseSettings):
    """What administration without a running server needs."""

    secret_keys: SecretKeys

    @property
    def secrets(self) -> DeploymentSecrets:
        """The deployment secrets."""
        return DeploymentSecrets(self.secret_keys.get_secret_value().split())


class AdminSettings(_Environment):
    """What the administration commands need to reach a server."""

    address: str = ""
    """Empty: the server that the same environment starts, see `listen`."""
    listen: Listen = DEFAULT_LISTEN
    client_key: SecretStr = SecretStr("")
    tls_ca_file: ReadableFile | None = None
    tls_cert_file: Path | None = None
    """Certificate of the server itself: what `authsvc health` beside a server trusts, if no authority is given."""
    plaintext: bool = False

    @field_validator("plaintext")
    @classmethod
    def _check_plaintext(cls, plaintext: bool, info: ValidationInfo) -> bool:
        if plaintext and not is_local_address(
            info.data["address"] or info.data.get("listen", DEFAULT_LISTEN)
        ):
            raise ValueError(f"plaintext needs an {PREFIX}ADDRESS on loopback or a Unix socket")
        return plaintext

    @property
    def target(self) -> str:
        """Where to call: `address`, else where the server of this environment listens, from this machine."""
        return self.address or self.listen.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")


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


def read_offline_settings(environ: Mapping[str, str] | None = None) -> OfflineSettings:
    """Return the settings of administration without a server. Raises SettingsWrong."""
    return _read(OfflineSettings, os.environ if environ is None else environ)


def read_admin_settings(environ: Mapping[str, str] | None = None) -> AdminSettings:
    """Return the administration commands' settings. Raises SettingsWrong."""
    return _read(AdminSettings, os.environ if environ is None else environ)


def _read(kind: type[_Kind], environ: Mapping[str, str]) -> _Kind:
    # A variable that is set to nothing is not set: that is how container and unit files leave one out.
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and value
    }
    mistakes = _unknown(given)
    unread = _read_files(kind, given)
    try:
        settings = kind(**{name: value for name, value in given.items() if name in kind.model_fields})
    except ValidationError as error:
        wrong = [_sentence(each) for each in error.errors() if _field(each) not in unread]
        raise SettingsWrong([*mistakes, *unread.values(), *wrong]) from None
    if mistakes or unread:
        raise SettingsWrong([*mistakes, *unread.values()])
    return settings


def _unknown(given: Mapping[str, str]) -> list[str]:
    known = {name for kind in (Settings, OfflineSettings, AdminSettings) for name in kind.model_fields}
    known |= {name.lower() for name in _FILES.values()}
    return [f"{PREFIX}{name.upper()} is no setting of this version" for name in sorted(set(given) - known)]


def _read_files(kind: type[_Environment], given: dict[str, str]) -> dict[str, str]:
    """Put the contents of the secret files that `kind` needs in the place of their settings.

    Return what is wrong with those that cannot be read, by the name of the setting.
    """
    mistakes = {}
    for name, variable in _FILES.items():
        path = given.pop(variable.lower(), None)
        if path is None or name not in kind.model_fields:
            continue
        if name in given:
            mistakes[name] = f"{PREFIX}{name.upper()} and {PREFIX}{variable} must not both be given"
            continue
        try:
            given[name] = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError):
            mistakes[name] = f"{PREFIX}{variable}: cannot read {path}"
    return mistakes


def _sentence(error: Any) -> str:
    """One mistake, with the variable and without the value: it may be a secret."""
    name = _field(error)
    variable = PREFIX + (_FILES[name] if name in _NAMED_BY_FILE else name.upper())
    if error["type"] == "missing":
        return f"{variable} is missing"
    said = error["msg"].removeprefix("Value error, ")
    return said if said.startswith(PREFIX) else f"{variable}: {said}"


def _field(error: Any) -> str:
    return str(error["loc"][0]) if error["loc"] else ""
