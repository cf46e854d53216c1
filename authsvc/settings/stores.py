"""Owns the settings of the stores. Leaves opening them to `authsvc.stores`."""

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from authsvc.core.clock import DAY
from authsvc.settings.given import PREFIX, Given
from authsvc.settings.kinds import AuthoritiesFile, CacheUrl, DatabaseUrl, Duration, DurationOrNone

_UNSAFE = f"{PREFIX}UNSAFE_UNVERIFIED_STORES be true"


class DatabaseSettings(Given):
    """What `authsvc migrate` needs."""

    unsafe_unverified_stores: bool = False
    """Whether stores on other machines may be spoken to without proof of who they are, or in the clear."""
    database_ca_file: AuthoritiesFile | None = None
    database_url: DatabaseUrl

    # A field that is wrong itself is absent from `info.data`; then what it takes part in is not judged.

    @field_validator("database_url")
    @classmethod
    def _complete_database_url(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        # Late: what does not open a database need not load the library.
        from authsvc.stores.sql import address, tls

        given, authorities = url.get_secret_value(), info.data.get("database_ca_file")
        if authorities is not None:
            given = address.with_authorities(given, authorities)
        parsed = address.parse(given)
        if address.is_postgresql(parsed):
            tls.tls_of(parsed)  # raises if it cannot be done
            if not (info.data.get("unsafe_unverified_stores", True) or tls.is_verified(parsed)):
                raise ValueError(f"sslmode must be verify-full for another machine, or {_UNSAFE}")
        return SecretStr(given)


class StoreSettings(DatabaseSettings):
    """Where truth and cache are, and how long what is over is kept."""

    database_pool: int = Field(default=10, ge=2)
    cache_ca_file: AuthoritiesFile | None = None
    cache_url: CacheUrl
    session_retention: Duration = 7 * DAY
    """How long sessions are kept after they have ended."""
    audit_retention: DurationOrNone = 365 * DAY
    """How long audit events are kept; 0s: for ever."""

    @field_validator("cache_url")
    @classmethod
    def _complete_cache_url(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        from authsvc.stores.valkey import address  # late, like the database's

        given, authorities = url.get_secret_value(), info.data.get("cache_ca_file")
        if given == "none":
            return url
        if authorities is not None:
            given = address.with_option(given, "ca_file", str(authorities))
        if info.data.get("unsafe_unverified_stores", True):
            given = address.with_option(given, "unsafe_plaintext", "true")
        try:
            for server in address.parse_cache_url(given).servers:
                server.ensure_verified()
        except address.NotVerified:
            raise ValueError(f"must begin with rediss for another machine, or {_UNSAFE}") from None
        return SecretStr(given)

    @field_validator("session_retention")
    @classmethod
    def _check_session_retention(cls, retention: int) -> int:
        if retention < DAY:
            raise ValueError("must be at least 1d")
        return retention

    @field_validator("audit_retention")
    @classmethod
    def _check_audit_retention(cls, retention: int) -> int:
        if 0 < retention < DAY:
            raise ValueError("must be at least 1d, or 0s for ever")
        return retention
