"""Owns clients, their keys and certificate names. Leaves who may do what to `core.callers`.

Each change increments the log's `registry`, by which other instances learn that theirs is out of date.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import bindparam, delete, or_, select, update

from authsvc.core.errors import CertificateNameTaken
from authsvc.core.model import AuditEvent, Client, ClientKey
from authsvc.stores.sql.audit import record_in
from authsvc.stores.sql.compiled import insert_whole
from authsvc.stores.sql.database import Database, Transaction
from authsvc.stores.sql.failures import RuleBroken
from authsvc.stores.sql.revocations import bump_registry
from authsvc.stores.sql.rows import (
    CLIENT_COLUMNS,
    CLIENT_KEY_COLUMNS,
    client,
    client_key,
    client_key_values,
    client_values,
    storable,
)
from authsvc.stores.sql.schema import client_certificate_names, client_keys, clients

_WIDTH = len(CLIENT_COLUMNS)

_BY_ID = select(*CLIENT_COLUMNS).where(clients.c.id == bindparam("id"))
_LOCK = _BY_ID.with_for_update(key_share=True)
_LIST = (
    select(*CLIENT_COLUMNS)
    .where(clients.c.id > bindparam("after"))
    .order_by(clients.c.id)
    .limit(bindparam("limit"))
)
_ALL = (
    select(*CLIENT_COLUMNS, *CLIENT_KEY_COLUMNS)
    .select_from(clients.outerjoin(client_keys))
    .order_by(clients.c.id, client_keys.c.created_at, client_keys.c.key_hash)
)
_INSERT = insert_whole(clients)
_INSERT_KEY = insert_whole(client_keys)
_END_KEYS = (
    update(client_keys)
    .where(
        client_keys.c.client_id == bindparam("owner_id"),
        or_(client_keys.c.expires_at.is_(None), client_keys.c.expires_at > bindparam("end_at")),
    )
    .values(expires_at=bindparam("end_at"))
)
_UPDATE = (
    update(clients)
    .where(clients.c.id == bindparam("client_id"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in (
                "display_name",
                "permissions",
                "audiences",
                "scopes",
                "certificate_names",
                "updated_at",
            )
        }
    )
)
_NAMES_TAKEN = select(client_certificate_names.c.name).where(
    client_certificate_names.c.name == bindparam("name")
)
_INSERT_NAME = insert_whole(client_certificate_names)
_DROP_NAMES = delete(client_certificate_names).where(
    client_certificate_names.c.client_id == bindparam("owner_id")
)
_DROP_KEYS = delete(client_keys).where(client_keys.c.client_id == bindparam("owner_id"))
_REVOKE = update(clients).where(clients.c.id == bindparam("client_id")).values(revoked_at=bindparam("at"))


class ClientStore:
    """core.client_contract.ClientStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, client: Client, key: ClientKey | None, audit: AuditEvent) -> bool:
        """Insert the client and its first key. False if the id is taken. Raises CertificateNameTaken."""
        try:
            async with self._database.write() as transaction:
                await transaction.run(_INSERT, client_values(client))
                await _take_names(transaction, client)
                if key is not None:
                    await transaction.run(_INSERT_KEY, client_key_values(key))
                await _finish(transaction, audit)
        except RuleBroken:
            if await self.get(client.id) is not None:
                return False
            await self._refuse_taken(client)
            raise
        return True

    async def get(self, client_id: str) -> Client | None:
        """Return the client, active or revoked."""
        rows = await self._database.read(_BY_ID, {"id": storable(client_id)})
        return client(rows[0]) if rows else None

    async def update(self, before: Client, after: Client, audit: AuditEvent) -> bool:
        """Replace an active client's registration. False if it is no longer `before`. Raises CertificateNameTaken."""
        try:
            async with self._database.write() as transaction:
                if await _lock(transaction, before.id) != before or before.revoked_at is not None:
                    return False
                values = {f"new_{name}": value for name, value in client_values(after).items()}
                await transaction.run(_UPDATE, {"client_id": before.id, **values})
                await transaction.run(_DROP_NAMES, {"owner_id": before.id})
                await _take_names(transaction, after)
                await _finish(transaction, audit)
        except RuleBroken:
            await self._refuse_taken(after)
            raise
        return True

    async def list(self, limit: int, after_id: str) -> Sequence[Client]:
        """Return clients by id, starting above `after_id`."""
        rows = await self._database.read(_LIST, {"after": storable(after_id), "limit": limit})
        return [client(row) for row in rows]

    async def list_all(self) -> tuple[Sequence[Client], Sequence[ClientKey]]:
        """Return every client and every key; one statement, so read at one moment."""
        rows = await self._database.read(_ALL)
        found = {row[0]: client(row) for row in rows}
        keys = [client_key(row[_WIDTH:]) for row in rows if row[_WIDTH] is not None]
        return tuple(found.values()), keys

    async def add_key(self, key: ClientKey, old_keys_expire_at: int, audit: AuditEvent) -> bool:
        """Add a key; older keys end at the given time at the latest. False if there is no such active client."""
        async with self._database.write() as transaction:
            owner = await _lock(transaction, key.client_id)
            if owner is None or owner.revoked_at is not None:
                return False
            await transaction.run(_END_KEYS, {"owner_id": owner.id, "end_at": old_keys_expire_at})
            await transaction.run(_INSERT_KEY, client_key_values(key))
            await _finish(transaction, audit)
        return True

    async def revoke(self, client_id: str, revoked_at: int, audit: AuditEvent) -> Client | None:
        """Revoke the client, drop its keys, and free its certificate names. None if there is no such client."""
        async with self._database.write(reserved=True) as transaction:
            before = await _lock(transaction, client_id)
            if before is None or before.revoked_at is not None:
                return before
            await transaction.run(_REVOKE, {"client_id": client_id, "at": revoked_at})
            await transaction.run(_DROP_KEYS, {"owner_id": client_id})
            await transaction.run(_DROP_NAMES, {"owner_id": client_id})
            await _finish(transaction, audit)
            return replace(before, revoked_at=revoked_at)

    async def _refuse_taken(self, client: Client) -> None:
        """Raises CertificateNameTaken if that is why a change of this client has failed."""
        for name in client.certificate_names:
            if await self._database.read(_NAMES_TAKEN, {"name": name}):
                raise CertificateNameTaken


async def _take_names(transaction: Transaction, client: Client) -> None:
    # In one order everywhere: so two of these wait for each other but never in a circle.
    rows = [{"name": name, "client_id": client.id} for name in sorted(client.certificate_names)]
    await transaction.run_many(_INSERT_NAME, rows)


async def _lock(transaction: Transaction, client_id: str) -> Client | None:
    """Return the client as of now, and keep everyone else from changing it until the transaction ends."""
    rows = await transaction.run(_LOCK, {"id": storable(client_id)})
    return client(rows[0]) if rows else None


async def _finish(transaction: Transaction, event: AuditEvent) -> None:
    await record_in(transaction, event)
    await bump_registry(transaction)
