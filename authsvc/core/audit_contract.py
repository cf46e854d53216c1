"""Owns what the rules ask of the audit log, as Protocols, by the terms of `core.contracts`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from authsvc.core.model import AuditEvent, Session


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to list. What is empty, or None, filters nothing. `rare`: without renewals of tokens, which are most
    of the log."""

    user_id: str = ""
    session_id: str = ""
    event: str = ""
    start_at: int | None = None
    end_at: int | None = None
    rare: bool = False


class AuditLog(Protocol):
    """Events that change nothing else, such as a failed login, and reading all.

    An event MUST never change, and never go but by `forget`.
    """

    async def record(self, event: AuditEvent) -> None:
        """Write one event."""

    async def record_once(self, event: AuditEvent, since_at: int) -> None:
        """Write one event, unless there is one of its kind about its session after `since_at`. Of several at the same
        moment more than one may be written."""

    async def list(
        self, wanted: EventFilter, limit: int, before: tuple[int, int] | None
    ) -> Sequence[AuditEvent]:
        """Return events by (happened_at, id) descending, starting below `before`."""

    async def list_after(self, wanted: EventFilter, limit: int, after_id: int) -> Sequence[AuditEvent]:
        """Return events by id, starting above `after_id`. An event may appear after one with a higher id."""

    async def forget(self, before_at: int, limit: int) -> int:
        """Delete at most `limit` of the oldest events from before then; return how many. Of several that run at once,
        each MUST take others, without waiting, where the database can have several writers."""

    async def count(self, before_at: int, limit: int) -> int:
        """Count events from before then, up to `limit`."""


class Evidence(Protocol):
    """What is on record about the end of a session. For explanations; may look at much."""

    async def of_revocation(self, session: Session) -> tuple[int, AuditEvent | None]:
        """Return the revision at which the session was revoked (0 if that is not known any more), and the event."""
