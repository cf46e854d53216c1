"""Owns what is published about this issuer: its key set (RFC 7517 §5) and its metadata (RFC 8414).

Public, and the same for everybody.
"""

import hashlib
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authsvc.core.clock import SECOND
from authsvc.core.signing_keys import KEY_SET_MAX_AGE_MS, Keys

KEY_SET_PATH = "/.well-known/jwks.json"
METADATA_PATH = "/.well-known/oauth-authorization-server"
# Anybody's page may read it, and any cache keep it for as long as verifiers do.
_PUBLIC = {
    "access-control-allow-origin": "*",
    "cache-control": f"public, max-age={KEY_SET_MAX_AGE_MS // SECOND}",
    "cross-origin-resource-policy": "cross-origin",
}


class KeySet:
    """Answers with the believable keys."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def answer(self, request: Request) -> Response:
        """Return the key set; nothing but a 304 to whoever has it already."""
        jwks = self._keys.ring.jwks.encode()
        tag = etag(jwks)
        headers = {**_PUBLIC, "etag": tag}
        if is_known(request, tag):
            return Response(status_code=304, headers=headers)
        return Response(jwks, headers=headers, media_type="application/jwk-set+json")


class Metadata:
    """Answers with the issuer's metadata. There is no OAuth endpoint to name: logins are calls of AuthService."""

    def __init__(self, issuer: str) -> None:
        url = urlsplit(issuer)
        self.paths = {METADATA_PATH, METADATA_PATH + url.path.rstrip("/")}  # RFC 8414 §3.1
        self._content = {
            "issuer": issuer,
            "jwks_uri": f"{url.scheme}://{url.netloc}{KEY_SET_PATH}",
            "grant_types_supported": [],
            "response_types_supported": [],
        }

    async def answer(self, request: Request) -> Response:
        """Return the metadata."""
        return JSONResponse(self._content, headers=_PUBLIC)


def etag(content: bytes) -> str:
    """Return a strong entity tag (RFC 9110 §8.8.3)."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether whoever asks has what this tag stands for already (RFC 9110 §13.1.2)."""
    said = request.headers.get("if-none-match", "")
    return said.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in said.split(","))
