"""Owns the fake's memory: who there is, which token is whose, and the key that signs. Leaves the rules to its callers.

Everything is guarded by one lock, `log.changed`, which the servicer holds while it answers.
"""

import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from authsvc.v1 import resources_pb2 as resources
from authsvc_client.clock import Clock
from authsvc_client.strict import AccessToken, KeySet, TokenExpired, TokenRejected, verify_access_token
from authsvc_client.testing.fake.log import Log
from authsvc_client.testing.fake.messages import public_key
from authsvc_client.testing.fake.records import Client, Lifetimes, Session, User
from authsvc_client.testing.fake.refusals import Refused, invalid
from authsvc_client.testing.throwaway_key import ThrowawayKey

# Bytes in each kind of token, so that its text is as long as a real one.
_BYTES: Final = {"ats_": 42, "atc_": 42, "atr_": 63}


class Deployment:
    """All that a fake authsvc knows."""

    def __init__(self, issuer: str, clock: Clock, lifetimes: Lifetimes, heartbeat_ms: int) -> None:
        self.issuer = issuer
        self.clock = clock
        self.lifetimes = lifetimes
        self.users: dict[str, User] = {}
        self.clients: dict[str, Client] = {}
        self.sessions: dict[str, Session] = {}
        self.log = Log(clock, self.public_keys, heartbeat_ms)
        self._client_keys: dict[str, str] = {}
        self._session_tokens: dict[str, str] = {}
        # Every refresh token ever made, with its session and generation: reuse is told as long as the session lives.
        self._refresh_tokens: dict[str, tuple[str, int]] = {}
        self._new_key()

    @property
    def jwks(self) -> str:
        """The public key as a JWK Set document (RFC 7517 §5)."""
        return json.dumps({"keys": [self._key.jwk]})

    def public_keys(self) -> list[resources.PublicKey]:
        """The key set as messages."""
        return [public_key(self._key, self._key_created_at)]

    def taint_key(self) -> str:
        """Distrust the key, go on with a new one; return the old one's id."""
        old = self._key.key_id
        self._new_key()
        self.log.keys_changed()
        return old

    def client_key(self, client_id: str) -> str:
        """Make a key for a client."""
        key = _token("atc_")
        self._client_keys[key] = client_id
        return key

    def client_of_key(self, key: str) -> Client | None:
        """The client that holds the key."""
        return self.clients.get(self._client_keys.get(key, ""))

    def session_token(self, session: Session) -> str:
        """Make the session's session token."""
        token = _token("ats_")
        self._session_tokens[token] = session.id
        return token

    def by_session_token(self, token: str) -> Session | None:
        """The session of a session token, ended or not."""
        return self.sessions.get(self._session_tokens.get(token, ""))

    def refresh_token(self, session: Session) -> str:
        """Make the session's next refresh token, of its present generation."""
        token = _token("atr_")
        self._refresh_tokens[token] = (session.id, session.generation)
        session.previous, session.newest = session.newest, token
        return token

    def by_refresh_token(self, token: str) -> tuple[Session, int] | None:
        """The session of a refresh token, ended or not, and the token's generation."""
        session_id, generation = self._refresh_tokens.get(token, ("", 0))
        session = self.sessions.get(session_id)
        return None if session is None else (session, generation)

    def access_token(
        self, session: Session, audiences: Sequence[str], scopes: Sequence[str]
    ) -> tuple[str, int]:
        """Mint an access token; return it and when it ends (Unix ms, whole seconds)."""
        now = self.clock()
        expires_at = min(now + self.lifetimes.access_ms, session.last_deadline) // 1000 * 1000
        claims = {
            "iss": self.issuer,
            "sub": session.user.id,
            "aud": list(audiences),
            "client_id": session.client_id,
            "iat": now // 1000,
            "exp": expires_at // 1000,
            "jti": str(uuid4()),
            "sid": session.id,
            "auth_time": session.created_at // 1000,
            "amr": ["pwd"],
        }
        if scopes:
            claims["scope"] = " ".join(scopes)
        return self._key.sign(claims), expires_at

    def check_access_token(self, token: str) -> AccessToken:
        """What a good access token says. Raises Refused."""
        try:
            access = verify_access_token(token, self._all_keys, issuer=self.issuer, now=self.clock())
        except TokenExpired:
            raise Refused("ACCESS_TOKEN_EXPIRED") from None
        except TokenRejected:
            raise Refused("ACCESS_TOKEN_INVALID") from None
        session = self.sessions.get(access.session_id)
        if session is None or session.revoked_at is not None:
            raise Refused("ACCESS_TOKEN_REVOKED")
        return access

    def _new_key(self) -> None:
        self._key = ThrowawayKey()
        self._key_created_at = self.clock()
        self._all_keys = KeySet.from_jwks(self.jwks)


def narrowed(allowed: Sequence[str], wanted: Sequence[str], field: str) -> tuple[str, ...]:
    """All that is allowed, or the wanted part of it. Raises Refused if more is wanted."""
    if not set(wanted) <= set(allowed):
        raise invalid(field)
    return tuple(dict.fromkeys(wanted)) or tuple(allowed)


def _token(prefix: str) -> str:
    return prefix + urlsafe_b64encode(secrets.token_bytes(_BYTES[prefix])).decode()
