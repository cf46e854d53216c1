"""Owns what an access token says and how long it lives. Leaves keys to core.signing_keys, checking to authsvc_client.

Claims are built in one place from named fields (RFC 9068 §2.2): there is no way in for a name, an e-mail address or
any other personal data.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from authsvc.core.clock import SECOND
from authsvc.core.ids import RandomBytes, new_id
from authsvc.core.lifetimes import ACCESS_TTL_CAP
from authsvc.core.model import Session
from authsvc.core.signing_keys import Keys

ACCESS_TOKEN_MAX_BYTES = 2048
_JSON = json.JSONEncoder(separators=(",", ":"))  # made once: json.dumps makes one for each token


class AccessTokenTooLarge(Exception):
    """Scopes and audiences make the token larger than 2 KiB, more than metadata can carry on every call."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed access token: the JWT, for the caller only, and what it grants."""

    text: str = field(repr=False)
    expires_at: int
    scopes: tuple[str, ...]
    audiences: tuple[str, ...]


class AccessTokens:
    """Issues access tokens for sessions."""

    def __init__(self, issuer: str, ttl_ms: int, keys: Keys, random_bytes: RandomBytes) -> None:
        self._issuer = issuer
        self._ttl_ms = min(ttl_ms, ACCESS_TTL_CAP)
        self._keys = keys
        self._random_bytes = random_bytes

    def issue(
        self, session: Session, audiences: Sequence[str], scopes: Sequence[str], now: int
    ) -> AccessToken:
        """Return a token for these audiences and scopes, which the caller has checked. Raises AccessTokenTooLarge."""
        expires_at = min(now + self._jittered_ttl(), _last_deadline(session)) // SECOND * SECOND
        claims = {
            "iss": self._issuer,
            "sub": session.user_id,
            "aud": list(audiences),
            "client_id": session.client_id,
            "iat": now // SECOND,
            "exp": expires_at // SECOND,
            "jti": new_id(now, self._random_bytes),
            "sid": session.id,
            "scope": " ".join(scopes),
            "auth_time": session.authenticated_at // SECOND,
            "acr": session.acr,
            "amr": list(session.amr),
        }
        if not scopes:
            del claims["scope"]  # No scope is no claim, never an empty one (RFC 6749 §3.3).
        text = self._sign(claims)
        return AccessToken(text, expires_at, tuple(scopes), tuple(audiences))

    def ensure_signer(self) -> None:
        """Return if tokens can be signed now: to be asked before anything is used up for one. Raises
        SigningKeyUnusable."""
        self._keys.ring.signer  # noqa: B018  asked for what it raises

    def _jittered_ttl(self) -> int:
        """The lifetime, shortened by 0 to 5 % so that tokens issued together do not all end together."""
        return self._ttl_ms - self._ttl_ms * self._random_bytes(1)[0] // (20 * 256)

    def _sign(self, claims: dict[str, Any]) -> str:
        text = self._keys.ring.signer.sign(_JSON.encode(claims).encode())
        if len(text) > ACCESS_TOKEN_MAX_BYTES:
            raise AccessTokenTooLarge
        return text


def _last_deadline(session: Session) -> int:
    return max(session.session_expires_at or 0, session.refresh_expires_at or 0)
