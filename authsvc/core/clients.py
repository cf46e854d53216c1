"""Owns administering clients, their keys and certificate names. Leaves recognising a caller to core.callers.

A key is shown once, when it is made; only its hash is stored.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from authsvc.core.callers import ClientRegistry
from authsvc.core.certificate_names import checked_certificate_names
from authsvc.core.client_contract import ClientStore
from authsvc.core.clock import DAY, SECOND, Clock
from authsvc.core.contracts import Hints
from authsvc.core.errors import ClientIdTaken, InvalidRequest, NotFound
from authsvc.core.model import AuditEvent, Client, ClientKey, Permission
from authsvc.core.operation import Asked
from authsvc.core.paging import page_size, page_token, read_page_token
from authsvc.core.scopes import checked_names
from authsvc.core.tokens import TokenMint

OVERLAP_MAX = 30 * DAY
DISPLAY_NAME_MAX_BYTES = 128
PARTS = frozenset({"display_name", "permissions", "audiences", "scopes", "certificate_names"})
_CLIENT_ID = re.compile(r"[a-z][a-z0-9-]{1,31}")


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client to register, or the new values of one that is. `with_key`: whether a key is made for it."""

    id: str
    display_name: str
    permissions: frozenset[Permission]
    audiences: Sequence[str]
    scopes: Sequence[str]
    certificate_names: Sequence[str] = ()
    with_key: bool = True


class Clients:
    """Registers, changes, lists and revokes clients."""

    def __init__(
        self, *, store: ClientStore, registry: ClientRegistry, hints: Hints, mint: TokenMint, clock: Clock
    ) -> None:
        self._store = store
        self._registry = registry
        self._hints = hints
        self._mint = mint
        self._clock = clock

    async def create(self, new: NewClient, asked: Asked) -> tuple[Client, str]:
        """Register a client; return it and its key, if it has one.

        Raises InvalidRequest, ClientIdTaken, CertificateNameTaken, StoreUnavailable.
        """
        now = self._clock()
        if not _CLIENT_ID.fullmatch(new.id):
            raise InvalidRequest(
                ("client_id", "must be 2 to 32 characters of a-z, 0-9 and -, starting with a letter")
            )
        client = _checked(Client(new.id, "", frozenset(), (), (), now), new, PARTS)
        if not (new.with_key or client.certificate_names):
            raise InvalidRequest(("certificate_names", "must name at least one for a client without a key"))
        key = self._mint.client_key()
        stored = ClientKey(key.token_hash, client.id, now) if new.with_key else None
        if not await self._store.create(client, stored, self._event("client.created", client.id, asked)):
            raise ClientIdTaken
        await self._changed()
        return client, key.text if new.with_key else ""

    async def update(self, new: NewClient, parts: Collection[str], asked: Asked) -> Client:
        """Replace these parts of a client's registration.

        Raises InvalidRequest, NotFound, CertificateNameTaken, StoreUnavailable.
        """
        if not parts or not PARTS.issuperset(parts):
            raise InvalidRequest(("update_mask", f"must name some of {', '.join(sorted(PARTS))}"))
        while True:
            before = await self._store.get(new.id)
            if before is None or before.revoked_at is not None:
                raise NotFound
            after = replace(_checked(before, new, parts), updated_at=self._clock())
            event = replace(self._event("client.updated", new.id, asked), reason=" ".join(sorted(set(parts))))
            if await self._store.update(before, after, event):
                break
        await self._changed()
        return after

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


def _checked(before: Client, new: NewClient, parts: Collection[str]) -> Client:
    """Return the client with these parts replaced. Raises InvalidRequest."""
    if len(new.display_name.encode()) > DISPLAY_NAME_MAX_BYTES:
        raise InvalidRequest(("display_name", f"must be at most {DISPLAY_NAME_MAX_BYTES} bytes"))
    values: dict[str, Any] = {
        "display_name": new.display_name,
        "permissions": new.permissions,
        "audiences": checked_names(new.audiences, "audiences"),
        "scopes": checked_names(new.scopes, "scopes"),
        "certificate_names": checked_certificate_names(new.certificate_names),
    }
    after = replace(before, **{part: values[part] for part in parts})
    if not after.permissions:
        raise InvalidRequest(("permissions", "must name at least one"))
    if Permission.LOGIN in after.permissions and not after.audiences:
        raise InvalidRequest(("audiences", "must name at least one for a client with `login`"))
    return after
