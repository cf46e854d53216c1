"""Owns the settings of browsers: whose pages may act for a user. Leaves judging them to `authsvc.core.origins`."""

from typing import Annotated

from pydantic import AfterValidator

from authsvc.core.origins import origin_of
from authsvc.settings.given import Given


def _origins(value: str) -> str:
    for origin in _split(value):
        if not origin.startswith(("https://", "http://")) or origin_of(origin) != origin:
            raise ValueError("must be origins such as https://app.example.com, separated by commas")
    return value


def _split(value: str) -> list[str]:
    return [origin.strip() for origin in value.split(",") if origin.strip()]


class WebSettings(Given):
    """Which pages a browser's cookies work for."""

    web_origins: Annotated[str, AfterValidator(_origins)] = ""
    """Separated by commas. Empty: the issuer's origin alone."""

    def origins(self, issuer: str) -> tuple[str, ...]:
        """Return the origins of this deployment's pages."""
        return tuple(_split(self.web_origins)) or (origin_of(issuer),)
