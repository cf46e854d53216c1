"""Owns rotating for many in one statement, on PostgreSQL. Leaves the conditional UPDATE itself to `refreshing`.

A busy instance refreshes by the thousand a second, and much of what that costs it is talking with the database, and
coming back to each call by itself. So what comes while a statement is under way goes with the next one.

No call waits for another's row: rows that somebody holds are skipped, and their rotations then run by themselves. So
such a statement never waits, and two of them never for each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, column, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from authsvc.core.contracts import Rotation
from authsvc.core.model import AuditEvent, Session
from authsvc.stores.sql import refreshing
from authsvc.stores.sql.audit_rows import COLUMNS as AUDIT_COLUMNS
from authsvc.stores.sql.audit_rows import PREFIX, per_row_of, prefixed_values
from authsvc.stores.sql.database import Database, Row
from authsvc.stores.sql.gathering import Gathering
from authsvc.stores.sql.rows import SESSION_COLUMNS, is_id, session
from authsvc.stores.sql.schema import sessions

MOST = 64
AT_ONCE = 4

_EVENT = {PREFIX + each.name: each.type for each in AUDIT_COLUMNS}
_ASKED = {**refreshing.ROTATION, **_EVENT}
_asked = select(
    func.unnest(*(bindparam(name, type_=ARRAY(kind)) for name, kind in _ASKED.items()))
    .table_valued(*(column(name, kind) for name, kind in _ASKED.items()), name="given")
    .render_derived()
).cte("asked")
_free = (
    select(sessions.c.id)
    .where(sessions.c.id == _asked.c.session_id)
    .with_for_update(key_share=True, skip_locked=True, of=sessions)
    .cte("free")
)
_changed = (
    refreshing.rotating({name: _asked.c[name] for name in refreshing.ROTATION})
    .where(sessions.c.id == _free.c.id)
    .returning(*SESSION_COLUMNS, *(_asked.c[name] for name in _EVENT))
    .cte("changed")
)
_audited = per_row_of(_changed, {each.name: _changed.c[PREFIX + each.name] for each in AUDIT_COLUMNS})
ROTATE_EACH = (
    select(_asked.c.session_id, _free.c.id, *(_changed.c[each.name] for each in SESSION_COLUMNS))
    .select_from(
        _asked.outerjoin(_free, _free.c.id == _asked.c.session_id).outerjoin(
            _changed, _changed.c.id == _asked.c.session_id
        )
    )
    .add_cte(_audited)
)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a rotation: the session, None if its row is not as the rotation says. `is_told`: False if the row
    was not looked at."""

    session: Session | None
    is_told: bool


class Rotations:
    """Rotates, together what comes at about the same time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gathering = Gathering(self._rotate_each, MOST, AT_ONCE)
        self._gathered: set[str] = set()

    async def rotate(self, rotation: Rotation, event: AuditEvent) -> Session | None:
        """Rotate, or return None if the row is not as the rotation says."""
        session_id = rotation.session_id
        if not is_id(session_id):
            return None
        if session_id not in self._gathered:  # in one statement a row changes once at most
            self._gathered.add(session_id)
            try:
                outcome = await self._gathering.do((rotation, event))
            finally:
                self._gathered.discard(session_id)
            if outcome.is_told:
                return outcome.session
        return await refreshing.rotate(self._database, rotation, event)

    async def _rotate_each(self, several: Sequence[tuple[Rotation, AuditEvent]]) -> list[_Outcome]:
        each = [
            {**refreshing.rotation_values(rotation), **prefixed_values(event)} for rotation, event in several
        ]
        together = {name: [values[name] for values in each] for name in _ASKED}
        rows = await self._database.change(ROTATE_EACH, together)
        outcomes = {str(row[0]): _outcome(row) for row in rows}
        return [outcomes[rotation.session_id] for rotation, _ in several]


def _outcome(row: Row) -> _Outcome:
    _, free, *rotated = row
    return _Outcome(session(rotated) if rotated[0] is not None else None, is_told=free is not None)
