"""Owns what the rules ask of the store of clients. Leaves the general terms of store contracts to `core.contracts`."""

from collections.abc import Sequence
from typing import Protocol

from authsvc.core.model import AuditEvent, Client, ClientKey


class ClientStore(Protocol):
    """Clients, their keys and their certificate names.

    Every change MUST increment the log's `registry` in the same transaction. Two active clients MUST never have the
    same certificate name, whatever is changed at the same time: `create` and `update` raise CertificateNameTaken, and
    then nothing has changed.
    """

    async def create(self, client: Client, key: ClientKey | None, audit: AuditEvent) -> bool:
        """Insert the client and its first key. False if the id is taken."""

    async def list(self, limit: int, after_id: str) -> Sequence[Client]:
        """Return clients by id, starting above `after_id`."""

    async def list_all(self) -> tuple[Sequence[Client], Sequence[ClientKey]]:
        """Return every client and every key, read at one moment."""

    async def get(self, client_id: str) -> Client | None:
        """Return the client, active or revoked."""

    async def update(self, before: Client, after: Client, audit: AuditEvent) -> bool:
        """Replace an active client's registration. MUST change nothing and return False if it is no longer `before`."""

    async def add_key(self, key: ClientKey, old_keys_expire_at: int, audit: AuditEvent) -> bool:
        """Add a key; older keys end at the given time at the latest. False if there is no such active client."""

    async def revoke(self, client_id: str, revoked_at: int, audit: AuditEvent) -> Client | None:
        """Revoke the client, drop its keys, and free its certificate names, which it keeps on record. Idempotent. None
        if there is no such client."""
