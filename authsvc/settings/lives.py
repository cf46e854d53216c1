"""Owns the settings of how long things live. Leaves what that means to `authsvc.core.lifetimes`."""

from pydantic import Field, ValidationInfo, field_validator

from authsvc.core.clock import DAY, HOUR, MINUTE
from authsvc.core.lifetimes import ACCESS_TTL_CAP, Lifetimes
from authsvc.settings.given import PREFIX, Given
from authsvc.settings.kinds import Duration


class LifeSettings(Given):
    """Idle and absolute lives, in milliseconds."""

    session_idle: Duration = 30 * MINUTE
    session_absolute: Duration = Field(default=12 * HOUR, validate_default=True)
    remember_idle: Duration = 14 * DAY
    remember_absolute: Duration = Field(default=90 * DAY, validate_default=True)
    refresh_idle: Duration = 30 * DAY
    refresh_absolute: Duration = Field(default=90 * DAY, validate_default=True)
    access_ttl: Duration = Field(default=5 * MINUTE, le=ACCESS_TTL_CAP)

    @field_validator("session_absolute", "remember_absolute", "refresh_absolute")
    @classmethod
    def _check_lifetime(cls, absolute: int, info: ValidationInfo) -> int:
        idle = str(info.field_name).replace("absolute", "idle")
        if info.data.get(idle, 0) > absolute:
            raise ValueError(f"must not be shorter than {PREFIX}{idle.upper()}")
        return absolute

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
