"""Owns the settings of the stores. Leaves opening them to `authsvc.stores`."""

from pydantic import Field, field_validator

from authsvc.core.clock import DAY
from authsvc.settings.given import Given
from authsvc.settings.kinds import CacheUrl, DatabaseUrl, Duration, DurationOrNone


class DatabaseSettings(Given):
    """What `authsvc migrate` needs."""

    database_url: DatabaseUrl


class StoreSettings(DatabaseSettings):
    """Where truth and cache are, and how long what is over is kept."""

    database_pool: int = Field(default=10, ge=2)
    cache_url: CacheUrl
    session_retention: Duration = 7 * DAY
    """How long sessions are kept after they have ended."""
    audit_retention: DurationOrNone = 365 * DAY
    """How long audit events are kept; 0s: for ever."""

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
