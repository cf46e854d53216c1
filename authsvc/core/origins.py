"""Owns telling our own pages from others': a browser sends cookies by itself, so a request must show where it began.

Every browser says so on what changes anything: `origin`, and the newer `sec-fetch-site`. Neither can be set by a page.
"""

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from authsvc.core.errors import OriginNotAllowed

_SAME = "same-origin"


class Origins:
    """The origins whose pages may act for a user whose cookies come along."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(allowed)

    def check(self, origins: Sequence[str], sites: Sequence[str], needed: bool = True) -> None:
        """Return if a request began at a page of ours. Raises OriginNotAllowed.

        `origins` and `sites` are all values of the two headers. Unless `needed`, saying nothing will do: for callers
        that no browser can be, since they hold a key of their own.
        """
        if not origins and not sites and not needed:
            return
        if len(origins) > 1 or len(sites) > 1:
            raise OriginNotAllowed
        if origins:
            if origins[0] not in self._allowed:
                raise OriginNotAllowed
        elif tuple(sites) != (_SAME,):
            raise OriginNotAllowed


def origin_of(url: str) -> str:
    """Return the origin of a URL as browsers write it (RFC 6454 §6.2): no path, no default port."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    plain = parts.port in (None, {"https": 443, "http": 80}.get(parts.scheme))
    return f"{parts.scheme}://{host}" if plain else f"{parts.scheme}://{host}:{parts.port}"
