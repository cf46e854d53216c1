"""Owns refreshing, exactly. Leaves the one conditional UPDATE that decides every race to the session store.

    presented generation g, row generation G
    g = G, hash matches                              rotate: the successor is sealed under the presented token's secret
    g = G-1, hash was the one before, within 30 s,
      fewer than 3 replays so far                    benign replay (lost reply, two tabs): the same successor again
    g = G-1 otherwise; g < G-1                       reuse: a token was stolen; the session ends, at once and for good
    another client than the owner                    refused; the session lives on
    the owner may have no audience of it any more    refused; the token is not used up
    anything else                                    not active, and nothing more is told

"Successor not yet used" needs no column: using it moves G, which makes the presented token g < G-1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from authsvc.core.access_tokens import AccessToken, AccessTokens
from authsvc.core.announce import Announcer
from authsvc.core.client_registry import ClientRegistry
from authsvc.core.clock import SECOND, Clock
from authsvc.core.contracts import RevokeOrder, Rotation, SessionStore, StoreUnavailable
from authsvc.core.errors import CallerNotPermitted, RefreshTokenNotActive, RefreshTokenReused
from authsvc.core.grants import granted
from authsvc.core.ids import RandomBytes, made_at
from authsvc.core.late_uses import LateUses
from authsvc.core.lifetimes import REVOCATION_GRACE
from authsvc.core.model import AuditEvent, Client, RefreshState, RevokeReason, Session
from authsvc.core.operation import Asked
from authsvc.core.sealing import CannotUnseal, seal_successor, unseal_successor
from authsvc.core.tokens import RefreshToken, TokenMint, TokenNotOurs

REPLAY_WINDOW = 30 * SECOND
REPLAY_LIMIT = 3


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The renewed pair. `replayed`: the successor had been handed out before."""

    session: Session
    refresh_token: str = field(repr=False)
    access: AccessToken
    replayed: bool


class Verdict(Enum):
    """What a presented token that did not rotate turned out to be."""

    NOT_ACTIVE = auto()
    WRONG_CLIENT = auto()
    REPLAY = auto()
    REUSED = auto()


def judge(
    presented: RefreshToken, client_id: str, session: Session, state: RefreshState, now: int
) -> Verdict:
    """Say what a token with a valid MAC is that the rotation did not accept.

    REUSED stays true whatever happens next: generations, replays and time only grow.
    """
    if session.client_id != client_id:
        return Verdict.WRONG_CLIENT
    if session.revoked_at is not None or _expired(session, now) or presented.generation >= state.generation:
        return Verdict.NOT_ACTIVE
    if presented.generation < state.generation - 1:
        return Verdict.REUSED
    if presented.token_hash != state.previous_hash:
        return Verdict.NOT_ACTIVE
    in_time = state.rotated_at is not None and now - state.rotated_at <= REPLAY_WINDOW
    return Verdict.REPLAY if in_time and state.replay_count < REPLAY_LIMIT else Verdict.REUSED


class Refresh:
    """Renews token pairs."""

    def __init__(
        self,
        *,
        sessions: SessionStore,
        announcer: Announcer,
        late_uses: LateUses,
        clients: ClientRegistry,
        mint: TokenMint,
        access: AccessTokens,
        clock: Clock,
        random_bytes: RandomBytes,
    ) -> None:
        self._sessions = sessions
        self._announcer = announcer
        self._late_uses = late_uses
        self._clients = clients
        self._mint = mint
        self._access = access
        self._clock = clock
        self._random_bytes = random_bytes

    async def refresh(
        self, token: str, audiences: Sequence[str], scopes: Sequence[str], asked: Asked
    ) -> Refreshed:
        """Return the renewed pair. Raises RefreshTokenNotActive, RefreshTokenReused, CallerNotPermitted,
        InvalidRequest (asks for more than was granted; the token is not burnt), StoreUnavailable."""
        try:
            presented = self._mint.read_refresh(token)
        except TokenNotOurs:
            raise RefreshTokenNotActive from None
        client = self._clients.get(asked.caller.client_id)
        if client is None:
            raise CallerNotPermitted
        self._access.ensure_signer()
        if audiences or scopes or _was_changed_since(client, presented):
            await self._check_narrows(client, presented, audiences, scopes)
        now = self._clock()
        successor = self._mint.refresh_token(presented.session_id, presented.generation + 1)
        rotation = Rotation(
            session_id=presented.session_id,
            client_id=asked.caller.client_id,
            generation=presented.generation,
            presented_hash=presented.token_hash,
            successor_hash=successor.token_hash,
            sealed_successor=seal_successor(presented, successor.text, self._random_bytes),
            now=now,
            device=asked.device,
        )
        session = await self._rotate(rotation, _event("token.rotated", presented, asked, now))
        replayed = session is None
        text = successor.text
        if session is None:
            session, text = await self._not_rotated(presented, asked, now)
        access = self._access.issue(session, *granted(session, (client,), audiences, scopes), now)
        return Refreshed(session, text, access, replayed)

    async def _rotate(self, rotation: Rotation, event: AuditEvent) -> Session | None:
        """Rotate. If nobody knows whether that was done, look whether the row holds this very successor."""
        try:
            return await self._sessions.rotate(rotation, event)
        except StoreUnavailable:
            found = await self._sessions.get_refresh(rotation.session_id)
            if found is None or found[0].revoked_at or found[1].refresh_hash != rotation.successor_hash:
                raise
            return found[0]

    async def _check_narrows(
        self, client: Client, presented: RefreshToken, audiences: Sequence[str], scopes: Sequence[str]
    ) -> None:
        """Refuse what may not be had before the token is burnt. What was granted at login never grows."""
        session = await self._sessions.get(presented.session_id)
        if session is None:
            raise RefreshTokenNotActive
        granted(session, (client,), audiences, scopes)

    async def _not_rotated(self, presented: RefreshToken, asked: Asked, now: int) -> tuple[Session, str]:
        found = await self._sessions.get_refresh(presented.session_id)
        if found is None:
            raise RefreshTokenNotActive
        match judge(presented, asked.caller.client_id, *found, now):
            case Verdict.WRONG_CLIENT:
                raise CallerNotPermitted
            case Verdict.REUSED:
                await self._end(presented, *found, asked, now)
                raise RefreshTokenReused
            case Verdict.REPLAY:
                return await self._replay(presented, asked, now)
        if found[0].revoked_at is not None or _expired(found[0], now):
            self._late_uses.note(found[0])
        raise RefreshTokenNotActive

    async def _replay(self, presented: RefreshToken, asked: Asked, now: int) -> tuple[Session, str]:
        replayed = await self._sessions.replay(
            presented.session_id,
            asked.caller.client_id,
            presented.token_hash,
            presented.generation,
            rotated_after=now - REPLAY_WINDOW,
            limit=REPLAY_LIMIT,
            now=now,
            audit=_event("token.replayed", presented, asked, now),
        )
        if replayed is None:
            # Between the reading and this, the last replay was taken, the successor was used, or the session ended.
            return await self._not_rotated(presented, asked, now)
        session, sealed = replayed
        try:
            return session, unseal_successor(presented, sealed)
        except CannotUnseal:
            raise RefreshTokenNotActive from None

    async def _end(
        self, presented: RefreshToken, session: Session, state: RefreshState, asked: Asked, now: int
    ) -> None:
        event = replace(
            _event("token.reused", presented, asked, now),
            user_id=session.user_id,
            reason=_verdict(presented, state, now),
            other_device=state.rotated_from,
            other_at=state.rotated_at,
        )
        order = RevokeOrder(
            revoked_at=now,
            reason=RevokeReason.REFRESH_TOKEN_REUSED,
            token_ttl_ms=REVOCATION_GRACE,
            audit=event,
        )
        await self._announcer.announce(await self._sessions.revoke(presented.session_id, order))


def _was_changed_since(client: Client, presented: RefreshToken) -> bool:
    """Whether the client's registration may be narrower than at the login."""
    return client.updated_at is not None and made_at(presented.session_id) <= client.updated_at


def _verdict(presented: RefreshToken, state: RefreshState, now: int) -> str:
    """Why this use is a theft and no lost reply."""
    if presented.generation < state.generation - 1:
        why = "its successor had been used"
    elif state.replay_count >= REPLAY_LIMIT:
        why = f"its successor had been handed out {state.replay_count} times more"
    else:
        why = f"{(now - (state.rotated_at or now)) // SECOND} s after it was replaced"
    return f"generation {presented.generation} of {state.generation}: {why}"


def _event(event: str, presented: RefreshToken, asked: Asked, now: int) -> AuditEvent:
    return AuditEvent(
        event,
        now,
        actor=asked.caller.actor,
        session_id=presented.session_id,
        client_id=asked.caller.client_id,
        device=asked.device,
        reason=f"generation {presented.generation}",
    )


def _expired(session: Session, now: int) -> bool:
    absolute, idle = session.refresh_expires_at, session.refresh_idle_expires_at
    return absolute is None or idle is None or now >= absolute or now >= idle
