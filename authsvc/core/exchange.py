"""Owns trading a session token for a short access token: opaque outside, JWT inside."""

from collections.abc import Sequence
from dataclasses import dataclass

from authsvc.core.access_tokens import AccessToken, AccessTokens
from authsvc.core.cached_sessions import LiveSession
from authsvc.core.clock import Clock
from authsvc.core.narrowing import narrowed
from authsvc.core.validate import SessionValidator


@dataclass(frozen=True, slots=True)
class Exchanged:
    """The live session and an access token for it."""

    live: LiveSession
    access: AccessToken


class Exchange:
    """Mints access tokens for live sessions."""

    def __init__(self, validator: SessionValidator, access: AccessTokens, clock: Clock) -> None:
        self._validator = validator
        self._access = access
        self._clock = clock

    async def exchange(self, token: str, audiences: Sequence[str], scopes: Sequence[str]) -> Exchanged:
        """Return an access token for some of the session's audiences and scopes.

        Raises SessionNotActive, InvalidRequest, Overloaded, StoreUnavailable.
        """
        live = await self._validator.validate(token)
        session = live.session
        access = self._access.issue(
            session,
            narrowed(session.audiences, audiences, "audiences"),
            narrowed(session.scopes, scopes, "scopes"),
            self._clock(),
        )
        return Exchanged(live, access)
