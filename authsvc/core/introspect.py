"""Owns telling about a token of any kind (RFC 7662). Leaves each kind's own check to its room.

Whatever is wrong with a token, the answer is the same: None, not active. The kind is read off the token; a hint changes
nothing (RFC 7662 §2.1). A refresh token is active while it is the newest of a live session: asking neither uses it up
nor counts as a replay.
"""

from typing import NamedTuple

from authsvc.core.clock import SECOND, Clock
from authsvc.core.contracts import SessionStore
from authsvc.core.errors import (
    AccessTokenExpired,
    AccessTokenInvalid,
    AccessTokenRevoked,
    SessionNotActive,
)
from authsvc.core.model import RefreshState, Session
from authsvc.core.own_tokens import OwnTokens
from authsvc.core.tail import Tail
from authsvc.core.tokens import Kind, RefreshToken, TokenMint, TokenNotOurs, kind_of
from authsvc.core.validate import SessionValidator
from authsvc_client.strict import AccessToken

# How long a caller that follows the log may reuse an answer.
CACHE_FOR_MS = 5 * SECOND
_TOLD_REMEMBERED = 10_000


class Introspected(NamedTuple):
    """An active token. `session` is None for an access token: nothing but the token itself was looked at."""

    token_type: str
    user_id: str
    client_id: str
    session_id: str
    scopes: tuple[str, ...]
    audiences: tuple[str, ...]
    issued_at: int
    expires_at: int
    authenticated_at: int
    amr: tuple[str, ...]
    acr: str
    token_id: str = ""
    session: Session | None = None


class Introspect:
    """Tells about tokens."""

    def __init__(
        self,
        *,
        mint: TokenMint,
        validator: SessionValidator,
        sessions: SessionStore,
        own_tokens: OwnTokens,
        tail: Tail,
        clock: Clock,
    ) -> None:
        self._mint = mint
        self._validator = validator
        self._sessions = sessions
        self._own_tokens = own_tokens
        self._tail = tail
        self._clock = clock
        self._told: dict[str, Introspected] = {}

    async def introspect(self, token: str, audience: str) -> Introspected | None:
        """Return what an active token says; None for any other. With `audience`, only if the token is meant for it.

        Raises ViewTooOld, Overloaded, StoreUnavailable: not knowing is never "not active".
        """
        found: Introspected | None
        try:
            kind = kind_of(token)
            if kind is None:
                found = self._access(token)
                if not self._tail.is_fresh():
                    await self._tail.ensure_fresh()
                    found = self._access(token)
            else:
                found = await self._opaque(kind, token)
        except (TokenNotOurs, SessionNotActive, AccessTokenExpired, AccessTokenInvalid, AccessTokenRevoked):
            return None
        if found is None or (audience and audience not in found.audiences):
            return None
        return found

    async def _opaque(self, kind: Kind, token: str) -> Introspected | None:
        match kind:
            case Kind.SESSION:
                return await self._session(token)
            case Kind.REFRESH:
                return await self._refresh(self._mint.read_refresh(token))
        return None

    def cache_until(self, found: Introspected) -> int:
        """Return until when a caller that follows the log may reuse the answer."""
        return min(self._clock() + CACHE_FOR_MS, found.expires_at)

    def _access(self, token: str) -> Introspected:
        checked = self._own_tokens.check(token)
        return self._told.get(token) or self._tell(token, checked)

    def _tell(self, token: str, checked: AccessToken) -> Introspected:
        """Say what a token says, and remember it: that never changes, whatever becomes of the token."""
        if len(self._told) >= _TOLD_REMEMBERED:
            self._told.clear()
        told = self._told[token] = Introspected(
            "access_token",
            checked.subject,
            checked.client_id,
            checked.session_id,
            tuple(sorted(checked.scopes)),
            checked.audiences,
            checked.issued_at,
            checked.expires_at,
            checked.authenticated_at or 0,
            checked.amr,
            checked.acr,
            checked.token_id,
        )
        return told

    async def _session(self, token: str) -> Introspected:
        live = await self._validator.validate(token)
        return self._of_session("session_token", live.session, live.idle_expires_at)

    async def _refresh(self, presented: RefreshToken) -> Introspected | None:
        found = await self._sessions.get_refresh(presented.session_id)
        if found is None or not _is_newest(presented, *found, self._clock()):
            return None
        session = found[0]
        deadlines = (session.refresh_expires_at or 0, session.refresh_idle_expires_at or 0)
        return self._of_session("refresh_token", session, min(deadlines))

    def _of_session(self, token_type: str, session: Session, expires_at: int) -> Introspected:
        return Introspected(
            token_type,
            session.user_id,
            session.client_id,
            session.id,
            session.scopes,
            session.audiences,
            session.created_at,
            expires_at,
            session.authenticated_at,
            session.amr,
            session.acr,
            session=session,
        )


def _is_newest(presented: RefreshToken, session: Session, state: RefreshState, now: int) -> bool:
    absolute, idle = session.refresh_expires_at, session.refresh_idle_expires_at
    return (
        session.revoked_at is None
        and presented.generation == state.generation
        and presented.token_hash == state.refresh_hash
        and absolute is not None
        and idle is not None
        and now < min(absolute, idle)
    )
