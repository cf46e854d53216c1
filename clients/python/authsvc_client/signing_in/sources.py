"""Owns where the bearer of a call comes from, on asyncio and where nothing has to be awaited. Leaves threads to
`sync_sources`, attaching to the interceptors.

Each source serves one identity. Tasks share its tokens and, when they have to be renewed, the one renewal.
"""

import asyncio
import os
from hashlib import sha256
from typing import Protocol

from authsvc.v1 import resources_pb2 as resources
from authsvc_client.signing_in.bearers import check_bearer
from authsvc_client.signing_in.client import AuthClient
from authsvc_client.signing_in.conversations import Conversations, PasswordOrder, Wanted
from authsvc_client.signing_in.errors import SessionEnded
from authsvc_client.signing_in.renewal import Renewal
from authsvc_client.signing_in.stored import MemoryStore, TokenStore

PATIENCE_MS = 10_000
"""How long a call without a deadline waits for a token."""


class FixedSource(Protocol):
    """A bearer that is simply there."""

    def ready(self) -> str:
        """The bearer to attach. Raises SessionEnded."""

    def refused(self, bearer: str, reason: str) -> bool:
        """Take note that a service refused the bearer, for this ErrorReason. Whether another try would help.

        Raises SessionEnded."""


class Source(Protocol):
    """A bearer that may have to be awaited. Write your own to bring tokens from elsewhere."""

    def ready(self) -> str | None:
        """The bearer to attach at once, or None: await `obtain`. MUST NOT block."""

    async def obtain(self, timeout_ms: int | None = None) -> str:
        """The bearer to attach, within this time. Raises SignInFailed and its kinds."""

    def refused(self, bearer: str, reason: str) -> bool:
        """Take note that a service refused the bearer, for this ErrorReason. Whether another try would help."""


class SessionToken:
    """A session token that was got elsewhere: from a cookie at the edge, say. It cannot be renewed."""

    def __init__(self, token: str) -> None:
        """Raises ValueError for what cannot be a token."""
        self._token = check_bearer(token)
        self._is_ended = False

    def ready(self) -> str:
        """The token. Raises SessionEnded once a service has said that the session is not active."""
        if self._is_ended:
            raise SessionEnded("SESSION_NOT_ACTIVE")
        return self._token

    def refused(self, bearer: str, reason: str) -> bool:
        """Raises SessionEnded if that is what `reason` says; nothing else can be helped."""
        if reason == "SESSION_NOT_ACTIVE":
            self._is_ended = True
            raise SessionEnded(reason)
        return False


class ClientKey:
    """The key of a registered client, which then speaks for itself and for no user. Meant for authsvc alone."""

    def __init__(self, key: str) -> None:
        """Raises ValueError for what cannot be a key."""
        self._key = check_bearer(key)

    def ready(self) -> str:
        """The key."""
        return self._key

    def refused(self, bearer: str, reason: str) -> bool:
        """A key that is refused stays refused."""
        return False


class _Renewing:
    """Runs one renewal at a time, as a task of the loop that the calls are made in."""

    def __init__(self, client: AuthClient, renewal: Renewal) -> None:
        self._connection = client.connection
        self._renewal = renewal
        self._task: asyncio.Task[None] | None = None
        self._process = os.getpid()

    def ready(self) -> str | None:
        """The access token to attach at once, or None: await `obtain`. Starts renewing it ahead of its end."""
        bearer = self._renewal.ready()
        if bearer is not None and self._renewal.is_due():
            self._started()
        return bearer

    async def obtain(self, timeout_ms: int | None = None) -> str:
        """The access token to attach; waits for it if need be. Raises SessionEnded, SignInFailed."""
        task = self._started()
        if task is not None and self._renewal.ready() is None:
            patience_ms = PATIENCE_MS if timeout_ms is None else timeout_ms
            # The renewal is everybody's: it goes on when one of those who wait is cancelled or has no more time.
            await asyncio.wait([task], timeout=patience_ms / 1000)
            if task.done() and not task.cancelled():
                task.result()
        return self._renewal.answer()

    def refused(self, bearer: str, reason: str) -> bool:
        """Take note that a service refused the token. Whether the call is worth one more try, with another."""
        return self._renewal.refused(bearer, reason)

    def _started(self) -> asyncio.Task[None] | None:
        """The renewal under way, started if it is time; None when there is nothing to wait for."""
        loop, task = asyncio.get_running_loop(), self._task
        is_here = task is not None and task.get_loop() is loop and self._process == os.getpid()
        if task is not None and is_here and not task.done():
            return task
        if not self._renewal.is_due():
            return None
        self._process = os.getpid()
        self._task = loop.create_task(self._connection.run(self._renewal.renew()))
        return self._task


class RefreshTokenSource(_Renewing):
    """Access tokens for a session whose refresh token is at hand, or in a store."""

    def __init__(
        self,
        client: AuthClient,
        refresh_token: str = "",
        *,
        audiences: tuple[str, ...] = (),
        scopes: tuple[str, ...] = (),
        store: TokenStore | None = None,
    ) -> None:
        """`store` keeps the newest tokens; what it has of the session that began with `refresh_token` goes first.
        Without one they are kept in memory, and shared by all sources of this process that began with the same token.

        Whoever else has the refresh token must share the store: the server ends a session whose refresh token is used
        by two who do not know of each other.
        """
        wanted = Wanted(tuple(audiences), tuple(scopes))
        super().__init__(client, refresh_token_renewal(client.conversations, refresh_token, wanted, store))


class PasswordLogin(_Renewing):
    """Access tokens for a user whose password is at hand: logs in when first asked, and anew when the session ended.

    Not for users with a second factor: for them log in by AuthClient, and go on with a RefreshTokenSource.
    """

    def __init__(
        self,
        client: AuthClient,
        username: str,
        password: str,
        *,
        audiences: tuple[str, ...] = (),
        scopes: tuple[str, ...] = (),
        remember: bool = False,
        device: resources.Device | None = None,
        store: TokenStore | None = None,
    ) -> None:
        """With a `store`, a session that an earlier run of the program left there goes on."""
        wanted = Wanted(tuple(audiences), tuple(scopes))
        order = PasswordOrder(username, password, wanted, (resources.CREDENTIAL_TOKENS,), remember, device)
        super().__init__(client, password_renewal(client.conversations, order, store))


def refresh_token_renewal(
    conversations: Conversations, refresh_token: str, wanted: Wanted, store: TokenStore | None
) -> Renewal:
    """A renewal that begins with a refresh token. Raises ValueError with neither token nor store."""
    if refresh_token:
        check_bearer(refresh_token)
    elif store is None:
        raise ValueError("a refresh token or a store is required")
    if store is None:
        # Found by the token, so whatever is in it belongs to the token's session.
        kept = MemoryStore.beginning_with(refresh_token)
        return Renewal(conversations, kept, wanted, origin="", first=refresh_token)
    origin = _origin("token", refresh_token) if refresh_token else ""
    return Renewal(conversations, store, wanted, origin=origin, first=refresh_token)


def password_renewal(conversations: Conversations, order: PasswordOrder, store: TokenStore | None) -> Renewal:
    """A renewal that begins with a login."""
    kept = store if store is not None else MemoryStore()
    origin = _origin("user", order.username)
    return Renewal(conversations, kept, order.wanted, origin=origin, login=order)


def _origin(kind: str, text: str) -> str:
    return f"{kind}:{sha256(text.encode()).hexdigest()}"
