"""Owns knowing clients by their keys and certificates without I/O. Leaves what a key looks like to `core.tokens`.

Clients are few: all of them are held in memory and read anew when the log says that they changed.
"""

import asyncio
from collections.abc import Sequence

from authsvc.core.caller import Caller
from authsvc.core.client_contract import ClientStore
from authsvc.core.clock import SECOND, Clock
from authsvc.core.model import Client, ClientKey

LOOK_AGAIN_MS = 250


class ClientRegistry:
    """Every client, every key and every certificate name, in memory."""

    def __init__(self, store: ClientStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._loaded_at = 0
        self._looking: asyncio.Task[None] | None = None
        self._clients: dict[str, Client] = {}
        self._keys: dict[bytes, ClientKey] = {}
        self._by_certificate_name: dict[str, str] = {}
        self._callers: dict[str, Caller] = {}

    async def look_again(self) -> None:
        """Read anew, once for all who ask at the same time, and no oftener than each quarter second.

        Whoever sends unknown keys must not cost SQL a read each; yet each is judged by a read begun after it came.
        Raises StoreUnavailable.
        """
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_soon())
            self._looking.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._looking)

    async def _look_soon(self) -> None:
        since = self._clock() - self._loaded_at
        if 0 <= since < LOOK_AGAIN_MS:
            await asyncio.sleep((LOOK_AGAIN_MS - since) / SECOND)
        self._looking = None  # who asks from here on wants a read of their own
        await self.load()

    async def load(self) -> None:
        """Read all clients and keys anew. Raises StoreUnavailable, and then the old ones stay."""
        self._loaded_at = self._clock()
        clients, keys = await self._store.list_all()
        self._clients = {client.id: client for client in clients if client.revoked_at is None}
        self._keys = {key.key_hash: key for key in keys if key.client_id in self._clients}
        self._by_certificate_name = {
            name: client.id for client in self._clients.values() for name in client.certificate_names
        }
        self._callers = {
            client.id: Caller(client.permissions, client.id) for client in self._clients.values()
        }

    def get(self, client_id: str) -> Client | None:
        """Return the active client."""
        return self._clients.get(client_id)

    def caller_by_key(self, key_hash: bytes) -> Caller | None:
        """Return the client that holds this key now."""
        key = self._keys.get(key_hash)
        if key is None or (key.expires_at is not None and self._clock() >= key.expires_at):
            return None
        return self._callers[key.client_id]

    def caller_by_certificate(self, names: Sequence[str]) -> Caller | None:
        """Return the client that is registered under a name of a certificate. None also if several clients are: then
        it is not known which of them calls."""
        found = {self._by_certificate_name[name] for name in names if name in self._by_certificate_name}
        return self._callers[found.pop()] if len(found) == 1 else None
