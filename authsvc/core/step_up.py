"""Owns proving again who one is, within a session: by password, or by a code where a second factor is in force.

The session goes on with the new time of authentication and with what was proved; access tokens minted from then on say
so (`auth_time`, `amr`, `acr`). Its session token is replaced (ASVS 7.2.4), and the old one is worth nothing any more.
The refresh token stays: it is the client's own, and its next use takes it along.
"""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from authsvc.core.access_tokens import AccessToken as Issued
from authsvc.core.access_tokens import AccessTokens
from authsvc.core.announce import Announcer
from authsvc.core.cached_sessions import CachedForm
from authsvc.core.client_registry import ClientRegistry
from authsvc.core.clock import Clock
from authsvc.core.contracts import SessionCache, SessionStore, StoreUnavailable
from authsvc.core.errors import CallerNotPermitted, InvalidRequest, SessionNotActive
from authsvc.core.grants import granted
from authsvc.core.model import MULTIPLE_FACTORS, ONE_TIME_CODE, PASSWORD, AuditEvent, Session
from authsvc.core.one_time_codes import OneTimeCodes
from authsvc.core.operation import Asked
from authsvc.core.own_password import OwnPassword
from authsvc.core.own_tokens import OwnTokens
from authsvc.core.second_factor_contract import SecondFactorStore
from authsvc.core.tokens import Kind, Minted, TokenMint, kind_of
from authsvc.core.validate import SessionValidator
from authsvc_client.strict import AccessToken


@dataclass(frozen=True, slots=True)
class Proof:
    """What the user typed: the password, a code, or both."""

    password: str = field(repr=False, default="")
    one_time_code: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class SteppedUp:
    """The session as it is now; its new session token and an access token, if it has such."""

    session: Session
    session_token: str = field(repr=False)
    access: Issued | None


class Grant(NamedTuple):
    """What an access token is for."""

    audiences: tuple[str, ...]
    scopes: tuple[str, ...]


class StepUp:
    """Raises what is known of a session's user."""

    def __init__(
        self,
        *,
        validator: SessionValidator,
        own_tokens: OwnTokens,
        sessions: SessionStore,
        factors: SecondFactorStore,
        codes: OneTimeCodes,
        own_password: OwnPassword,
        clients: ClientRegistry,
        announcer: Announcer,
        form: CachedForm,
        cache: SessionCache,
        mint: TokenMint,
        access: AccessTokens,
        clock: Clock,
    ) -> None:
        self._validator = validator
        self._own_tokens = own_tokens
        self._sessions = sessions
        self._factors = factors
        self._codes = codes
        self._own_password = own_password
        self._clients = clients
        self._announcer = announcer
        self._form = form
        self._cache = cache
        self._mint = mint
        self._access = access
        self._clock = clock

    async def step_up(self, token: str, proof: Proof, asked: Asked) -> SteppedUp:
        """Raise the session of this session or access token. Caller: the client that owns the session.

        Raises SessionNotActive, AccessTokenExpired, AccessTokenInvalid, AccessTokenRevoked, CallerNotPermitted,
        InvalidRequest, InvalidCredentials, InvalidOneTimeCode, SecondFactorNotEnrolled, TooManyAttempts, Overloaded,
        StoreUnavailable.
        """
        self._access.ensure_signer()
        session, presented = await self._find(token)
        if session.client_id != asked.caller.client_id:
            raise CallerNotPermitted
        grant = self._grant(session, presented)
        proved = await self._prove(session, proof, asked)
        return await self._raise(session, grant, proved, asked)

    async def _find(self, token: str) -> tuple[Session, AccessToken | None]:
        """The live session, and the access token that was presented, if it was one."""
        match kind_of(token):
            case Kind.SESSION:
                return (await self._validator.validate(token)).session, None
            case None:
                presented = self._own_tokens.check(token)
                found = await self._sessions.get(presented.session_id)
                if found is not None:
                    return found, presented
        raise SessionNotActive

    def _grant(self, session: Session, presented: AccessToken | None) -> Grant:
        """What an access token may be for: as much as the client still may have, and the one presented was for."""
        audiences, scopes = granted(session, (self._clients.get(session.client_id),), (), ())
        if presented is not None:
            audiences = tuple(each for each in audiences if each in presented.audiences)
            scopes = tuple(each for each in scopes if each in presented.scopes)
        if not audiences:
            raise CallerNotPermitted
        return Grant(audiences, scopes)

    async def _prove(self, session: Session, proof: Proof, asked: Asked) -> tuple[str, ...]:
        """Check what the user typed, of which the strongest that they have must be part; return its `amr`."""
        factor = await self._factors.get(session.user_id)
        enrolled = factor is not None and factor.sealed_secret is not None
        if enrolled and not proof.one_time_code:
            raise InvalidRequest(("one_time_code", "must not be empty while a second factor is in force"))
        if not enrolled and not proof.password:
            raise InvalidRequest(("password", "must not be empty"))
        about = self._event("second_factor.failed", session, asked, "step-up")
        if proof.password:
            failed = replace(about, event="login.failed")
            await self._own_password.check(session.user_id, proof.password, asked.wait_ms, failed)
        if proof.one_time_code:
            await self._codes.check(session.user_id, proof.one_time_code, about)
            return (PASSWORD, ONE_TIME_CODE, MULTIPLE_FACTORS)
        return (PASSWORD,)

    async def _raise(
        self, session: Session, grant: Grant, proved: tuple[str, ...], asked: Asked
    ) -> SteppedUp:
        token, now = self._mint.session_token(), self._clock()
        amr = tuple(dict.fromkeys((*session.amr, *proved)))
        event = replace(
            self._event("session.stepped_up", session, asked, " ".join(amr)), actor=session.user_id
        )
        raised = await self._sessions.step_up(session.id, amr, token.token_hash, now, event)
        if raised is None:
            raise SessionNotActive
        after, replaced = raised
        if replaced is not None:
            await self._announcer.forget([replaced])
            await self._warm_cache(after, token)
        access = None
        if after.refresh_expires_at is not None:
            access = self._access.issue(after, grant.audiences, grant.scopes, now)
        return SteppedUp(after, token.text if replaced is not None else "", access)

    async def _warm_cache(self, session: Session, token: Minted) -> None:
        with suppress(StoreUnavailable):  # The first validation reads it from SQL.
            cached = self._form.write(session, session.seen_at, session.seen_at)
            await self._cache.add(token.token_hash, cached, session.seen_at)

    def _event(self, event: str, session: Session, asked: Asked, reason: str) -> AuditEvent:
        return AuditEvent(
            event,
            self._clock(),
            actor=asked.caller.actor,
            user_id=session.user_id,
            session_id=session.id,
            client_id=session.client_id,
            device=asked.device,
            reason=reason,
        )
