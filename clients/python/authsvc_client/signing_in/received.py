"""Owns believing what authsvc hands out: every access token is verified against the issuer's keys before anyone may use
it. Leaves attaching and renewing to others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from authsvc_client.clock import Clock
from authsvc_client.signing_in.asking import ask
from authsvc_client.signing_in.errors import ReceivedTokenRejected
from authsvc_client.signing_in.steps import Call, Steps
from authsvc_client.strict import (
    AccessToken,
    KeySet,
    KeySetRefused,
    TokenExpired,
    TokenNotYetValid,
    TokenRejected,
    UnknownKey,
    WrongAudience,
    require_audience,
    verify_access_token,
)

# A clock that is wrong here must not keep anybody from signing in: whoever is shown the token judges its times again.
LEEWAY_MS = 5 * 60_000
_CALL_TIMEOUT_MS = 5000
# What may be wrong with a token that the issuer itself signed.
_OWN_MISTAKES = (TokenExpired, TokenNotYetValid, WrongAudience)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A verified pair. `received_at` and `expires_at` are Unix milliseconds by the clock of this machine.

    `refresh_expires_at` is when the refresh token ends unless it is used before; None when there is no refresh token.
    """

    access_token: str = field(repr=False)
    access: AccessToken
    refresh_token: str = field(repr=False)
    refresh_expires_at: int | None
    received_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a login or a refresh gave. `session_token` is empty and `tokens` None where none was issued.

    `device_token`, of a login: keep it on the user's device, and say it at the next login from there. With it the user
    is not slowed down while others guess at the account.
    """

    session: resources.Session
    session_token: str = field(repr=False)
    tokens: Tokens | None
    replayed: bool = False
    device_token: str = field(default="", repr=False)


class ReceivedTokens:
    """Verifies access tokens as they are received, against keys that it fetches itself."""

    def __init__(
        self, issuer: str, clock: Clock, jitter: Callable[[], float], leeway_ms: int = LEEWAY_MS
    ) -> None:
        if not issuer:
            raise ValueError("an issuer is required")
        self.issuer = issuer
        self._clock = clock
        self._jitter = jitter
        self._leeway_ms = leeway_ms
        self._keys: KeySet | None = None
        self._keys_until = 0

    def prepare(self) -> Steps[None]:
        """Have keys at hand before a token is spent on an answer that could then not be believed.

        Keys past their time are used on if newer ones cannot be had. Raises grpc.RpcError when there are none at all.
        """
        if self._keys is not None and self._clock() < self._keys_until:
            return
        try:
            yield from self._fetch()
        except grpc.RpcError:
            if self._keys is None:
                raise

    def believe(self, pair: resources.TokenPair, audiences: Sequence[str], asked_at: int) -> Steps[Tokens]:
        """Return the pair, verified. Raises ReceivedTokenRejected, grpc.RpcError (keys could not be had).

        The token's life is counted from when it was asked for, by this machine's clock, however wrong that is.
        """
        access = yield from self.verify(pair.access_token, audiences)
        return Tokens(
            access_token=pair.access_token,
            access=access,
            refresh_token=pair.refresh_token,
            refresh_expires_at=_milliseconds(pair.refresh_expire_time) if pair.refresh_token else None,
            received_at=asked_at,
            expires_at=asked_at + access.expires_at - access.issued_at,
        )

    def verify(self, token: str, audiences: Sequence[str]) -> Steps[AccessToken]:
        """Return the verified token, meant for each of `audiences`. Raises as `believe` does."""
        yield from self.prepare()
        try:
            return self._checked(token, audiences)
        except UnknownKey:
            yield from self._fetch()
        except TokenRejected as rejected:
            raise _rejection(rejected) from rejected
        try:
            return self._checked(token, audiences)
        except TokenRejected as rejected:
            raise _rejection(rejected) from rejected

    def _checked(self, token: str, audiences: Sequence[str]) -> AccessToken:
        access = verify_access_token(
            token, self._keys or KeySet(), issuer=self.issuer, now=self._clock(), leeway_ms=self._leeway_ms
        )
        for audience in audiences:
            require_audience(access, audience)
        return access

    def _fetch(self) -> Steps[None]:
        call = Call("GetKeySet", pb.GetKeySetRequest(), _CALL_TIMEOUT_MS, "")
        response: pb.GetKeySetResponse = yield from ask(call, self._clock, self._jitter)
        try:
            self._keys = KeySet.from_jwks(response.jwks)
        except KeySetRefused as refused:
            raise ReceivedTokenRejected("The key set is not acceptable.", is_forged=True) from refused
        self._keys_until = self._clock() + response.max_age.ToMilliseconds()


def _rejection(rejected: TokenRejected) -> ReceivedTokenRejected:
    return ReceivedTokenRejected(rejected.message, is_forged=not isinstance(rejected, _OWN_MISTAKES))


def _milliseconds(time: Timestamp) -> int:
    return time.ToMilliseconds()
