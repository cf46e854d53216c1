"""Owns whom a guarded call speaks for, and handing that to its handler. Leaves finding it out to the interceptors.

A contextvar carries it: every RPC runs in a context of its own, so nothing leaks from one call to the next. An access
token becomes a `Principal` only when a handler asks.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from authsvc.v1.resources_pb2 import Session
from authsvc_client.strict import AccessToken
from authsvc_client.verifying import Revocations


class NoPrincipal(LookupError):
    """There is no guarded call here: the method is public, or this is not the context of a call."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The user behind a call, and the session the call belongs to.

    `…_at` are Unix milliseconds; `expires_at` is when the token, or the session unless it is used before, ends.
    `token` is the verified access token, None if the caller sent a session token.
    """

    user_id: str
    client_id: str
    session_id: str
    scopes: frozenset[str]
    audiences: tuple[str, ...]
    amr: tuple[str, ...]
    authenticated_at: int | None
    issued_at: int
    expires_at: int
    token: AccessToken | None = field(default=None, repr=False)
    acr: str = ""

    @classmethod
    def of_token(cls, token: AccessToken) -> "Principal":
        """Whom a verified access token speaks for."""
        return cls(
            token.subject,
            token.client_id,
            token.session_id,
            token.scopes,
            token.audiences,
            token.amr,
            token.authenticated_at,
            token.issued_at,
            token.expires_at,
            token,
            token.acr,
        )

    @classmethod
    def of_session(cls, session: Session) -> "Principal":
        """Whom an active session speaks for."""
        created_at = _milliseconds(session.create_time)
        authenticated_at = _milliseconds(session.auth_time) if session.HasField("auth_time") else created_at
        return cls(
            session.user_id,
            session.client_id,
            session.id,
            frozenset(session.scopes),
            tuple(session.audiences),
            tuple(session.amr),
            authenticated_at,
            created_at,
            _milliseconds(session.session_idle_expire_time),
            acr=session.acr,
        )


Who = AccessToken | Principal
"""Whom a call speaks for, as it was found out: by an access token, or by a session."""

_NO_CLAIMS: Final[MappingProxyType[str, object]] = MappingProxyType({})
_current: ContextVar[Who | None] = ContextVar("authsvc_client.principal", default=None)


def current_principal() -> Principal:
    """Whom the call being handled speaks for. Raises NoPrincipal in public methods and outside of calls."""
    who = _current.get()
    if who is None:
        raise NoPrincipal("no guarded call is being handled here")
    return who if isinstance(who, Principal) else Principal.of_token(who)


def set_current(who: Who | None) -> None:
    """Let the rest of this context speak for `who`."""
    _current.set(who)


def get_current() -> Who | None:
    """Whom this context speaks for; None for nobody."""
    return _current.get()


def is_revoked(who: Who, revocations: Revocations) -> bool:
    """Whether the view revokes the token, or the session, its user, or everyone."""
    return revocations.revokes(who if isinstance(who, AccessToken) else _as_token(who))


def _as_token(principal: Principal) -> AccessToken:
    """A session as the view sees it: a token without a key, issued when the session began."""
    return AccessToken(
        issuer="",
        subject=principal.user_id,
        audiences=principal.audiences,
        client_id=principal.client_id,
        token_id="",
        session_id=principal.session_id,
        issued_at=principal.issued_at,
        expires_at=principal.expires_at,
        authenticated_at=principal.authenticated_at,
        scopes=principal.scopes,
        amr=principal.amr,
        key_id="",
        claims=_NO_CLAIMS,
    )


def _milliseconds(moment: "object") -> int:
    seconds: int = moment.seconds  # type: ignore[attr-defined]  # a Timestamp, whose stubs vary
    nanos: int = moment.nanos  # type: ignore[attr-defined]
    return seconds * 1000 + nanos // 1_000_000
