"""Owns what an HTTP request says: its bearer, from the header or the cookie, and whether its cookie may be believed.

A browser sends cookies with requests that other sites caused. So a request that brings its session as a cookie and may
change something must come from this site: `Sec-Fetch-Site`, else `Origin`, says so (a request with neither was not
made by a browser of today). A header is never sent unasked, so there it does not matter.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from authsvc_client.guarding import metadata
from authsvc_client.guarding.refusals import Refused

COOKIE: Final = "__Host-authsvc_session"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_OWN_SITE: Final = frozenset({"same-origin", "none"})


class Said(NamedTuple):
    """The bearer of a request, and the revision that must have been heard of (0: any)."""

    bearer: str
    min_revision: int


def read(
    method: str, headers: Sequence[tuple[str, str]], cookie_name: str, trusted_origins: Collection[str]
) -> Said:
    """What a request says; header names in lower case. `method` of a websocket: `WEBSOCKET`.

    An `authorization` header decides alone. Raises Refused: neither header nor cookie, two of one, another scheme, or
    a cookie that another site may have sent.
    """
    if any(name == "authorization" for name, _ in headers):
        return Said(*metadata.read(headers))
    token = _cookie(headers, cookie_name)
    if not token:
        raise Refused("CREDENTIALS_MISSING")
    if method not in _SAFE_METHODS:
        _require_own_site(headers, trusted_origins)
    return Said(*metadata.read([*headers, ("authorization", f"Bearer {token}")]))


def _cookie(headers: Sequence[tuple[str, str]], name: str) -> str:
    """The value of the one cookie of this name; empty without one. Raises Refused for two."""
    pairs = [pair.strip() for key, line in headers if key == "cookie" for pair in line.split(";")]
    found = {pair[len(name) + 1 :] for pair in pairs if pair.startswith(f"{name}=")}
    if len(found) > 1:
        raise Refused("CALLER_UNAUTHENTICATED")
    return found.pop() if found else ""


def _require_own_site(headers: Sequence[tuple[str, str]], trusted_origins: Collection[str]) -> None:
    said = dict(headers)
    origin, site = said.get("origin"), said.get("sec-fetch-site")
    if origin is not None and origin in trusted_origins:
        return
    is_from_here = origin is None or urlsplit(origin).netloc == said.get("host")
    if site not in _OWN_SITE and not (site is None and is_from_here):
        raise Refused("CALLER_NOT_PERMITTED")
