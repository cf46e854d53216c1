"""Owns the statements that refreshes race with. Leaves the verdicts to `core.refresh`.

Each is one conditional UPDATE of the session's row. Of any number that run at once the database lets one go first;
the others then look at the row as it has become, and no longer match. A revocation is one more such UPDATE, so it
comes either before a rotation, which then fails, or after it, and then ends the successor too.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Case, Integer, LargeBinary, Text, Update, bindparam, case, select, update
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeEngine

from authsvc.core.contracts import Rotation
from authsvc.core.model import AuditEvent, RefreshState, Session
from authsvc.stores.sql.compiled import Values
from authsvc.stores.sql.database import Database
from authsvc.stores.sql.rows import REFRESH_COLUMNS, SESSION_COLUMNS, is_id, refresh_state, session, storable
from authsvc.stores.sql.schema import HASH, ID, sessions

_row = sessions.c
_WIDTH = len(SESSION_COLUMNS)
Given = Mapping[str, ColumnElement[Any]]
"""What a statement is given, by name: parameters, or columns of what several are asked for at once."""
ROTATION: Mapping[str, TypeEngine[Any]] = {
    "session_id": ID,
    "caller_id": Text(),
    "generation": BigInteger(),
    "presented_hash": HASH,
    "successor_hash": HASH,
    "sealed": LargeBinary(),
    "now": BigInteger(),
    "ip_address": Text(),
    "user_agent": Text(),
}
"""What a rotation is given, and of which type; its values come from `rotation_values`."""
_GIVEN: Given = {name: bindparam(name, type_=kind) for name, kind in ROTATION.items()}


def _smaller(one: ColumnElement[int], other: ColumnElement[int]) -> Case[int]:
    """The smaller of two numbers; the databases have no function of the same name for it."""
    return case((one < other, one), else_=other)


def _refreshable(given: Given) -> tuple[ColumnElement[bool], ...]:
    return (
        _row.id == given["session_id"],
        _row.client_id == given["caller_id"],
        _row.revoked_at.is_(None),
        _row.refresh_expires_at > given["now"],
        _row.refresh_idle_expires_at > given["now"],
    )


def rotating(given: Given) -> Update:
    """Build the one conditional UPDATE."""
    return (
        update(sessions)
        .where(
            *_refreshable(given),
            _row.refresh_generation == given["generation"],
            _row.refresh_hash == given["presented_hash"],
        )
        .values(
            refresh_generation=_row.refresh_generation + 1,
            previous_refresh_hash=_row.refresh_hash,
            refresh_hash=given["successor_hash"],
            sealed_successor=given["sealed"],
            rotated_at=given["now"],
            rotated_ip_address=given["ip_address"],
            rotated_user_agent=given["user_agent"],
            replay_count=0,
            refresh_idle_expires_at=_smaller(given["now"] + _row.refresh_idle_ms, _row.refresh_expires_at),
        )
    )


_ROTATE = rotating(_GIVEN).returning(*SESSION_COLUMNS)
_REPLAY = (
    update(sessions)
    .where(
        *_refreshable(_GIVEN),
        _row.refresh_generation == _GIVEN["generation"] + 1,
        _row.previous_refresh_hash == _GIVEN["presented_hash"],
        _row.rotated_at >= bindparam("rotated_after"),
        _row.replay_count < bindparam("replay_limit", type_=Integer),
    )
    .values(replay_count=_row.replay_count + 1)
    .returning(*SESSION_COLUMNS, _row.sealed_successor)
)
_GET = select(*SESSION_COLUMNS, *REFRESH_COLUMNS).where(
    _row.id == bindparam("session_id"), _row.refresh_hash.is_not(None)
)


async def get(database: Database, session_id: str) -> tuple[Session, RefreshState] | None:
    """Return the session and its refresh state, or None if there is no such session or it has no refresh token."""
    if not is_id(session_id):
        return None
    rows = await database.read(_GET, {"session_id": session_id})
    return (session(rows[0]), refresh_state(rows[0][_WIDTH:])) if rows else None


async def rotate(database: Database, rotation: Rotation, event: AuditEvent) -> Session | None:
    """Rotate, or return None if the row is not as the rotation says. On PostgreSQL one round trip, audit included."""
    if not is_id(rotation.session_id):
        return None
    rows = await database.change(_ROTATE, rotation_values(rotation), event)
    return session(rows[0]) if rows else None


def rotation_values(rotation: Rotation) -> Values:
    """Write a rotation as values for ROTATION."""
    return {
        "session_id": rotation.session_id,
        "caller_id": rotation.client_id,
        "generation": rotation.generation,
        "presented_hash": rotation.presented_hash,
        "successor_hash": rotation.successor_hash,
        "sealed": rotation.sealed_successor,
        "now": rotation.now,
        "ip_address": storable(rotation.device.ip_address),
        "user_agent": storable(rotation.device.user_agent),
    }


async def replay(
    database: Database,
    session_id: str,
    client_id: str,
    presented_hash: bytes,
    generation: int,
    rotated_after: int,
    limit: int,
    now: int,
    audit: AuditEvent,
) -> tuple[Session, bytes] | None:
    """Count one replay, or return None if the row does not allow it."""
    if not is_id(session_id):
        return None
    values = {
        "session_id": session_id,
        "caller_id": client_id,
        "generation": generation,
        "presented_hash": presented_hash,
        "rotated_after": rotated_after,
        "replay_limit": limit,
        "now": now,
    }
    rows = await database.change(_REPLAY, values, audit)
    return (session(rows[0]), rows[0][_WIDTH]) if rows else None
