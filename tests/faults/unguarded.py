"""Owns taking guards out of an instance, by the names in `FAULTS_WITHOUT`, so that the harness can be seen to see."""

from typing import Any

from authsvc.core.contracts import Rotation
from authsvc.core.model import AuditEvent, Session
from authsvc.rpc.interceptors.shield import Shield
from authsvc.stores.sql import refreshing
from authsvc.stores.sql.database import Database
from authsvc.stores.sql.sessions import SessionStore
from authsvc.stores.valkey.sessions import ValkeySessions


def without_conditional_update() -> None:
    """Look first, change later: the row may have moved on in between."""

    async def rotate(self: Any, rotation: Rotation, audit: AuditEvent) -> Session | None:
        found = await self.get_refresh(rotation.session_id)
        if (
            found is None
            or found[1].refresh_hash != rotation.presented_hash
            or found[0].revoked_at is not None
        ):
            return None
        return await _rotate_whatever_is_there(self._database, rotation, audit)

    SessionStore.rotate = rotate  # type: ignore[method-assign]


async def _rotate_whatever_is_there(
    database: Database, rotation: Rotation, audit: AuditEvent
) -> Session | None:
    from sqlalchemy import bindparam, update

    from authsvc.stores.sql.rows import SESSION_COLUMNS, session
    from authsvc.stores.sql.schema import sessions

    row = sessions.c
    blind = (
        update(sessions)
        .where(row.id == bindparam("session_id"))
        .values(dict(refreshing._ROTATE._values or {}))
        .returning(*SESSION_COLUMNS)
    )
    values = {
        "session_id": rotation.session_id,
        "successor_hash": rotation.successor_hash,
        "sealed": rotation.sealed_successor,
        "now": rotation.now,
        "ip_address": rotation.device.ip_address,
        "user_agent": rotation.device.user_agent,
    }
    rows = await database.change(blind, values, audit)
    return session(rows[0]) if rows else None


def without_generation() -> None:
    """Believe a record whoever took its write, and whatever the log says of epochs."""

    def ending(self: Any, run_id: str) -> bytes:
        known: bytes = self._endings.setdefault(run_id, b"}:0123456789abcdef")
        return known

    ValkeySessions._ending = ending  # type: ignore[method-assign]


def without_shield() -> None:
    """Let a caller's deadline cancel whatever its call is at, the commit as well."""
    Shield.wrap = lambda self, handler, method: handler  # type: ignore[method-assign]


GUARDS = {
    "conditional update": without_conditional_update,
    "generation": without_generation,
    "shield": without_shield,
}
