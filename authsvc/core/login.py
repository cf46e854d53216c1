"""Owns logging in: who somebody is, then a session, then its tokens. Leaves the password to core.password_check."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from authsvc.core.access_tokens import AccessToken, AccessTokens
from authsvc.core.cached_sessions import CachedForm
from authsvc.core.callers import ClientRegistry
from authsvc.core.clock import Clock
from authsvc.core.contracts import NewTokens, SessionCache, SessionStore, StoreUnavailable
from authsvc.core.errors import CallerNotPermitted, InvalidCredentials
from authsvc.core.ids import new_id
from authsvc.core.lifetimes import Lifetimes
from authsvc.core.model import AuditEvent, Client, Session, UserSecret
from authsvc.core.narrowing import narrowed
from authsvc.core.operation import Asked
from authsvc.core.password_check import PasswordAttempt, PasswordCheck
from authsvc.core.tokens import Minted, RandomBytes, TokenMint


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """What the user typed and what the client wants for it. `session` and `tokens`: which credentials to issue."""

    typed: PasswordAttempt
    audiences: Sequence[str] = ()
    scopes: Sequence[str] = ()
    session: bool = True
    tokens: bool = True
    remember: bool = False


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A new session and the tokens that were asked for."""

    session: Session
    session_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    access: AccessToken | None


class Login:
    """Checks who somebody is and starts a session."""

    def __init__(
        self,
        *,
        check: PasswordCheck,
        sessions: SessionStore,
        form: CachedForm,
        cache: SessionCache,
        clients: ClientRegistry,
        mint: TokenMint,
        access: AccessTokens,
        lifetimes: Lifetimes,
        clock: Clock,
        random_bytes: RandomBytes,
    ) -> None:
        self._check = check
        self._sessions = sessions
        self._form = form
        self._cache = cache
        self._clients = clients
        self._mint = mint
        self._access = access
        self._lifetimes = lifetimes
        self._clock = clock
        self._random_bytes = random_bytes

    async def login(self, attempt: LoginAttempt, asked: Asked) -> LoggedIn:
        """Return a new session. Raises InvalidCredentials, TooManyAttempts, Overloaded, InvalidRequest,
        StoreUnavailable."""
        client = self._clients.get(asked.caller.client_id)
        if client is None:
            raise CallerNotPermitted
        audiences = narrowed(client.audiences, attempt.audiences, "audiences")
        secret = await self._check.check(attempt.typed, asked)
        session = self._new_session(attempt, secret, client, audiences)
        return await self._start(session, attempt, secret)

    def _new_session(
        self, attempt: LoginAttempt, secret: UserSecret, client: Client, audiences: tuple[str, ...]
    ) -> Session:
        now = self._clock()
        user = secret.user
        allowed = user.scopes if not client.scopes else tuple(s for s in user.scopes if s in client.scopes)
        idle_ms, absolute_ms = self._lifetimes.session(attempt.remember)
        refresh_idle, refresh_ms = self._lifetimes.refresh_idle_ms, self._lifetimes.refresh_ms
        return Session(
            id=new_id(now, self._random_bytes),
            user_id=user.id,
            username=user.username,
            client_id=client.id,
            scopes=narrowed(allowed, attempt.scopes, "scopes"),
            audiences=audiences,
            amr=("pwd",),
            created_at=now,
            seen_at=now,
            session_expires_at=now + absolute_ms if attempt.session else None,
            session_idle_ms=idle_ms,
            refresh_expires_at=now + refresh_ms if attempt.tokens else None,
            refresh_idle_ms=refresh_idle,
            refresh_idle_expires_at=now + min(refresh_idle, refresh_ms) if attempt.tokens else None,
            device=attempt.typed.device,
        )

    async def _start(self, session: Session, attempt: LoginAttempt, secret: UserSecret) -> LoggedIn:
        session_token = self._mint.session_token() if attempt.session else None
        refresh_token = self._mint.refresh_token(session.id, 0) if attempt.tokens else None
        access = self._issue(session) if attempt.tokens else None
        hashes = NewTokens(_hash(session_token), _hash(refresh_token))
        event = AuditEvent(
            "session.created",
            session.created_at,
            actor=session.user_id,
            user_id=session.user_id,
            session_id=session.id,
            client_id=session.client_id,
            device=session.device,
        )
        if not await self._sessions.create(session, hashes, secret.user.password_changed_at, event):
            raise InvalidCredentials  # Disabled, or the password changed, while it was being checked.
        await self._warm_cache(session, session_token)
        return LoggedIn(
            session,
            session_token.text if session_token else "",
            refresh_token.text if refresh_token else "",
            access,
        )

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


def _hash(token: Minted | None) -> bytes | None:
    return token.token_hash if token else None
