"""Owns all the settings of a server, joined. Leaves each subject's to the file named after it."""

from pydantic import Field

from authsvc.core.clock import SECOND
from authsvc.settings.http import HttpSettings
from authsvc.settings.kinds import DurationOrNone, Issuer
from authsvc.settings.lives import LifeSettings
from authsvc.settings.logging_in import LoginSettings
from authsvc.settings.signing import SigningSettings
from authsvc.settings.stores import StoreSettings
from authsvc.settings.traces import TraceSettings
from authsvc.settings.web import WebSettings


class Settings(
    LoginSettings, LifeSettings, SigningSettings, StoreSettings, HttpSettings, WebSettings, TraceSettings
):
    """What a server runs with. Times in milliseconds."""

    issuer: Issuer
    calls_at_once: int = Field(default=2000, ge=1)
    drain_delay: DurationOrNone = 2 * SECOND
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
