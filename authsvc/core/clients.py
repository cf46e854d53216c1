"""Owns administering clients and their keys. Leaves recognising a key to core.callers.

A key is shown once, when it is made; only its hash is stored.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from authsvc.core.callers import ClientRegistry
from authsvc.core.clock import DAY, SECOND, Clock
from authsvc.core.contracts import ClientStore, Hints
from authsvc.core.errors import ClientIdTaken, InvalidRequest, NotFound
from authsvc.core.model import AuditEvent, Client, ClientKey, Permission
from authsvc.core.operation import Asked
from authsvc.core.paging import page_size, page_token, read_page_token
from authsvc.core.scopes import checked_names
from authsvc.core.tokens import TokenMint

OVERLAP_MAX = 30 * DAY
DISPLAY_NAME_MAX_BYTES = 128
_CLIENT_ID = re.compile(r"[a-z][a-z0-9-]{1,31}")


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client to register."""

    id: str
    display_name: str
    permissions: frozenset[Permission]
    audiences: Sequence[str]
    scopes: Sequence[str]


class Clients:
    """Registers, lists and revokes clients."""

    def __init__(
        self, *, store: ClientStore, registry: ClientRegistry, hints: Hints, mint: TokenMint, clock: Clock
    ) -> None:
        self._store = store
        self._registry = registry
        self._hints = hints
        self._mint = mint
        self._clock = clock

    async def create(self, new: NewClient, asked: Asked) -> tuple[Client, str]:
        """Register a client; return it and its key. Raises InvalidRequest, ClientIdTaken, StoreUnavailable."""
        now = self._clock()
        client = _checked(new, now)
        key = self._mint.client_key()
        stored = ClientKey(key.token_hash, client.id, now)
        if not await self._store.create(client, stored, self._event("client.created", client.id, asked)):
            raise ClientIdTaken
        await self._changed()
        return client, key.text

    async def list(self, size: int, token: str) -> tuple[Sequence[Client], str]:
        """Return a page of clients by id, and the token of the next. Raises InvalidRequest, StoreUnavailable."""
        limit = page_size(size)
        found = await self._store.list(limit + 1, read_page_token(token, parts=1)[0] if token else "")
        return found[:limit], page_token(found[limit - 1].id) if len(found) > limit else ""

    async def rotate_key(self, client_id: str, overlap_seconds: int, asked: Asked) -> str:
        """Return a new key; older ones end after the overlap. Raises InvalidRequest, NotFound, StoreUnavailable."""
        if not 0 <= overlap_seconds * SECOND <= OVERLAP_MAX:
            raise InvalidRequest(("overlap_seconds", f"must be between 0 and {OVERLAP_MAX // SECOND}"))
        now = self._clock()
        key = self._mint.client_key()
        event = self._event("client.key_rotated", client_id, asked)
        stored = ClientKey(key.token_hash, client_id, now)
        if not await self._store.add_key(stored, now + overlap_seconds * SECOND, event):
            raise NotFound
        await self._changed()
        return key.text

    async def revoke(self, client_id: str, asked: Asked) -> Client:
        """End a client. Raises NotFound, StoreUnavailable."""
        client = await self._store.revoke(
            client_id, self._clock(), self._event("client.revoked", client_id, asked)
        )
        if client is None:
            raise NotFound
        await self._changed()
        return client

    async def _changed(self) -> None:
        await self._registry.load()
        await self._hints.publish()

    def _event(self, event: str, client_id: str, asked: Asked) -> AuditEvent:
        return AuditEvent(
            event, self._clock(), actor=asked.caller.actor, client_id=client_id, device=asked.device
        )


def _checked(new: NewClient, now: int) -> Client:
    if not _CLIENT_ID.fullmatch(new.id):
        raise InvalidRequest(
            ("client_id", "must be 2 to 32 characters of a-z, 0-9 and -, starting with a letter")
        )
    if len(new.display_name.encode()) > DISPLAY_NAME_MAX_BYTES:
        raise InvalidRequest(("display_name", f"must be at most {DISPLAY_NAME_MAX_BYTES} bytes"))
    if not new.permissions:
        raise InvalidRequest(("permissions", "must name at least one"))
    audiences = checked_names(new.audiences, "audiences")
    if Permission.LOGIN in new.permissions and not audiences:
        raise InvalidRequest(("audiences", "must name at least one for a client with `login`"))
    return Client(
        new.id, new.display_name, new.permissions, audiences, checked_names(new.scopes, "scopes"), now
    )
