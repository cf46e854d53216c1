"""Owns the settings of logging in. Leaves the rules to `authsvc.core`."""

import os

from pydantic import Field

from authsvc.settings.given import Given


class LoginSettings(Given):
    """What a password must be, and how much work at once is spent on checking them."""

    password_min_length: int = Field(default=15, ge=8, le=128)
    totp_issuer: str = Field(default="", max_length=64, pattern=r"^[^:\x00-\x1f]*$")
    """What authenticator apps show beside the username; empty: the host of the issuer."""
    password_slots: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
