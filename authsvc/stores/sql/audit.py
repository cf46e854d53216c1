"""Owns writing the audit log: alone, or as part of another store's transaction. Leaves reading it to administration."""

from sqlalchemy import CTE, ColumnElement, FromClause, bindparam, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from authsvc.core.model import AuditEvent
from authsvc.stores.sql.engine import Database
from authsvc.stores.sql.rows import audit_values
from authsvc.stores.sql.schema import audit_events

_INSERT = insert(audit_events)
_PREFIX = "audit_"


class AuditLog:
    """core.contracts.AuditLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, event: AuditEvent) -> None:
        """Write one event."""
        await self._database.change(_INSERT, audit_values(event))


async def record_in(connection: AsyncConnection, event: AuditEvent) -> None:
    """Write one event within the transaction under way."""
    await connection.execute(_INSERT, audit_values(event))


def per_row_of(changed: FromClause) -> CTE:
    """Build the part of a PostgreSQL statement that writes one event for each row of another part, if any.

    The values come from `prefixed_values`.
    """
    columns = [column for column in audit_events.c if not column.primary_key]
    values: list[ColumnElement[object]] = [
        bindparam(_PREFIX + column.name, type_=column.type) for column in columns
    ]
    return insert(audit_events).from_select(columns, select(*values).select_from(changed)).cte("audited")


def prefixed_values(event: AuditEvent) -> dict[str, object]:
    """Write an event as values for a statement that has other values too."""
    return {_PREFIX + name: value for name, value in audit_values(event).items()}
