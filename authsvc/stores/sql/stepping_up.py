"""Owns the transaction of a step-up on a session's row. Leaves what has to be proved for it to `core.step_up`.

The row is locked before it is read, so that of step-ups at the same time each replaces the token of the one before, and
so that a revocation comes either before it, which then fails, or after it, and then ends the new token.
"""

from sqlalchemy import BigInteger, Text, bindparam, case, select, update

from authsvc.core.model import AuditEvent, Session
from authsvc.stores.sql.audit import record_in
from authsvc.stores.sql.database import Database
from authsvc.stores.sql.rows import SESSION_COLUMNS, is_id, join, session
from authsvc.stores.sql.schema import HASH, sessions

_row = sessions.c
_now = bindparam("now", type_=BigInteger)
_LOCK = (
    select(_row.session_token_hash)
    .where(_row.id == bindparam("id"), _row.revoked_at.is_(None), _row.expires_at > _now)
    .with_for_update()
)
_STEP_UP = (
    update(sessions)
    .where(_row.id == bindparam("session_id"))
    .values(
        amr=bindparam("proved", type_=Text),
        stepped_up_at=_now,
        session_token_hash=bindparam("session_hash", type_=HASH),
        seen_at=case((_row.seen_at < _now, _now), else_=_row.seen_at),
    )
    .returning(*SESSION_COLUMNS)
)


async def step_up(
    database: Database,
    session_id: str,
    amr: tuple[str, ...],
    session_hash: bytes,
    now: int,
    audit: AuditEvent,
) -> tuple[Session, bytes | None] | None:
    """Return the session as it is now, and the hash of the session token that was replaced, if it has one."""
    if not is_id(session_id):
        return None
    async with database.write() as transaction:
        locked = await transaction.run(_LOCK, {"id": session_id, "now": now})
        if not locked:
            return None
        [[replaced]] = locked
        values = {"session_id": session_id, "proved": join(amr), "now": now}
        rows = await transaction.run(
            _STEP_UP, {**values, "session_hash": session_hash if replaced is not None else None}
        )
        await record_in(transaction, audit)
    return session(rows[0]), replaced
