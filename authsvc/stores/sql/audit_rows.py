"""Owns the statements that write audit events. Leaves the transaction they belong to, to whoever runs them."""

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Text,
    bindparam,
    cast,
    exists,
    func,
    insert,
    select,
)

from authsvc.core.model import AuditEvent
from authsvc.stores.sql.compiled import Values, insert_whole
from authsvc.stores.sql.database import Change, Row
from authsvc.stores.sql.rows import event_values
from authsvc.stores.sql.schema import audit_events

INSERT_EVENT = insert_whole(audit_events)
PREFIX = "audit_"


COLUMNS = [column for column in audit_events.c if not column.primary_key]
_VALUES: dict[str, ColumnElement[object]] = {
    column.name: bindparam(PREFIX + column.name, type_=column.type) for column in COLUMNS
}
_event = audit_events.c
# The values come from `prefixed_values`.
INSERT_EVENT_ONCE = insert(audit_events).from_select(
    COLUMNS,
    select(*_VALUES.values()).where(
        ~exists().where(
            _event.session_id == _VALUES["session_id"],
            _event.event == _VALUES["event"],
            _event.happened_at > bindparam("since_at", type_=BigInteger),
        )
    ),
)


def per_row_of(changed: FromClause, given: Mapping[str, ColumnElement[object]] | None = None) -> CTE:
    """Build the part of a PostgreSQL statement that writes one event for each row of another part, if any.

    The values come from `prefixed_values`, or are what is `given` by column; an event that names no user gets the
    row's, if rows have one.
    """
    values = dict(given or _VALUES)
    if "user_id" in changed.c:
        own = func.nullif(values["user_id"], "")
        values["user_id"] = func.coalesce(own, cast(changed.c.user_id, Text))
    return (
        insert(audit_events)
        .from_select(COLUMNS, select(*values.values()).select_from(changed))
        .cte("audited")
    )


def of_row(event: AuditEvent, statement: Change, row: Row) -> AuditEvent:
    """Return the event; one that names no user gets the row's, if the statement's rows have one."""
    names = statement.exported_columns.keys()
    if event.user_id or "user_id" not in names:
        return event
    return replace(event, user_id=str(row[names.index("user_id")]))


def prefixed_values(event: AuditEvent) -> Values:
    """Write an event as values for a statement that has other values too."""
    return {PREFIX + name: value for name, value in event_values(event).items()}
