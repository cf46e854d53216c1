"""Owns beginning a session for somebody who has proved who they are: its lives, its tokens, the cache's first copy.

Leaves the proof to core.login, and seeing to it that none begins for who may not log in to the session store.
"""

from dataclasses import dataclass, field

from authsvc.core.access_tokens import AccessToken, AccessTokens
from authsvc.core.cached_sessions import CachedForm
from authsvc.core.clock import Clock
from authsvc.core.contracts import NewTokens, SessionCache, SessionStore, StoreUnavailable
from authsvc.core.grants import allowed_scopes
from authsvc.core.lifetimes import Lifetimes
from authsvc.core.login_challenge import Wanted
from authsvc.core.model import TWO_FACTORS, AuditEvent, Client, Session, User
from authsvc.core.narrowing import narrowed
from authsvc.core.tokens import Minted, TokenMint


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A new session and the tokens that were asked for. `cookies`: the first step wanted them as such. `device_token`:
    see core.known_devices."""

    session: Session
    session_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    access: AccessToken | None
    cookies: bool = False
    device_token: str = field(default="", repr=False)


class NewSessions:
    """Begins sessions."""

    def __init__(
        self,
        *,
        sessions: SessionStore,
        form: CachedForm,
        cache: SessionCache,
        mint: TokenMint,
        access: AccessTokens,
        lifetimes: Lifetimes,
        clock: Clock,
    ) -> None:
        self._sessions = sessions
        self._form = form
        self._cache = cache
        self._mint = mint
        self._access = access
        self._lifetimes = lifetimes
        self._clock = clock

    def make(
        self, session_id: str, user: User, client: Client, wanted: Wanted, amr: tuple[str, ...]
    ) -> Session:
        """Return the session that this client wants for the user. Raises InvalidRequest if it wants too much."""
        now = self._clock()
        allowed = allowed_scopes(client, user.scopes)
        idle_ms, absolute_ms = self._lifetimes.session(wanted.remember)
        refresh_idle, refresh_ms = self._lifetimes.refresh_idle_ms, self._lifetimes.refresh_ms
        return Session(
            id=session_id,
            user_id=user.id,
            username=user.username,
            client_id=client.id,
            scopes=narrowed(allowed, wanted.scopes, "scopes"),
            audiences=narrowed(client.audiences, wanted.audiences, "audiences"),
            amr=amr,
            created_at=now,
            seen_at=now,
            session_expires_at=now + absolute_ms if wanted.session else None,
            session_idle_ms=idle_ms,
            refresh_expires_at=now + refresh_ms if wanted.tokens else None,
            refresh_idle_ms=refresh_idle,
            refresh_idle_expires_at=now + min(refresh_idle, refresh_ms) if wanted.tokens else None,
            device=wanted.device,
        )

    async def begin(self, session: Session, password_changed_at: int) -> LoggedIn | None:
        """Store the session and return it with its tokens. None if its user may not log in any more, the password is
        another by now, or the session has begun before. Raises StoreUnavailable."""
        has_tokens = session.refresh_expires_at is not None
        session_token = self._mint.session_token() if session.session_expires_at is not None else None
        refresh_token = self._mint.refresh_token(session.id, 0) if has_tokens else None
        access = self._issue(session) if has_tokens else None
        hashes = NewTokens(_hash(session_token), _hash(refresh_token))
        if not await self._create(session, hashes, password_changed_at):
            return None
        await self._warm_cache(session, session_token)
        return LoggedIn(
            session,
            session_token.text if session_token else "",
            refresh_token.text if refresh_token else "",
            access,
        )

    async def _create(self, session: Session, hashes: NewTokens, password_changed_at: int) -> bool:
        """Store it. If nobody knows whether that was done, look whether it is there, with these very tokens."""
        try:
            return await self._sessions.create(session, hashes, password_changed_at, creation(session))
        except StoreUnavailable:
            if hashes.session_hash is not None:
                is_there = await self._sessions.get_by_session_hash(hashes.session_hash) is not None
            else:
                found = await self._sessions.get_refresh(session.id)
                is_there = found is not None and found[1].refresh_hash == hashes.refresh_hash
            if not is_there:
                raise
            return True

    def _issue(self, session: Session) -> AccessToken:
        return self._access.issue(session, session.audiences, session.scopes, session.created_at)

    async def _warm_cache(self, session: Session, session_token: Minted | None) -> None:
        if session_token is None:
            return
        try:
            cached = self._form.write(session, session.seen_at, session.seen_at)
            await self._cache.add(session_token.token_hash, cached, session.seen_at)
        except StoreUnavailable:
            pass  # The first validation reads it from SQL.


def creation(session: Session) -> AuditEvent:
    """Return the event of a session's beginning."""
    return AuditEvent(
        "session.created",
        session.created_at,
        actor=session.user_id,
        user_id=session.user_id,
        session_id=session.id,
        client_id=session.client_id,
        device=session.device,
        reason=" ".join(session.amr) if session.acr == TWO_FACTORS else "",
    )


def _hash(token: Minted | None) -> bytes | None:
    return token.token_hash if token else None
