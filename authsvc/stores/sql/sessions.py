"""Owns sessions, one row each: to create, find and touch. Leaves refreshing, stepping up and ending to those."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from sqlalchemy import BigInteger, and_, bindparam, insert, or_, select, tuple_, update

from authsvc.core.contracts import NewTokens, Revoked, RevokeOrder, Rotation
from authsvc.core.model import AuditEvent, RefreshState, Session
from authsvc.stores.sql import ending, refreshing, stepping_up
from authsvc.stores.sql.database import Database, Place
from authsvc.stores.sql.failures import RuleBroken
from authsvc.stores.sql.rows import SESSION_COLUMNS, is_id, session, session_values
from authsvc.stores.sql.schema import ID, sessions, users

Rotate = Callable[[Rotation, AuditEvent], Awaitable[Session | None]]

_row = sessions.c

# FOR SHARE waits for a set_password or disable under way and then looks again; they in turn wait for this to commit
# and then find the new row. SQLite needs no such clause: it has one writer at a time.
_CREATE = (
    insert(sessions)
    .from_select(
        list(_row),
        select(*(bindparam(column.name, type_=column.type) for column in _row))
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

_BY_ID = select(*SESSION_COLUMNS).where(_row.id == bindparam("id"))
_BY_SESSION_HASH = select(*SESSION_COLUMNS).where(_row.session_token_hash == bindparam("session_token_hash"))
_BY_USER = (
    select(*SESSION_COLUMNS)
    .where(
        _row.user_id == bindparam("user_id"),
        tuple_(_row.created_at, _row.id)
        < tuple_(bindparam("before_at", type_=BigInteger), bindparam("before_id", type_=ID)),
    )
    .order_by(_row.created_at.desc(), _row.id.desc())
    .limit(bindparam("limit"))
)
_at = bindparam("live_at", type_=BigInteger)
_session_token_lives = and_(_row.session_expires_at > _at, _row.seen_at + _row.session_idle_ms > _at)
_refresh_token_lives = and_(_row.refresh_expires_at > _at, _row.refresh_idle_expires_at > _at)
_LIVE_BY_USER = _BY_USER.where(_row.revoked_at.is_(None), or_(_session_token_lives, _refresh_token_lives))
_NEWEST = (2**63 - 1, "ffffffff-ffff-ffff-ffff-ffffffffffff")
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

    def __init__(self, database: Database, rotate: Rotate | None = None) -> None:
        """`rotate`: another way than one by one, where the database has one."""
        self._database = database
        self._rotate = rotate or partial(refreshing.rotate, database)

    async def create(
        self, session: Session, tokens: NewTokens, password_changed_at: int, audit: AuditEvent
    ) -> bool:
        """Insert a session of generation 0 if the user is enabled and the password still the one that was checked."""
        if not is_id(session.user_id):
            return False
        values = {**session_values(session, tokens), "password_seen_at": password_changed_at}
        try:
            return bool(await self._database.change(_CREATE, values, audit))
        except RuleBroken:
            if await self.get(session.id) is None:
                raise
            return False  # There is one of this id.

    async def get(self, session_id: str, *, urgent: bool = False) -> Session | None:
        """Return the session, live or ended. `urgent`: in order to revoke it."""
        if not is_id(session_id):
            return None
        rows = await self._database.read(_BY_ID, {"id": session_id}, _place(urgent))
        return session(rows[0]) if rows else None

    async def get_by_session_hash(self, session_hash: bytes, *, urgent: bool = False) -> Session | None:
        """Return the session with this session token, live or ended. `urgent`: in order to revoke it."""
        values = {"session_token_hash": session_hash}
        rows = await self._database.read(_BY_SESSION_HASH, values, _place(urgent))
        return session(rows[0]) if rows else None

    async def step_up(
        self, session_id: str, amr: tuple[str, ...], session_hash: bytes, now: int, audit: AuditEvent
    ) -> tuple[Session, bytes | None] | None:
        """Set `amr` and `stepped_up_at` of a live session, and replace its session token if it has one."""
        return await stepping_up.step_up(self._database, session_id, amr, session_hash, now, audit)

    async def list_user(
        self, user_id: str, limit: int, before: tuple[int, str] | None, live_at: int | None
    ) -> Sequence[Session]:
        """Return sessions of the user by (created_at, id) descending, starting below `before`.

        What is live is judged as far as SQL knows (see Session.session_is_live).
        """
        before_at, before_id = before or _NEWEST
        if not is_id(user_id) or not is_id(before_id):
            return []
        values = {"user_id": user_id, "before_at": before_at, "before_id": before_id, "limit": limit}
        if live_at is None:
            rows = await self._database.read(_BY_USER, values)
        else:
            rows = await self._database.read(_LIVE_BY_USER, {**values, "live_at": live_at})
        return [session(row) for row in rows]

    async def touch(self, seen: Mapping[str, int]) -> None:
        """Move `seen_at` forward. Rows are taken in the order of their ids, as everywhere, against deadlocks."""
        values = [{"touched_id": key, "at": at} for key, at in sorted(seen.items()) if is_id(key)]
        if values:
            async with self._database.write() as transaction:
                await transaction.run_many(_TOUCH, values)

    async def get_refresh(self, session_id: str) -> tuple[Session, RefreshState] | None:
        """Return the session and its refresh state, live or ended. None also if it has no refresh token."""
        return await refreshing.get(self._database, session_id)

    async def rotate(self, rotation: Rotation, audit: AuditEvent) -> Session | None:
        """Rotate if and only if the row is exactly at the presented token, owned by the client, live and unexpired."""
        return await self._rotate(rotation, audit)

    async def replay(
        self,
        session_id: str,
        client_id: str,
        presented_hash: bytes,
        generation: int,
        rotated_after: int,
        limit: int,
        now: int,
        audit: AuditEvent,
    ) -> tuple[Session, bytes] | None:
        """Count one replay and return the session and the sealed successor, or None."""
        return await refreshing.replay(
            self._database,
            session_id,
            client_id,
            presented_hash,
            generation,
            rotated_after,
            limit,
            now,
            audit,
        )

    async def revoke(self, session_id: str, order: RevokeOrder) -> Revoked:
        """Revoke one session if it is not yet revoked; revision 0 if there was nothing to do."""
        async with self._database.write(reserved=True) as transaction:
            return await ending.revoke(transaction, session_id, order)

    async def revoke_user(
        self, user_id: str, order: RevokeOrder, keep_session_id: str | None = None
    ) -> Revoked:
        """Revoke every live session of the user, but `keep_session_id`; one log entry each."""
        async with self._database.write(reserved=True) as transaction:
            return await ending.revoke_user(transaction, user_id, order, keep_session_id)


def _place(urgent: bool) -> Place:
    return Place.REVOKING if urgent else Place.ORDINARY
