"""Owns ending sessions within a transaction under way. Leaves opening the transaction to the stores.

Locks are taken in one order everywhere: the user's row, session rows by id, the log's row. So two of these wait for
each other but never in a circle.
"""

from sqlalchemy import ColumnElement, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from authsvc.core.contracts import Revoked, RevokeOrder
from authsvc.core.model import Revocation, Subject
from authsvc.stores.sql import revocations
from authsvc.stores.sql.audit import record_in
from authsvc.stores.sql.engine import Rows
from authsvc.stores.sql.rows import is_id
from authsvc.stores.sql.schema import sessions

_row = sessions.c
_NOTHING = Revoked(0, (), ())

_END = (
    update(sessions)
    .where(_row.revoked_at.is_(None))
    .values(revoked_at=bindparam("ended_at"), revoke_reason=bindparam("reason"))
    .returning(_row.id, _row.session_token_hash, _row.session_expires_at)
)
_END_ONE = _END.where(_row.id == bindparam("ended_id"))
_LOCK = select(_row.id).where(_row.revoked_at.is_(None)).order_by(_row.id).with_for_update(key_share=True)


async def revoke(connection: AsyncConnection, session_id: str, order: RevokeOrder) -> Revoked:
    """End one session and write log and audit; or change nothing if it is unknown or has been revoked."""
    if not is_id(session_id):
        return _NOTHING
    values = {"ended_id": session_id, "ended_at": order.revoked_at, "reason": order.reason.value}
    return await _written((await connection.execute(_END_ONE, values)).all(), connection, order)


async def revoke_user(
    connection: AsyncConnection, user_id: str, order: RevokeOrder, keep_session_id: str | None
) -> Revoked:
    """End the user's sessions and write log and audit; or change nothing if none is live."""
    return await _written(await end_all(connection, user_id, order, keep_session_id), connection, order)


async def end_all(
    connection: AsyncConnection, user_id: str, order: RevokeOrder, keep_session_id: str | None = None
) -> Rows:
    """Set the user's live sessions to revoked. Return their rows, for `log`."""
    if not is_id(user_id):
        return []
    chosen = _of_user(user_id, order, keep_session_id)
    await connection.execute(_LOCK.where(*chosen))
    values = {"ended_at": order.revoked_at, "reason": order.reason.value}
    return (await connection.execute(_END.where(*chosen), values)).all()


async def log(connection: AsyncConnection, ended: Rows, order: RevokeOrder) -> Revoked:
    """Write the log entries of sessions just ended. To be the last before the commit, as `revocations.append` says."""
    forbidden_until = order.revoked_at + order.token_ttl_ms
    entries = [
        Revocation(0, Subject.SESSION, row.id, None, max(row.session_expires_at or 0, forbidden_until))
        for row in ended
    ]
    numbered = await revocations.append(connection, entries)
    hashes = tuple(row.session_token_hash for row in ended if row.session_token_hash is not None)
    return Revoked(numbered[-1].revision if numbered else 0, numbered, hashes)


async def _written(ended: Rows, connection: AsyncConnection, order: RevokeOrder) -> Revoked:
    if not ended:
        return _NOTHING
    await record_in(connection, order.audit)
    return await log(connection, ended, order)


def _of_user(user_id: str, order: RevokeOrder, keep_session_id: str | None) -> list[ColumnElement[bool]]:
    """Conditions for the user's sessions of which anything may still be alive.

    Idle deadlines do not count, as the cache may know later ones; access tokens may outlive their session.
    """
    chosen = [_row.user_id == user_id, _row.expires_at > order.revoked_at - order.token_ttl_ms]
    if keep_session_id is not None and is_id(keep_session_id):
        chosen.append(_row.id != keep_session_id)
    return chosen
