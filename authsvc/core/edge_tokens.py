"""Owns the access tokens that go to services behind an edge: one per session and service until it nears its end.

A request whose session was validated a moment ago gets a token that is ready; signing one takes longer than all the
rest of judging it. What the token says is what the session and the registrations say now: anything about them that has
changed makes another token, and so does a key that is distrusted. A session that has ended never gets this far.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from authsvc.core.access_tokens import AccessToken, AccessTokens
from authsvc.core.cached_sessions import LiveSession
from authsvc.core.caller import Caller
from authsvc.core.client_registry import ClientRegistry
from authsvc.core.clock import Clock
from authsvc.core.grants import granted
from authsvc.core.model import Client
from authsvc.core.signing_keys import Keys
from authsvc.core.view import View

READY_MAX = 10_000
_Clients = tuple[Client | None, Client | None]


@dataclass(frozen=True, slots=True)
class Ready:
    """A token that is ready for use, and what it was made from. `client_id`: of the session."""

    access: AccessToken
    renew_at: int
    client_id: str
    clients: _Clients
    key_id: str


class EdgeTokens:
    """Hands out access tokens for sessions that are live, made at most once each."""

    def __init__(
        self, access: AccessTokens, keys: Keys, clients: ClientRegistry, view: View, clock: Clock
    ) -> None:
        self._access = access
        self._keys = keys
        self._clients = clients
        self._view = view
        self._clock = clock
        self._ready: dict[tuple[bytes, str, tuple[str, ...], str], Ready] = {}

    def get(self, live: LiveSession, audience: str, scopes: Sequence[str], caller: Caller) -> Ready:
        """Return a token for one audience, with these scopes or, without any, all that the session has.

        Raises InvalidRequest if that is more than there is, CallerNotPermitted, AccessTokenTooLarge,
        SigningKeyUnusable.
        """
        key = (live.shown, audience, tuple(scopes), caller.client_id)
        ready = self._ready.get(key)
        if ready is not None and self._is_good(ready, caller):
            return ready
        self._ready.pop(key, None)
        ready = self._ready[key] = self._make(live, audience, scopes, caller)
        if len(self._ready) > READY_MAX:
            del self._ready[next(iter(self._ready))]
        return ready

    def _is_good(self, ready: Ready, caller: Caller) -> bool:
        return (
            self._clock() < ready.renew_at
            and ready.clients == self._registered(ready.client_id, caller)
            and not self._view.revokes_key(ready.key_id)
        )

    def _make(self, live: LiveSession, audience: str, scopes: Sequence[str], caller: Caller) -> Ready:
        session, now = live.session, self._clock()
        clients = self._registered(session.client_id, caller)
        key_id = self._keys.ring.signer.key_id
        access = self._access.issue(session, *granted(session, clients, [audience], scopes), now)
        renew_at = now + (access.expires_at - now) * 3 // 4
        return Ready(access, renew_at, session.client_id, clients, key_id)

    def _registered(self, client_id: str, caller: Caller) -> _Clients:
        return self._clients.get(client_id), self._clients.get(caller.client_id)
