"""Owns the settings of what signs and seals. Leaves using the keys to `authsvc.core`."""

from pydantic import Field, field_validator

from authsvc.core.clock import DAY, HOUR
from authsvc.core.secrets import DeploymentSecrets
from authsvc.settings.given import Given
from authsvc.settings.kinds import DurationOrNone, SecretKeys, SigningKeyPem


class SecretSettings(Given):
    """The deployment secrets."""

    secret_keys: SecretKeys
    """One secret a line, each at least 32 bytes; the first is current."""

    @property
    def secrets(self) -> DeploymentSecrets:
        """The deployment secrets."""
        return DeploymentSecrets(self.secret_keys.get_secret_value().split())


class SigningSettings(SecretSettings):
    """What signs access tokens."""

    signing_key: SigningKeyPem | None = None
    signing_algorithm: str = Field(default="ES256", pattern="^(ES256|EdDSA|RS256)$")
    key_rotation: DurationOrNone = 7 * DAY
    """How long a managed key signs; 0s: until `authsvc key rotate`."""

    @field_validator("key_rotation")
    @classmethod
    def _check_key_rotation(cls, rotation: int) -> int:
        if 0 < rotation < HOUR:
            raise ValueError("must be at least 1h, or 0s for never by itself")
        return rotation
