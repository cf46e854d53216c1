"""Owns sessions, one row each: to create, find and touch. Leaves refreshing and ending to those."""

from collections.abc import Mapping, Sequence

from sqlalchemy import BigInteger, ColumnElement, and_, bindparam, insert, or_, select, tuple_, update

from authsvc.core.contracts import NewTokens, Revoked, RevokeOrder, Rotation
from authsvc.core.model import AuditEvent, RefreshState, Session
from authsvc.stores.sql import ending, refreshing
from authsvc.stores.sql.audit import per_row_of, prefixed_values, record_in
from authsvc.stores.sql.engine import Database
from authsvc.stores.sql.rows import SESSION_COLUMNS, is_id, session, session_values
from authsvc.stores.sql.schema import ID, sessions, users

_row = sessions.c
_LATER = {"previous_refresh_hash", "sealed_successor", "rotated_at", "revoked_at", "revoke_reason"}
_at_creation = [column for column in _row if column.name not in _LATER]

# FOR SHARE waits for a set_password or disable under way and then looks again; they in turn wait for this to commit
# and then find the new row. SQLite needs no such clause: it has one writer at a time.
_CREATE = (
    insert(sessions)
    .from_select(
        _at_creation,
        select(*(bindparam(column.name, type_=column.type) for column in _at_creation))
        .select_from(users)
        .where(
            users.c.id == bindparam("user_id", type_=ID),
            users.c.disabled_at.is_(None),
            users.c.password_changed_at == bindparam("password_seen_at"),
        )
        .with_for_update(read=True),
    )
    .returning(_row.id)
)
_created = _CREATE.cte("created")
_CREATE_WITH_AUDIT = select(_created.c.id).add_cte(per_row_of(_created))

_BY_ID = select(*SESSION_COLUMNS).where(_row.id == bindparam("id"))
_BY_SESSION_HASH = select(*SESSION_COLUMNS).where(_row.session_token_hash == bindparam("session_token_hash"))
_BY_USER = (
    select(*SESSION_COLUMNS)
    .where(_row.user_id == bindparam("user_id"))
    .order_by(_row.created_at.desc(), _row.id.desc())
    .limit(bindparam("limit"))
)
_TOUCH = (
    update(sessions)
    .where(
        _row.id == bindparam("touched_id"),
        _row.seen_at < bindparam("at"),
        _row.session_expires_at > bindparam("at"),
        _row.revoked_at.is_(None),
    )
    .values(seen_at=bindparam("at"))
)


class SessionStore:
    """core.contracts.SessionStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, session: Session, tokens: NewTokens, password_changed_at: int, audit: AuditEvent
    ) -> bool:
        """Insert a session of generation 0 if the user is enabled and the password still the one that was checked."""
        if not is_id(session.user_id):
            return False
        values = {**session_values(session, tokens), "password_seen_at": password_changed_at}
        return await _insert(self._database, values, audit)

    async def get(self, session_id: str) -> Session | None:
        """Return the session, live or ended."""
        if not is_id(session_id):
            return None
        rows = await self._database.read(_BY_ID, {"id": session_id})
        return session(rows[0]) if rows else None

    async def get_by_session_hash(self, session_hash: bytes) -> Session | None:
        """Return the session with this session token, live or ended."""
        rows = await self._database.read(_BY_SESSION_HASH, {"session_token_hash": session_hash})
        return session(rows[0]) if rows else None

    async def list_user(
        self, user_id: str, limit: int, before: tuple[int, str] | None, live_at: int | None
    ) -> Sequence[Session]:
        """Return sessions of the user by (created_at, id) descending, starting below `before`."""
        if not is_id(user_id) or (before is not None and not is_id(before[1])):
            return []
        statement = _BY_USER
        if before is not None:
            statement = statement.where(
                tuple_(_row.created_at, _row.id) < tuple_(*before, types=[BigInteger, ID])
            )
        if live_at is not None:
            statement = statement.where(_live_at(live_at))
        rows = await self._database.read(statement, {"user_id": user_id, "limit": limit})
        return [session(row) for row in rows]

    async def touch(self, seen: Mapping[str, int]) -> None:
        """Move `seen_at` forward. Rows are taken in the order of their ids, as everywhere, against deadlocks."""
        values = [{"touched_id": key, "at": at} for key, at in sorted(seen.items()) if is_id(key)]
        if values:
            async with self._database.write() as connection:
                await connection.execute(_TOUCH, values)

    async def get_refresh(self, session_id: str) -> tuple[Session, RefreshState] | None:
        """Return the session and its refresh state, live or ended. None also if it has no refresh token."""
        return await refreshing.get(self._database, session_id)

    async def rotate(self, rotation: Rotation, audit: AuditEvent) -> Session | None:
        """Rotate if and only if the row is exactly at the presented token, owned by the client, live and unexpired."""
        return await refreshing.rotate(self._database, rotation, audit)

    async def replay(
        self,
        session_id: str,
        client_id: str,
        presented_hash: bytes,
        generation: int,
        rotated_after: int,
        limit: int,
        now: int,
    ) -> tuple[Session, bytes] | None:
        """Count one replay and return the session and the sealed successor, or None."""
        return await refreshing.replay(
            self._database, session_id, client_id, presented_hash, generation, rotated_after, limit, now
        )

    async def revoke(self, session_id: str, order: RevokeOrder) -> Revoked:
        """Revoke one session if it is not yet revoked; revision 0 if there was nothing to do."""
        async with self._database.write(reserved=True) as connection:
            return await ending.revoke(connection, session_id, order)

    async def revoke_user(
        self, user_id: str, order: RevokeOrder, keep_session_id: str | None = None
    ) -> Revoked:
        """Revoke every live session of the user, but `keep_session_id`; one log entry each."""
        async with self._database.write(reserved=True) as connection:
            return await ending.revoke_user(connection, user_id, order, keep_session_id)


async def _insert(database: Database, values: dict[str, object], event: AuditEvent) -> bool:
    if database.is_postgresql:
        return bool(await database.change(_CREATE_WITH_AUDIT, {**values, **prefixed_values(event)}))
    async with database.write() as connection:
        created = (await connection.execute(_CREATE, values)).all()
        if created:
            await record_in(connection, event)
    return bool(created)


def _live_at(at: int) -> ColumnElement[bool]:
    """Not revoked, and one of the tokens unexpired, as far as SQL knows (see Session.session_is_live)."""
    session_token = and_(_row.session_expires_at > at, _row.seen_at + _row.session_idle_ms > at)
    refresh_token = and_(_row.refresh_expires_at > at, _row.refresh_idle_expires_at > at)
    return and_(_row.revoked_at.is_(None), or_(session_token, refresh_token))
