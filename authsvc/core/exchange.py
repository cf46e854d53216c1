"""Owns trading a session token for a short access token: opaque outside, JWT inside.

The client that trades is mostly not the one that logged the user in. The token is for what both of them are registered
for: a gateway gets none for a service that it has no business with, whatever sessions pass through it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from authsvc.core.access_tokens import AccessToken, AccessTokens
from authsvc.core.cached_sessions import LiveSession
from authsvc.core.caller import Caller
from authsvc.core.client_registry import ClientRegistry
from authsvc.core.clock import Clock
from authsvc.core.grants import granted
from authsvc.core.validate import SessionValidator


@dataclass(frozen=True, slots=True)
class Exchanged:
    """The live session and an access token for it."""

    live: LiveSession
    access: AccessToken


class Exchange:
    """Mints access tokens for live sessions."""

    def __init__(
        self, validator: SessionValidator, access: AccessTokens, clients: ClientRegistry, clock: Clock
    ) -> None:
        self._validator = validator
        self._access = access
        self._clients = clients
        self._clock = clock

    async def exchange(
        self, token: str, audiences: Sequence[str], scopes: Sequence[str], caller: Caller
    ) -> Exchanged:
        """Return an access token for some of the session's audiences and scopes.

        Raises SessionNotActive, InvalidRequest, CallerNotPermitted, Overloaded, StoreUnavailable.
        """
        live = await self._validator.validate(token)
        session = live.session
        clients = (self._clients.get(session.client_id), self._clients.get(caller.client_id))
        access = self._access.issue(session, *granted(session, clients, audiences, scopes), self._clock())
        return Exchanged(live, access)
