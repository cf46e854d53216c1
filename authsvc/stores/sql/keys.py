"""Owns signing keys at rest. Leaves sealing and states to `core.signing_keys`."""

from collections.abc import Sequence

from sqlalchemy import select

from authsvc.core.model import AuditEvent, KeyState, SigningKey
from authsvc.stores.sql.audit import record_in
from authsvc.stores.sql.compiled import insert_whole
from authsvc.stores.sql.database import Database
from authsvc.stores.sql.failures import RuleBroken
from authsvc.stores.sql.revocations import bump_registry
from authsvc.stores.sql.rows import SIGNING_KEY_COLUMNS, signing_key, signing_key_values
from authsvc.stores.sql.schema import signing_keys

_row = signing_keys.c
_INSERT = insert_whole(signing_keys)
_LIST = (
    select(*SIGNING_KEY_COLUMNS)
    .where(_row.state != KeyState.RETIRED.value)
    .order_by(_row.created_at.desc(), _row.id)
)


class KeyStore:
    """core.contracts.KeyStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> Sequence[SigningKey]:
        """Return every key that is not retired, newest first."""
        return [signing_key(row) for row in await self._database.read(_LIST)]

    async def create_active(self, key: SigningKey, audit: AuditEvent) -> bool:
        """Insert an active key. A unique index over active keys makes it fail if there is one already: False."""
        try:
            async with self._database.write() as transaction:
                await transaction.run(_INSERT, signing_key_values(key))
                await record_in(transaction, audit)
                await bump_registry(transaction)
        except RuleBroken:
            if not any(other.state is KeyState.ACTIVE for other in await self.list()):
                raise
            return False
        return True
