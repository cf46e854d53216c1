"""Owns finding what is on record about the end of a session. Leaves putting it into words to `core.explain`."""

from sqlalchemy import and_, bindparam, or_, select

from authsvc.core.lifetimes import REVOCATION_GRACE
from authsvc.core.model import AuditEvent, Session, Subject
from authsvc.stores.sql.database import Database
from authsvc.stores.sql.schema import audit_events, revocations

_event = audit_events.c
# What may happen to a session, or its user, at the very same time.
_OTHER_EVENTS = (
    "login.failed",
    "login.throttled",
    "token.rotated",
    "token.replayed",
    "session.created",
    "session.stepped_up",
    "session.used_after_end",
    "second_factor.enrolled",
    "second_factor.confirmed",
    "second_factor.disabled",
    "second_factor.failed",
    "second_factor.throttled",
    "second_factor.reset",
    "recovery_code.used",
    "recovery_codes.replaced",
)
# Of the session alone, or of all of its user's; written by the same hand at the same time.
_EVENT = (
    select(_event.event, _event.happened_at, _event.actor, _event.reason)
    .where(
        _event.happened_at == bindparam("at"),
        or_(
            _event.session_id == bindparam("session_id"),
            and_(_event.user_id == bindparam("user_id"), _event.session_id == ""),
        ),
        *(_event.event != other for other in _OTHER_EVENTS),
    )
    .order_by(_event.id)
    .limit(1)
)
# By its expiry, which has an index; `stores.sql.ending` reckons it from the same two times.
_ENTRY = select(revocations.c.revision).where(
    revocations.c.expires_at == bindparam("expires_at"),
    revocations.c.subject == Subject.SESSION.value,
    revocations.c.subject_id == bindparam("session_id"),
)


class Evidence:
    """core.audit_contract.Evidence."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_revocation(self, session: Session) -> tuple[int, AuditEvent | None]:
        """Return the revision at which the session was revoked (0 if that is not known any more), and the event."""
        revoked_at = session.revoked_at or 0
        expires_at = max(session.session_expires_at or 0, revoked_at + REVOCATION_GRACE)
        entries = await self._database.read(_ENTRY, {"session_id": session.id, "expires_at": expires_at})
        values = {"session_id": session.id, "user_id": session.user_id, "at": revoked_at}
        events = await self._database.read(_EVENT, values)
        event = (
            AuditEvent(events[0][0], events[0][1], actor=events[0][2], reason=events[0][3])
            if events
            else None
        )
        return (entries[0][0] if entries else 0), event
