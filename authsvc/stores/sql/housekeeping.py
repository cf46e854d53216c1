"""Owns finding and removing what is over, a batch at a time, and whose turn it is. Leaves when to `core.housekeeping`.

Rows that somebody else holds are skipped, not waited for; SQLite, with one writer at a time, has no such clause.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Case,
    ColumnElement,
    Integer,
    Select,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    update,
)

from authsvc.core.chores import DueSession
from authsvc.stores.sql.database import Database
from authsvc.stores.sql.schema import ID, deployment, revocations, sessions

_row, _entry, _shared = sessions.c, revocations.c, deployment.c
_before = bindparam("before_at", type_=BigInteger)
_limit = bindparam("limit", type_=Integer)

_TAKE_TURN = (
    update(deployment)
    .where(
        or_(
            _shared.housekeeper == bindparam("holder"),
            _shared.housekeeper_until < bindparam("now", type_=BigInteger),
        )
    )
    .values(housekeeper=bindparam("holder"), housekeeper_until=bindparam("until_at", type_=BigInteger))
    .returning(_shared.id)
)


def _later(one: ColumnElement[Any], other: ColumnElement[Any]) -> Case[Any]:
    return case((one > other, one), else_=other)


def _earlier(one: ColumnElement[Any], other: ColumnElement[Any]) -> Case[Any]:
    return case((one < other, one), else_=other)


# The session token may have been used later than SQL knows: twice the idle time is more than the cache is ever ahead.
_session_token_over = func.coalesce(
    _earlier(_row.seen_at + 2 * _row.session_idle_ms, _row.session_expires_at), 0
)
_refresh_token_over = func.coalesce(_earlier(_row.refresh_idle_expires_at, _row.refresh_expires_at), 0)
_over_at = func.coalesce(_row.revoked_at, _later(_session_token_over, _refresh_token_over))

_DUE = (
    select(_row.id, _over_at, _row.session_token_hash, _row.session_expires_at, _row.revoked_at)
    .where(_row.over_at < _before)
    .order_by(_row.over_at)
    .limit(_limit)
)
_one = bindparam("session_id", type_=ID)
_FORGET_SESSION = delete(sessions).where(
    _row.id
    == select(_row.id)
    .where(_row.id == _one, _over_at < _before)
    .with_for_update(skip_locked=True)
    .scalar_subquery()
)
_LOOK_AGAIN = update(sessions).where(_row.id == _one, _row.over_at < _before).values(over_at=_over_at)

_oldest_entries = (
    select(_entry.revision).where(_entry.expires_at < _before).order_by(_entry.expires_at).limit(_limit)
)
_free_entries = _oldest_entries.with_for_update(skip_locked=True)
_FORGET_ENTRIES = delete(revocations).where(_entry.revision.in_(_free_entries)).returning(_entry.revision)

# Counted in the order of the index, as nobody counts to the end.
_COUNT_SESSIONS = select(func.count()).select_from(
    select(_row.id).where(_row.over_at < _before).order_by(_row.over_at).limit(_limit).subquery()
)
_COUNT_ENTRIES = select(func.count()).select_from(_oldest_entries.subquery())


class HousekeepingStore:
    """core.chores.HousekeepingStore and core.housekeeping.Turns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take_turn(self, holder: str, now: int, until_at: int) -> bool:
        """Take the turn until then, or keep it. False while somebody else has it."""
        values = {"holder": holder, "now": now, "until_at": until_at}
        return bool(await self._database.change(_TAKE_TURN, values))

    async def due_sessions(self, before_at: int, limit: int) -> Sequence[DueSession]:
        """Return at most so many sessions that were thought to be over before then, the longest over first."""
        rows = await self._database.read(_DUE, {"before_at": before_at, "limit": limit})
        return [
            DueSession(str(row[0]), row[1], row[2], is_idle=row[4] is None and (row[3] or 0) >= before_at)
            for row in rows
        ]

    async def settle_sessions(self, forgotten: Sequence[str], kept: Sequence[str], before_at: int) -> None:
        """Delete those that are over since before then, and have the others looked at again when they may be."""
        async with self._database.write() as transaction:
            await transaction.run_many(_FORGET_SESSION, _each(forgotten, before_at))
            await transaction.run_many(_LOOK_AGAIN, _each(kept, before_at))

    async def forget_entries(self, before_at: int, limit: int) -> int:
        """Delete at most so many entries of the revocation log that expired before then; return how many."""
        values = {"before_at": before_at, "limit": limit}
        return len(await self._database.change(_FORGET_ENTRIES, values))

    async def count_sessions(self, before_at: int, limit: int) -> int:
        """Count sessions thought to be over before then; `limit` stands for that many or more."""
        return await self._count(_COUNT_SESSIONS, before_at, limit)

    async def count_entries(self, before_at: int, limit: int) -> int:
        """Count entries of the revocation log that expired before then, in the same way."""
        return await self._count(_COUNT_ENTRIES, before_at, limit)

    async def _count(self, statement: Select[Any], before_at: int, limit: int) -> int:
        [[count]] = await self._database.read(statement, {"before_at": before_at, "limit": limit})
        return int(count)


def _each(session_ids: Sequence[str], before_at: int) -> list[Mapping[str, Any]]:
    return [{"session_id": session_id, "before_at": before_at} for session_id in sorted(session_ids)]
