"""Owns where the bearer of a call comes from, for threads. Leaves asyncio, and what needs no waiting, to `sources`.

Threads share a source's tokens and, when they have to be renewed, the one renewal, which has a thread of its own.
"""

import os
import threading
from typing import Protocol

from authsvc.v1 import resources_pb2 as resources
from authsvc_client.signing_in.client import SyncAuthClient
from authsvc_client.signing_in.conversations import PasswordOrder, Wanted
from authsvc_client.signing_in.renewal import Renewal
from authsvc_client.signing_in.sources import PATIENCE_MS, password_renewal, refresh_token_renewal
from authsvc_client.signing_in.stored import TokenStore


class SyncSource(Protocol):
    """A bearer that may have to be waited for. Write your own to bring tokens from elsewhere."""

    def ready(self) -> str | None:
        """The bearer to attach at once, or None: call `obtain`. MUST NOT block."""

    def obtain(self, timeout_ms: int | None = None) -> str:
        """The bearer to attach, within this time. Raises SignInFailed and its kinds."""

    def refused(self, bearer: str, reason: str) -> bool:
        """Take note that a service refused the bearer, for this ErrorReason. Whether another try would help."""


class _SyncRenewing:
    """Runs one renewal at a time, in a thread."""

    def __init__(self, client: SyncAuthClient, renewal: Renewal) -> None:
        self._connection = client.connection
        self._renewal = renewal
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def ready(self) -> str | None:
        """The access token to attach at once, or None: call `obtain`. Starts renewing it ahead of its end."""
        bearer = self._renewal.ready()
        if bearer is not None and self._renewal.is_due():
            self._started()
        return bearer

    def obtain(self, timeout_ms: int | None = None) -> str:
        """The access token to attach; blocks for it if need be. Raises SessionEnded, SignInFailed."""
        thread = self._started()
        if thread is not None and self._renewal.ready() is None:
            thread.join((PATIENCE_MS if timeout_ms is None else timeout_ms) / 1000)
        return self._renewal.answer()

    def refused(self, bearer: str, reason: str) -> bool:
        """Take note that a service refused the token. Whether the call is worth one more try, with another."""
        return self._renewal.refused(bearer, reason)

    def _started(self) -> threading.Thread | None:
        """The renewal under way, started if it is time; None when there is nothing to wait for."""
        if self._process != os.getpid():
            # A forked child has neither the thread nor whoever held the lock.
            self._lock, self._thread, self._process = threading.Lock(), None, os.getpid()
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return self._thread
            if not self._renewal.is_due():
                return None
            self._thread = threading.Thread(target=self._run, name="authsvc-renewal", daemon=True)
            self._thread.start()
            return self._thread

    def _run(self) -> None:
        self._connection.run(self._renewal.renew())


class SyncRefreshTokenSource(_SyncRenewing):
    """Access tokens for a session whose refresh token is at hand, or in a store."""

    def __init__(
        self,
        client: SyncAuthClient,
        refresh_token: str = "",
        *,
        audiences: tuple[str, ...] = (),
        scopes: tuple[str, ...] = (),
        store: TokenStore | None = None,
    ) -> None:
        """As for RefreshTokenSource."""
        wanted = Wanted(tuple(audiences), tuple(scopes))
        super().__init__(client, refresh_token_renewal(client.conversations, refresh_token, wanted, store))


class SyncPasswordLogin(_SyncRenewing):
    """Access tokens for a user whose password is at hand: logs in when first asked, and anew when the session ended."""

    def __init__(
        self,
        client: SyncAuthClient,
        username: str,
        password: str,
        *,
        audiences: tuple[str, ...] = (),
        scopes: tuple[str, ...] = (),
        remember: bool = False,
        device: resources.Device | None = None,
        store: TokenStore | None = None,
    ) -> None:
        """As for PasswordLogin."""
        wanted = Wanted(tuple(audiences), tuple(scopes))
        order = PasswordOrder(username, password, wanted, (resources.CREDENTIAL_TOKENS,), remember, device)
        super().__init__(client, password_renewal(client.conversations, order, store))
