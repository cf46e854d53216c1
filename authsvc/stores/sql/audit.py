"""Owns the audit log: events alone, and events within another store's transaction. Leaves reading it to others."""

from authsvc.core.model import AuditEvent
from authsvc.stores.sql.audit_rows import INSERT_EVENT
from authsvc.stores.sql.database import Database, Transaction
from authsvc.stores.sql.rows import event_values


class AuditLog:
    """core.contracts.AuditLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, event: AuditEvent) -> None:
        """Write one event."""
        await self._database.change(INSERT_EVENT, event_values(event))


async def record_in(transaction: Transaction, event: AuditEvent) -> None:
    """Write one event within the transaction under way."""
    await transaction.run(INSERT_EVENT, event_values(event))
