"""Owns access tokens and revocations for tests of a service that verifies them, without any authsvc running.

What is minted passes the same strict checks as the real thing, against the throw-away key of one minter. Leaves logging
in, refreshing and streams to `authsvc_client.testing.fake`.
"""

import json
from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

from authsvc_client.clock import Clock, wall_clock
from authsvc_client.strict import KeySet
from authsvc_client.strict.compact import split
from authsvc_client.testing.movable_clock import MovableClock
from authsvc_client.testing.throwaway_key import ThrowawayKey
from authsvc_client.verifying import Revocation, Revocations, Subject, Verifier

ISSUER: Final = "https://auth.test"
AUDIENCE: Final = "orders"
_TTL_MS: Final = 300_000
# As long as the longest access token, the leeway and a minute for clocks that disagree.
_FORBIDDEN_MS: Final = 15 * 60_000 + 15_000 + 60_000


class TokenMinter:
    """Mints access tokens of one issuer and revokes them in memory.

    Every `verifier()` of it trusts its key and sees its revocations at once, and its view
    counts as fresh until `lose_touch`.
    """

    def __init__(self, issuer: str = ISSUER, audience: str = AUDIENCE, *, clock: Clock = wall_clock) -> None:
        self.issuer = issuer
        self.audience = audience
        self._clock = clock
        self._silence = MovableClock(lambda: 0)
        self.revocations = Revocations(clock=clock, monotonic=self._silence)
        self.revocations.heard()
        self._key = ThrowawayKey()

    @property
    def jwks(self) -> str:
        """The public key as a JWK Set document (RFC 7517 §5), for a service that reads one."""
        return json.dumps({"keys": [self._key.jwk]})

    @property
    def keys(self) -> KeySet:
        """The public key, ready to verify with."""
        return KeySet.from_jwks(self.jwks)

    def verifier(self, audience: str | None = None) -> Verifier:
        """A verifier for this audience (the minter's own if None), as a service would have it."""
        return Verifier(
            self.issuer,
            audience or self.audience,
            keys=self.keys,
            revocations=self.revocations,
            clock=self._clock,
        )

    def mint(
        self,
        user_id: str | None = None,
        *,
        scopes: Sequence[str] = (),
        audiences: Sequence[str] | None = None,
        client_id: str = "app",
        session_id: str | None = None,
        ttl_ms: int = _TTL_MS,
        claims: dict[str, Any] | None = None,
    ) -> str:
        """An access token of `ttl_ms`, which may be negative: expired that long ago.

        A user or session that is not named is a new one. `claims` are put on top of the others, for hostile tokens too.
        """
        now = self._clock()
        issued_at = min(now, now + ttl_ms - _TTL_MS)
        content: dict[str, Any] = {
            "iss": self.issuer,
            "sub": user_id or str(uuid4()),
            "aud": [self.audience] if audiences is None else list(audiences),
            "client_id": client_id,
            "iat": issued_at // 1000,
            "exp": (now + ttl_ms) // 1000,
            "jti": str(uuid4()),
            "sid": session_id or str(uuid4()),
            "auth_time": issued_at // 1000,
            "amr": ["pwd"],
        }
        if scopes:
            content["scope"] = " ".join(scopes)
        return self._key.sign(content | (claims or {}))

    def metadata(self, user_id: str | None = None, **wanted: Any) -> tuple[tuple[str, str], ...]:
        """Metadata of a gRPC call with a token as `mint` makes it."""
        return bearer(self.mint(user_id, **wanted))

    def revoke(self, token: str) -> None:
        """Revoke the session of a token of this minter, even an expired one: all its tokens are refused from now on."""
        self.revoke_session(_claims(token)["sid"])

    def revoke_session(self, session_id: str) -> None:
        """Revoke a session."""
        self._add(Revocation(Subject.SESSION, session_id, self._clock() + _FORBIDDEN_MS))

    def revoke_user(self, user_id: str) -> None:
        """Revoke all that this user was issued until now, to the second."""
        now = self._clock()
        self._add(Revocation(Subject.USER, user_id, now + _FORBIDDEN_MS, now + 1))

    def taint_key(self) -> None:
        """Distrust the key that signed everything so far; sign with a new one from now on.

        Verifiers made before know the new one only when they are given `keys`.
        """
        self._add(Revocation(Subject.KEY, self._key.key_id, self._clock() + _FORBIDDEN_MS))
        self._key = ThrowawayKey()

    def lose_touch(self, milliseconds: int) -> None:
        """Let the view of revocations grow this much older, as if the stream had been cut."""
        self._silence.move(milliseconds)

    def regain_touch(self) -> None:
        """Be up to date again."""
        self.revocations.heard()

    def _add(self, entry: Revocation) -> None:
        self.revocations.apply([entry])
        if not self.revocations.age_ms():
            self.revocations.reach(self.revocations.revision + 1)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Metadata of a gRPC call that names its caller by this token or key."""
    return (("authorization", f"Bearer {token}"),)


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(split(token).payload)
    return claims
