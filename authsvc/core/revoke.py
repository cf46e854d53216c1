"""Owns revoking: whose sessions end, on whose word, and why. Leaves the transaction to the session store.

Idempotent (RFC 7009 §2.2): what is unknown, expired or revoked already is simply revoked. A token's holder may end its
session; a registered client only sessions of its own.
"""

from dataclasses import dataclass, field, replace

from authsvc.core.announce import Announcer
from authsvc.core.callers import Caller
from authsvc.core.clock import Clock
from authsvc.core.contracts import Revoked, RevokeOrder, SessionStore, StoreUnavailable
from authsvc.core.errors import (
    AccessTokenRevoked,
    CallerNotPermitted,
    CredentialsMissing,
    InvalidRequest,
    Refusal,
)
from authsvc.core.lifetimes import REVOCATION_GRACE
from authsvc.core.model import AuditEvent, Permission, RevokeReason, Session
from authsvc.core.operation import Asked
from authsvc.core.own_tokens import OwnTokens
from authsvc.core.tokens import Kind, TokenMint, TokenNotOurs, kind_of
from authsvc.core.view import View

NOTHING = Revoked(0, (), ())
# Reasons that only the service itself, or an admin, may give.
_RESERVED = frozenset(
    {
        RevokeReason.ADMIN,
        RevokeReason.PASSWORD_CHANGED,
        RevokeReason.ACCOUNT_DISABLED,
        RevokeReason.REFRESH_TOKEN_REUSED,
        RevokeReason.EXPIRED,
    }
)


@dataclass(frozen=True, slots=True)
class ByToken:
    """The session of this token, of any kind."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BySession:
    """This session."""

    session_id: str


@dataclass(frozen=True, slots=True)
class ByUser:
    """All sessions of this user."""

    user_id: str


@dataclass(frozen=True, slots=True)
class OtherSessions:
    """All sessions of the calling user but the calling one."""


Target = ByToken | BySession | ByUser | OtherSessions


class Revoke:
    """Ends sessions."""

    def __init__(
        self,
        sessions: SessionStore,
        view: View,
        announcer: Announcer,
        mint: TokenMint,
        own_tokens: OwnTokens,
        clock: Clock,
    ) -> None:
        self._sessions = sessions
        self._view = view
        self._announcer = announcer
        self._mint = mint
        self._own_tokens = own_tokens
        self._clock = clock

    async def revoke(self, target: Target, reason: RevokeReason, asked: Asked) -> Revoked:
        """End what the target names; return what was live, and a revision by which it has ended (0: nothing by that
        name). Raises CallerNotPermitted, CredentialsMissing, InvalidRequest, StoreUnavailable."""
        if reason in _RESERVED and not asked.caller.has(Permission.ADMIN):
            raise InvalidRequest(("reason", "is one that only an admin may give"))
        revoked = await self._revoke(target, reason, asked)
        if revoked is None:
            return NOTHING
        await self._announcer.announce(revoked)
        if not revoked.revision:
            # It had ended before, perhaps by a call whose reply got lost: who asks again reads their revocation too.
            return replace(revoked, revision=self._view.revision)
        return revoked

    async def _revoke(self, target: Target, reason: RevokeReason, asked: Asked) -> Revoked | None:
        """End what the target names. None: there is nothing by that name."""
        match target:
            case ByToken(token):
                return await self._by_token(token, reason, asked)
            case BySession(session_id):
                return await self._by_session(session_id, reason, asked)
            case ByUser(user_id):
                _require_own(asked.caller, user_id)
                return await self._sessions.revoke_user(user_id, self._order(reason, asked, user_id=user_id))
        caller = asked.caller
        if not caller.user_id:
            raise CallerNotPermitted if caller.is_known else CredentialsMissing
        order = self._order(reason, asked, user_id=caller.user_id)
        return await self._sessions.revoke_user(caller.user_id, order, keep_session_id=caller.session_id)

    async def _by_token(self, token: str, reason: RevokeReason, asked: Asked) -> Revoked | None:
        try:
            session = await self._session_of(token)
        except AccessTokenRevoked:
            return NOTHING  # It has ended already.
        if session is None:
            return None
        caller = asked.caller
        if caller.is_known and caller.client_id != session.client_id and not caller.has(Permission.ADMIN):
            raise CallerNotPermitted
        return await self._end(session, reason, asked)

    async def _by_session(self, session_id: str, reason: RevokeReason, asked: Asked) -> Revoked | None:
        caller = asked.caller
        if not caller.user_id and not caller.has(Permission.ADMIN):
            raise CallerNotPermitted if caller.is_known else CredentialsMissing
        session = await self._sessions.get(session_id, urgent=True)
        if session is None:
            return None
        _require_own(caller, session.user_id)
        return await self._end(session, reason, asked)

    async def _end(self, session: Session, reason: RevokeReason, asked: Asked) -> Revoked:
        if session.revoked_at is not None:
            return NOTHING
        order = self._order(reason, asked, user_id=session.user_id, session_id=session.id)
        try:
            return await self._sessions.revoke(session.id, order)
        except StoreUnavailable:
            # Nobody knows whether that was done: look whether the session has ended, by this or another hand.
            found = await self._sessions.get(session.id, urgent=True)
            if found is None or found.revoked_at is None:
                raise
            return NOTHING

    async def _session_of(self, token: str) -> Session | None:
        """Return the session of a token that is ours. Any generation of a refresh token names its session; an access
        token only while it is good. Raises AccessTokenRevoked."""
        try:
            match kind_of(token):
                case Kind.SESSION:
                    session_hash = self._mint.hash_of(Kind.SESSION, token)
                    return await self._sessions.get_by_session_hash(session_hash, urgent=True)
                case Kind.REFRESH:
                    return await self._sessions.get(self._mint.read_refresh(token).session_id, urgent=True)
                case Kind.CLIENT_KEY:
                    return None
            return await self._sessions.get(self._own_tokens.check(token).session_id, urgent=True)
        except AccessTokenRevoked:
            raise
        except (TokenNotOurs, Refusal):
            return None

    def _order(self, reason: RevokeReason, asked: Asked, user_id: str, session_id: str = "") -> RevokeOrder:
        now = self._clock()
        reason = (
            reason if reason is not RevokeReason.UNSPECIFIED else _implied(asked.caller, user_id, session_id)
        )
        audit = AuditEvent(
            "session.revoked",
            now,
            actor=asked.caller.actor,
            user_id=user_id,
            session_id=session_id,
            client_id=asked.caller.client_id,
            device=asked.device,
            reason=reason.value,
        )
        return RevokeOrder(now, reason, REVOCATION_GRACE, audit)


def _implied(caller: Caller, user_id: str, session_id: str) -> RevokeReason:
    if caller.has(Permission.ADMIN) and caller.user_id != user_id:
        return RevokeReason.ADMIN
    return RevokeReason.USER if caller.user_id and caller.session_id != session_id else RevokeReason.LOGOUT


def _require_own(caller: Caller, user_id: str) -> None:
    if caller.has(Permission.ADMIN) or (caller.user_id and caller.user_id == user_id):
        return
    raise CallerNotPermitted if caller.is_known else CredentialsMissing
