"""The settings, by who needs them. Leaves reading them to `authsvc.config`."""

from authsvc.settings.administration import AdminSettings, OfflineSettings
from authsvc.settings.edge import EdgeSettings
from authsvc.settings.given import PREFIX
from authsvc.settings.server import Settings
from authsvc.settings.stores import DatabaseSettings
from authsvc.settings.transport import DEFAULT_LISTEN, is_local_address

__all__ = [
    "DEFAULT_LISTEN",
    "PREFIX",
    "AdminSettings",
    "DatabaseSettings",
    "EdgeSettings",
    "OfflineSettings",
    "Settings",
    "is_local_address",
]
