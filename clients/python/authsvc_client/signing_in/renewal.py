"""Owns when a source's tokens are renewed and what becomes of the outcome. Leaves running it, as one task or one thread
at a time, to the sources.

Tokens are renewed ahead of their end, at about 80 % of their life, while calls go on with what there is; past it, calls
wait for the one renewal under way. A renewal takes the store's lock, looks whether another holder of the same session
has renewed already, and only then asks the server. The refresh token received is kept before anything else can fail.

After a failure the server is left alone for a while that doubles; after the session's end, for good.
"""

from dataclasses import dataclass, field, replace

import grpc

from authsvc.v1 import resources_pb2 as resources
from authsvc_client.signing_in.conversations import Conversations, PasswordOrder, Wanted
from authsvc_client.signing_in.errors import (
    ReceivedTokenRejected,
    SecondStepNeeded,
    SessionEnded,
    SignInFailed,
)
from authsvc_client.signing_in.reasons import code_of, reason_of, retry_after_ms
from authsvc_client.signing_in.received import Tokens
from authsvc_client.signing_in.steps import Pause, Steps
from authsvc_client.signing_in.stored import Stored, TokenStore

RENEW_AT = 0.8
_SPREAD = 0.05
# Not with the last second of a token: the call it goes with has yet to arrive.
_LAST_MS = 1000
_LOCK_POLL_MS = 20
_FIRST_REST_MS = 1000
_LONGEST_REST_MS = 30_000
# A service that refuses every token does not make us ask for one with every call.
_REFUSAL_REST_MS = 10_000

_WORTH_RENEWING = frozenset({"ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_REVOKED"})
_LOGIN_IS_FINAL = "INVALID_CREDENTIALS"
_REFUSED = 0


@dataclass(frozen=True, slots=True)
class Held:
    """The access token in use. Attached until `expires_at`, renewed from `renew_at` on (Unix milliseconds)."""

    bearer: str = field(repr=False)
    received_at: int
    renew_at: int
    expires_at: int


class Renewal:
    """The tokens of one source. Read by any thread; changed only by the renewal under way and by `refused`."""

    def __init__(
        self,
        conversations: Conversations,
        store: TokenStore,
        wanted: Wanted,
        *,
        origin: str,
        first: str = "",
        login: PasswordOrder | None = None,
    ) -> None:
        """`first` is the refresh token to begin with where the store has none of this `origin`; `login` is how to
        begin anew."""
        self._conversations = conversations
        self._clock = conversations.clock
        self._store = store
        self._wanted = wanted
        self._wanted_text = f"{' '.join(wanted.audiences)}|{' '.join(wanted.scopes)}"
        self._issuer = conversations.received.issuer
        self._origin = origin
        self._first = first
        self._login = login
        self._held: Held | None = None
        self._failure: SignInFailed | None = None
        self._failures = 0
        self._rest_until = 0
        self._refusal_rest_until = 0

    def ready(self) -> str | None:
        """The access token to attach now; None when there is none that would last."""
        held = self._held
        return held.bearer if held is not None and self._clock() < held.expires_at else None

    def is_due(self) -> bool:
        """Whether a renewal should be started now, if none is under way."""
        if isinstance(self._failure, SessionEnded):
            return False
        held, now = self._held, self._clock()
        return (held is None or now >= held.renew_at) and now >= self._rest_until

    def answer(self) -> str:
        """The access token, or why there is none. Raises SignInFailed and its kinds."""
        bearer, failure = self.ready(), self._failure
        if bearer is not None:
            return bearer
        if failure is not None:
            raise failure.again() from failure.__cause__
        raise SignInFailed("No token was received in time.", code=grpc.StatusCode.DEADLINE_EXCEEDED)

    def refused(self, bearer: str, reason: str) -> bool:
        """Take note that a service refused this token. Whether the call is worth one more try, with another token."""
        if reason not in _WORTH_RENEWING:
            return False
        held, now = self._held, self._clock()
        if held is None or held.bearer != bearer or held.expires_at == _REFUSED:
            return True
        if now < self._refusal_rest_until:
            return False
        self._refusal_rest_until = now + _REFUSAL_REST_MS
        self._held = replace(held, renew_at=_REFUSED, expires_at=_REFUSED)
        return True

    def renew(self) -> Steps[None]:
        """Renew, and keep what comes of it for `answer`. Raises nothing but defects."""
        try:
            tokens = yield from self._locked()
        except SessionEnded as ended:
            self._held, self._failure = None, ended
        except (grpc.RpcError, OSError) as error:
            self._rest(error)
        else:
            self._held, self._failure, self._failures = self._holding(tokens), None, 0

    def _locked(self) -> Steps[Tokens]:
        while not self._store.try_lock():
            yield Pause(_LOCK_POLL_MS)
        try:
            return (yield from self._obtain())
        finally:
            self._store.unlock()

    def _obtain(self) -> Steps[Tokens]:
        stored = self._stored()
        adopted = yield from self._adopt(stored)
        if adopted is not None:
            return adopted
        yield from self._conversations.received.prepare()
        if stored.refresh_token and not stored.ended:
            try:
                return (yield from self._refresh(stored))
            except SessionEnded as ended:
                self._store.write(replace(stored, refresh_token="", access_token="", ended=ended.reason))
                if self._login is None:
                    raise
        return (yield from self._log_in(stored))

    def _stored(self) -> Stored:
        """What the store has of this session, or what to begin with."""
        stored = self._store.read()
        if (
            stored is None
            or stored.issuer != self._issuer
            or (self._origin and stored.origin != self._origin)
        ):
            return Stored(self._issuer, self._origin, self._first)
        return stored

    def _adopt(self, stored: Stored) -> Steps[Tokens | None]:
        """The access token that another holder of this session has put there since, if it is any good here."""
        held = self._held
        is_news = stored.access_token and (held is None or stored.access_token != held.bearer)
        if not is_news or stored.wanted != self._wanted_text:
            return None
        if self._clock() >= _renew_at(stored.received_at, stored.expires_at, 0.5):
            return None
        pair = resources.TokenPair(access_token=stored.access_token, refresh_token=stored.refresh_token)
        try:
            tokens = yield from self._conversations.received.believe(
                pair, self._wanted.audiences, stored.received_at
            )
        except ReceivedTokenRejected:
            return None
        return replace(tokens, expires_at=min(tokens.expires_at, stored.expires_at))

    def _refresh(self, stored: Stored) -> Steps[Tokens]:
        asked_at = self._clock()
        response = yield from self._conversations.rotate(stored.refresh_token, self._wanted)
        kept = replace(stored, refresh_token=response.tokens.refresh_token, access_token="")
        try:
            tokens = yield from self._conversations.received.believe(
                response.tokens, self._wanted.audiences, asked_at
            )
        except ReceivedTokenRejected as rejected:
            if not rejected.is_forged:
                self._store.write(kept)
            raise
        except BaseException:
            # The keys to verify with could not be had, or nobody waits any more. The old token is spent all the same.
            self._store.write(kept)
            raise
        self._keep(stored, tokens)
        return tokens

    def _log_in(self, stored: Stored) -> Steps[Tokens]:
        if self._login is None:
            raise SessionEnded(stored.ended or "CREDENTIALS_MISSING")
        try:
            signed_in = yield from self._conversations.login(self._login)
        except SecondStepNeeded as needed:
            raise SessionEnded(needed.reason) from needed
        except grpc.RpcError as error:
            if reason_of(error) == _LOGIN_IS_FINAL:
                raise SessionEnded(_LOGIN_IS_FINAL) from error
            raise
        if signed_in.tokens is None:
            raise SignInFailed("The login gave no tokens.", code=grpc.StatusCode.FAILED_PRECONDITION)
        self._keep(stored, signed_in.tokens)
        return signed_in.tokens

    def _keep(self, stored: Stored, tokens: Tokens) -> None:
        self._store.write(
            replace(
                stored,
                refresh_token=tokens.refresh_token,
                access_token=tokens.access_token,
                wanted=self._wanted_text,
                received_at=tokens.received_at,
                expires_at=tokens.expires_at,
                ended="",
            )
        )

    def _holding(self, tokens: Tokens) -> Held:
        renew_at = _renew_at(tokens.received_at, tokens.expires_at, self._conversations.jitter())
        return Held(tokens.access_token, tokens.received_at, renew_at, tokens.expires_at - _LAST_MS)

    def _rest(self, error: grpc.RpcError | OSError) -> None:
        """Leave the server alone for a while: twice as long each time, or for as long as it asks."""
        self._failure = _as_failure(error)
        rest_ms = min(_FIRST_REST_MS << min(self._failures, 8), _LONGEST_REST_MS)
        asked_ms = retry_after_ms(error) if isinstance(error, grpc.RpcError) else None
        rest_ms = max(asked_ms or 0, round(rest_ms * (0.5 + self._conversations.jitter() / 2)))
        self._failures += 1
        self._rest_until = self._clock() + rest_ms


def _renew_at(received_at: int, expires_at: int, jitter: float) -> int:
    share = RENEW_AT + _SPREAD * (2 * jitter - 1)
    return received_at + round((expires_at - received_at) * share)


def _as_failure(error: grpc.RpcError | OSError) -> SignInFailed:
    if isinstance(error, SignInFailed):
        return error
    if isinstance(error, OSError):
        failure = SignInFailed(
            f"The token store cannot be used: {error}", code=grpc.StatusCode.FAILED_PRECONDITION
        )
    else:
        code, reason = code_of(error), reason_of(error)
        failure = SignInFailed(f"authsvc refused ({code.name} {reason}).", code=code, reason=reason)
    failure.__cause__ = error
    return failure
