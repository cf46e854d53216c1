"""Owns judging an access token on a request: signature, claims, audience, revocation. Never does any I/O.

Leaves what a token must look like to `authsvc_client.strict`, hearing of keys and revocations to
`authsvc_client.watching` and `key_refresh`, scopes to the policy of the call.
"""

from collections.abc import Callable

from authsvc_client.clock import Clock, wall_clock
from authsvc_client.strict import AccessToken, KeySet, TokenRevoked, UnknownKey, VerifiedTokens, WrongAudience
from authsvc_client.strict.profile import LEEWAY_MS
from authsvc_client.verifying.revocations import Revocations


class KeysUnavailable(Exception):
    """No key set has been had yet, so nothing can be judged: not knowing, which is not the same as refusing."""


class Verifier:
    """Verifies access tokens of one issuer for one audience. Safe to share between threads and loops.

    `revocations` is the view that is asked on every call; a watcher keeps it and the keys fresh. `on_unknown_key` is
    called, without arguments, whenever a token names a key that is not held; it must return at once.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        keys: KeySet | None = None,
        revocations: Revocations | None = None,
        leeway_ms: int = LEEWAY_MS,
        clock: Clock = wall_clock,
        limit: int = 10_000,
    ) -> None:
        """Remembers at most `limit` verified tokens. Raises ValueError without an issuer or an audience."""
        if not audience:
            raise ValueError("an audience is required")
        self.issuer = issuer
        self.audience = audience
        self.revocations = Revocations(clock=clock) if revocations is None else revocations
        self.on_unknown_key: Callable[[], None] | None = None
        self._keys = keys
        self._clock = clock
        self._verified = VerifiedTokens(issuer, leeway_ms=leeway_ms, limit=limit)

    @property
    def keys(self) -> KeySet | None:
        """The key set in force. None before the first."""
        return self._keys

    def use_keys(self, keys: KeySet) -> None:
        """Put a key set in force, for every call from now on. Remembered tokens of keys it lacks are refused."""
        self._keys = keys

    def verify(self, token: str) -> AccessToken:
        """The access token in `token`. Raises a TokenRejected; KeysUnavailable before there is a key set."""
        keys = self._keys
        if keys is None:
            raise KeysUnavailable
        try:
            access = self._verified.verify(token, keys, now=self._clock())
        except UnknownKey:
            if self.on_unknown_key is not None:
                self.on_unknown_key()
            raise
        if self.audience not in access.audiences:
            raise WrongAudience
        if self.revocations.revokes(access):
            raise TokenRevoked
        return access
