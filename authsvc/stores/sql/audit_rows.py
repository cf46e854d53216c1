"""Owns the statements that write audit events. Leaves the transaction they belong to, to whoever runs them."""

from sqlalchemy import CTE, ColumnElement, FromClause, bindparam, insert, select

from authsvc.core.model import AuditEvent
from authsvc.stores.sql.compiled import Values, insert_whole
from authsvc.stores.sql.rows import event_values
from authsvc.stores.sql.schema import audit_events

INSERT_EVENT = insert_whole(audit_events)
_PREFIX = "audit_"


def per_row_of(changed: FromClause) -> CTE:
    """Build the part of a PostgreSQL statement that writes one event for each row of another part, if any.

    The values come from `prefixed_values`.
    """
    columns = [column for column in audit_events.c if not column.primary_key]
    values: list[ColumnElement[object]] = [
        bindparam(_PREFIX + column.name, type_=column.type) for column in columns
    ]
    return insert(audit_events).from_select(columns, select(*values).select_from(changed)).cte("audited")


def prefixed_values(event: AuditEvent) -> Values:
    """Write an event as values for a statement that has other values too."""
    return {_PREFIX + name: value for name, value in event_values(event).items()}
