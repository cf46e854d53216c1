"""Owns the settings of logging in. Leaves the rules to `authsvc.core`."""

import os
from typing import Annotated

from pydantic import AfterValidator, Field

from authsvc.core.clock import DAY
from authsvc.core.hashing_threads import HashCost
from authsvc.core.trusted_hops import EVERY_CLIENT, TrustedHops
from authsvc.settings.given import Given
from authsvc.settings.kinds import DurationOrNone

_MINIMUM = HashCost()


def _trusted(value: str) -> str:
    TrustedHops(value.split())
    return value


class LoginSettings(Given):
    """What a password must be, how much work at once is spent on checking them, and whose word counts."""

    password_min_length: int = Field(default=15, ge=8, le=128)
    totp_issuer: str = Field(default="", max_length=64, pattern=r"^[^:\x00-\x1f]*$")
    """What authenticator apps show beside the username; empty: the host of the issuer."""
    password_slots: int = Field(default_factory=lambda: max(1, (os.cpu_count() or 1) - 1), ge=1)
    password_memory_kib: int = Field(default=_MINIMUM.memory_kib, ge=_MINIMUM.memory_kib, le=1024 * 1024)
    password_passes: int = Field(default=_MINIMUM.time_cost, ge=_MINIMUM.time_cost, le=16)
    known_device: DurationOrNone = 90 * DAY
    """How long a device is known after a login from it; 0s: none is."""
    trusted_proxies: Annotated[str, AfterValidator(_trusted)] = EVERY_CLIENT
    """Whose word is taken on where a user is (core.trusted_hops), separated by spaces."""

    @property
    def hash_cost(self) -> HashCost:
        """What a hash costs."""
        return HashCost(self.password_memory_kib, self.password_passes)

    @property
    def hops(self) -> TrustedHops:
        """Whose word is taken on where a user is."""
        return TrustedHops(self.trusted_proxies.split())
