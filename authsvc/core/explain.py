"""Owns telling an admin why a token is refused. Leaves access tokens on their own to `explain_access`.

It looks where the calls themselves would, and changes nothing: no idle deadline slides, no refresh token is used up.
"""

from collections.abc import Iterator

from authsvc.core import explain_access
from authsvc.core.audit_contract import Evidence
from authsvc.core.client_contract import ClientStore
from authsvc.core.clock import Clock
from authsvc.core.contracts import (
    CacheAnswer,
    SessionCache,
    SessionStore,
    StoreUnavailable,
)
from authsvc.core.explanation import Explanation, moment, passed
from authsvc.core.key_lifecycle import SigningKeys
from authsvc.core.model import RefreshState, Session
from authsvc.core.tokens import Fault, Kind, RefreshToken, TokenMint, kind_of
from authsvc.core.view import View

# At this time no idle deadline is due to slide, so that looking into the cache changes nothing.
_LONG_AGO = 0
_TYPES = {Kind.SESSION: "session_token", Kind.REFRESH: "refresh_token", Kind.CLIENT_KEY: "client_key"}
_ACCESS = "access_token"
_FAULTS = {
    Fault.LENGTH: "It was cut off or has grown: a token that begins like this has {length} characters, not {found}.",
    Fault.TEXT: "It holds characters, or an ending, that no token of ours has: it was altered.",
    Fault.SECRET: "It is not ours: it was made under a deployment secret that is not listed (any more).",
    Fault.MAC: "It is not ours: its MAC is wrong, so it was altered, or made under another deployment's secret.",
}


class Explain:
    """Tells what is wrong with tokens."""

    def __init__(
        self,
        *,
        issuer: str,
        mint: TokenMint,
        sessions: SessionStore,
        cache: SessionCache,
        clients: ClientStore,
        signing_keys: SigningKeys,
        evidence: Evidence,
        view: View,
        clock: Clock,
    ) -> None:
        self._issuer = issuer
        self._mint = mint
        self._sessions = sessions
        self._cache = cache
        self._clients = clients
        self._signing_keys = signing_keys
        self._evidence = evidence
        self._view = view
        self._clock = clock

    async def explain(self, token: str, audience: str, verifier_at: int | None) -> Explanation:
        """Return what is wrong with a token at a verifier of this audience (empty: any) whose clock shows this time.

        Raises StoreUnavailable.
        """
        kind = kind_of(token)
        if kind is None:
            return await self._access(token, audience, verifier_at)
        fault = self._mint.fault(kind, token)
        if fault is not None:
            said = _FAULTS[fault].format(length=kind.text_length, found=len(token))
            return Explanation(False, (said,), _TYPES[kind])
        match kind:
            case Kind.SESSION:
                return await self._session(token)
            case Kind.REFRESH:
                return await self._refresh(self._mint.read_refresh(token))
            case Kind.CLIENT_KEY:
                return await self._client_key(self._mint.hash_of(kind, token))

    async def _access(self, text: str, audience: str, verifier_at: int | None) -> Explanation:
        keys = await self._signing_keys.list()
        try:
            token, key = explain_access.read(text, keys, self._issuer)
        except explain_access.NotOurs as error:
            return Explanation(False, (str(error),), _ACCESS if text.count(".") == 2 else "")
        now = self._clock()
        wrong = [*explain_access.judge_key(key, now), *explain_access.judge_times(token, now)]
        wrong += explain_access.judge_audience(token, audience)
        ended = await self._ended(await self._sessions.get(token.session_id), now)
        wrong += ended
        if not ended and self._view.revokes(token.session_id, token.subject, token.issued_at):
            wrong.append(
                "Everything issued to its user, or to everybody, before some later time was revoked."
            )
        clock = [] if verifier_at is None else explain_access.judge_clock(token, now, verifier_at)
        return Explanation(
            not wrong,
            (*wrong, *clock),
            _ACCESS,
            token.session_id,
            token.subject,
            token.client_id,
            key.id,
            token.expires_at,
        )

    async def _session(self, token: str) -> Explanation:
        session_hash = self._mint.hash_of(Kind.SESSION, token)
        session = await self._sessions.get_by_session_hash(session_hash)
        now = self._clock()
        wrong = await self._ended(session, now)
        if session is None:
            return Explanation(False, tuple(wrong), _TYPES[Kind.SESSION])
        idle_at, absolute_at = session.session_idle_expires_at or 0, session.session_expires_at or 0
        if now >= idle_at and not wrong:
            # SQL hears of use in steps of a quarter of the idle time; the cache knows exactly.
            idle_at = await self._idle_expires_at(session_hash) or idle_at
        wrong += _deadlines("The session", session.created_at, absolute_at, idle_at, now)
        return _of_session(Kind.SESSION, session, wrong, min(idle_at, absolute_at))

    async def _refresh(self, presented: RefreshToken) -> Explanation:
        found = await self._sessions.get_refresh(presented.session_id)
        now = self._clock()
        wrong = await self._ended(found[0] if found else None, now)
        if found is None:
            return Explanation(False, tuple(wrong), _TYPES[Kind.REFRESH])
        session, state = found
        idle_at, absolute_at = session.refresh_idle_expires_at or 0, session.refresh_expires_at or 0
        wrong += _deadlines("The refresh token", session.created_at, absolute_at, idle_at, now)
        wrong += _generations(presented, state)
        return _of_session(Kind.REFRESH, session, wrong, min(idle_at, absolute_at))

    async def _client_key(self, key_hash: bytes) -> Explanation:
        clients, keys = await self._clients.list_all()
        key = next((each for each in keys if each.key_hash == key_hash), None)
        kind = _TYPES[Kind.CLIENT_KEY]
        if key is None:
            said = (
                "No client has this key: the client was revoked, or its key was dropped or never registered."
            )
            return Explanation(False, (said,), kind)
        now, client = self._clock(), next(each for each in clients if each.id == key.client_id)
        wrong = []
        if client.revoked_at is not None:
            wrong.append(passed(f"Its client {client.id} was revoked", client.revoked_at, now))
        if key.expires_at is not None and now >= key.expires_at:
            wrong.append(passed("A newer key took its place; it ended", key.expires_at, now))
        return Explanation(not wrong, tuple(wrong), kind, client_id=client.id, expires_at=key.expires_at)

    async def _ended(self, session: Session | None, now: int) -> list[str]:
        """Say that its session was revoked, or is not to be found."""
        if session is None:
            return [
                "Its session is not on record: the database is another or older one, or the session was deleted."
            ]
        if session.revoked_at is None:
            return []
        revision, event = await self._evidence.of_revocation(session)
        by = f" by {event.actor}" if event is not None and event.actor else ""
        at = f" at revision {revision}" if revision else ""
        reason = session.revoke_reason.value if session.revoke_reason else "unspecified"
        return [passed(f"Its session was revoked{by}{at}, reason `{reason}`,", session.revoked_at, now)]

    async def _idle_expires_at(self, session_hash: bytes) -> int | None:
        try:
            [answer] = await self._cache.validate_many([session_hash], _LONG_AGO)
        except StoreUnavailable:
            return None
        return answer.idle_expires_at if isinstance(answer, CacheAnswer) else None


def _deadlines(what: str, created_at: int, absolute_at: int, idle_at: int, now: int) -> Iterator[str]:
    if now >= absolute_at:
        yield passed(
            f"{what} began at {moment(created_at)} and reached its absolute deadline", absolute_at, now
        )
    elif now >= idle_at:
        yield passed(f"{what} was not used for too long: its idle deadline passed", idle_at, now)


def _generations(presented: RefreshToken, state: RefreshState) -> Iterator[str]:
    if presented.token_hash == state.refresh_hash:
        return
    if presented.generation == state.generation - 1 and presented.token_hash == state.previous_hash:
        at = f" at {moment(state.rotated_at)}" if state.rotated_at is not None else ""
        yield (
            f"It was used before{at}, and its successor has not been: for 30 s, and 3 times, it gets the same "
            "successor again; after that, using it counts as theft and ends the session."
        )
    elif presented.generation < state.generation:
        yield (
            f"It was used before: it is number {presented.generation} of its session, which is at {state.generation}. "
            "Using it counts as theft and ends the session."
        )
    else:
        yield "Its session never gave it out, or the database is older than the token."


def _of_session(kind: Kind, session: Session, wrong: list[str], expires_at: int) -> Explanation:
    return Explanation(
        not wrong,
        tuple(wrong),
        _TYPES[kind],
        session.id,
        session.user_id,
        session.client_id,
        expires_at=expires_at,
    )
