"""Owns the audit log: writing events, alone or within another store's transaction, reading and forgetting them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, delete, func, select, text, tuple_

from authsvc.core.audit_contract import EventFilter
from authsvc.core.model import AuditEvent
from authsvc.stores.sql.audit_rows import INSERT_EVENT, INSERT_EVENT_ONCE, prefixed_values
from authsvc.stores.sql.compiled import Values
from authsvc.stores.sql.database import Database, Transaction
from authsvc.stores.sql.rows import EVENT_COLUMNS, audit_event, event_values
from authsvc.stores.sql.schema import audit_events

_event = audit_events.c
_ROTATED = "token.rotated"
_FILTERS: dict[str, ColumnElement[bool]] = {
    "user_id": _event.user_id == bindparam("user_id"),
    "session_id": _event.session_id == bindparam("session_id"),
    "event": _event.event == bindparam("event"),
    "start_at": _event.happened_at >= bindparam("start_at", type_=BigInteger),
    "end_at": _event.happened_at < bindparam("end_at", type_=BigInteger),
    # Said as the index says it, for the database to see that the index will do.
    "rare": _event.event != text(f"'{_ROTATED}'"),
}
_oldest = (
    select(_event.id)
    .where(_event.happened_at < bindparam("before_at", type_=BigInteger))
    .order_by(_event.happened_at)
    .limit(bindparam("limit"))
)
_free = _oldest.with_for_update(skip_locked=True)  # SQLite, with one writer at a time, leaves it out.
_FORGET = delete(audit_events).where(_event.id.in_(_free)).returning(_event.id)
_COUNT = select(func.count()).select_from(_oldest.subquery())
_NEWEST = (2**63 - 1, 2**63 - 1)


class AuditLog:
    """core.audit_contract.AuditLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, event: AuditEvent) -> None:
        """Write one event."""
        await self._database.change(INSERT_EVENT, event_values(event))

    async def record_once(self, event: AuditEvent, since_at: int) -> None:
        """Write one event, unless there is one of its kind about its session after `since_at`."""
        await self._database.change(INSERT_EVENT_ONCE, {**prefixed_values(event), "since_at": since_at})

    async def list(
        self, wanted: EventFilter, limit: int, before: tuple[int, int] | None
    ) -> Sequence[AuditEvent]:
        """Return events by (happened_at, id) descending, starting below `before`."""
        before_at, before_id = before or _NEWEST
        filters = _filters(wanted)
        values = {**filters, "limit": limit, "before_at": before_at, "before_id": before_id}
        rows = await self._database.read(_newest_first(tuple(filters)), values)
        return [audit_event(row) for row in rows]

    async def list_after(self, wanted: EventFilter, limit: int, after_id: int) -> Sequence[AuditEvent]:
        """Return events by id, starting above `after_id`. An event may appear after one with a higher id."""
        filters = _filters(wanted)
        values = {**filters, "limit": limit, "after_id": after_id}
        rows = await self._database.read(_following(tuple(filters)), values)
        return [audit_event(row) for row in rows]

    async def forget(self, before_at: int, limit: int) -> int:
        """Delete at most `limit` of the oldest events from before then; return how many."""
        return len(await self._database.change(_FORGET, {"before_at": before_at, "limit": limit}))

    async def count(self, before_at: int, limit: int) -> int:
        """Count events from before then, up to `limit`."""
        [[count]] = await self._database.read(_COUNT, {"before_at": before_at, "limit": limit})
        return int(count)


async def record_in(transaction: Transaction, event: AuditEvent) -> None:
    """Write one event within the transaction under way."""
    await transaction.run(INSERT_EVENT, event_values(event))


def _filters(wanted: EventFilter) -> Values:
    """The filters that are set, with their values; always in one order, so that there are few statements."""
    given = {
        "user_id": wanted.user_id or None,
        "session_id": wanted.session_id or None,
        "event": wanted.event or None,
        "start_at": wanted.start_at,
        "end_at": wanted.end_at,
        "rare": True if wanted.rare or wanted.event not in ("", _ROTATED) else None,
    }
    return {name: value for name, value in given.items() if value is not None}


@lru_cache
def _newest_first(filters: tuple[str, ...]) -> Select[Any]:
    place = tuple_(bindparam("before_at", type_=BigInteger), bindparam("before_id", type_=BigInteger))
    return (
        select(*EVENT_COLUMNS)
        .where(*(_FILTERS[name] for name in filters), tuple_(_event.happened_at, _event.id) < place)
        .order_by(_event.happened_at.desc(), _event.id.desc())
        .limit(bindparam("limit"))
    )


@lru_cache
def _following(filters: tuple[str, ...]) -> Select[Any]:
    return (
        select(*EVENT_COLUMNS)
        .where(*(_FILTERS[name] for name in filters), _event.id > bindparam("after_id", type_=BigInteger))
        .order_by(_event.id)
        .limit(bindparam("limit"))
    )
