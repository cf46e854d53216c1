"""Owns ending sessions within a transaction under way. Leaves opening the transaction to the stores.

Locks are taken in one order everywhere: the user's row, session rows by id, the log's row. So two of these wait for
each other but never in a circle.
"""

from sqlalchemy import BigInteger, bindparam, select, update

from authsvc.core.contracts import Revoked, RevokeOrder
from authsvc.core.model import Revocation, Subject
from authsvc.stores.sql import revocations
from authsvc.stores.sql.audit import record_in
from authsvc.stores.sql.compiled import Values
from authsvc.stores.sql.database import Rows, Transaction
from authsvc.stores.sql.rows import is_id
from authsvc.stores.sql.schema import sessions

_row = sessions.c
_NOTHING = Revoked(0, (), ())

_NOBODY = "00000000-0000-0000-0000-000000000000"

_ended_at = bindparam("ended_at", type_=BigInteger)
_END = (
    update(sessions)
    .where(_row.revoked_at.is_(None))
    .values(revoked_at=_ended_at, over_at=_ended_at, revoke_reason=bindparam("reason"))
    .returning(_row.id, _row.session_token_hash, _row.session_expires_at)
)
_END_ONE = _END.where(_row.id == bindparam("ended_id"))

# Sessions of a user of which anything may still be alive. Idle deadlines do not count, as the cache may know later
# ones; access tokens may outlive their session.
_of_user = (
    _row.user_id == bindparam("owner_id"),
    _row.expires_at > bindparam("dead_at"),
    _row.id != bindparam("kept_id"),
)
_LOCK_ALL = (
    select(_row.id)
    .where(_row.revoked_at.is_(None), *_of_user)
    .order_by(_row.id)
    .with_for_update(key_share=True)
)
_END_ALL = _END.where(*_of_user)


async def revoke(transaction: Transaction, session_id: str, order: RevokeOrder) -> Revoked:
    """End one session and write log and audit; or change nothing if it is unknown or has been revoked."""
    if not is_id(session_id):
        return _NOTHING
    ended = await transaction.run(_END_ONE, {"ended_id": session_id, **_how(order)})
    return await _written(ended, transaction, order)


async def revoke_user(
    transaction: Transaction, user_id: str, order: RevokeOrder, keep_session_id: str | None
) -> Revoked:
    """End the user's sessions and write log and audit; or change nothing if none is live."""
    return await _written(await end_all(transaction, user_id, order, keep_session_id), transaction, order)


async def end_all(
    transaction: Transaction, user_id: str, order: RevokeOrder, keep_session_id: str | None = None
) -> Rows:
    """Set the user's live sessions to revoked. Return their rows, for `log`."""
    if not is_id(user_id):
        return []
    chosen = {
        "owner_id": user_id,
        "dead_at": order.revoked_at - order.token_ttl_ms,
        "kept_id": keep_session_id if keep_session_id is not None and is_id(keep_session_id) else _NOBODY,
    }
    await transaction.run(_LOCK_ALL, chosen)
    return await transaction.run(_END_ALL, {**chosen, **_how(order)})


async def log(transaction: Transaction, ended: Rows, order: RevokeOrder) -> Revoked:
    """Write the log entries of sessions just ended. To be the last before the commit, as `revocations.append` says."""
    forbidden_until = order.revoked_at + order.token_ttl_ms
    entries = [
        Revocation(0, Subject.SESSION, str(session_id), None, max(session_expires_at or 0, forbidden_until))
        for session_id, _, session_expires_at in ended
    ]
    numbered = await revocations.append(transaction, entries)
    hashes = tuple(session_hash for _, session_hash, _ in ended if session_hash is not None)
    return Revoked(numbered[-1].revision if numbered else 0, numbered, hashes)


async def _written(ended: Rows, transaction: Transaction, order: RevokeOrder) -> Revoked:
    if not ended:
        return _NOTHING
    await record_in(transaction, order.audit)
    return await log(transaction, ended, order)


def _how(order: RevokeOrder) -> Values:
    return {"ended_at": order.revoked_at, "reason": order.reason.value}
